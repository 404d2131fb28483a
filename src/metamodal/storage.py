"""Files and folders that are replaced whole: a reader, or a kill at any moment, finds the old or the new.

A file is written beside its place under a hidden name, flushed to the disk, and renamed. A folder that stands
for one thing has a *record*, a file that names the digest of its *payload*. The payload is first kept under a
name of its own, then the record is renamed into place, which is the moment of change; only then does the
payload take its usual name, and the old one go. Nothing is removed but what this module wrote.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from metamodal.errors import OutputError

__all__ = [
    "PART",
    "check_file",
    "check_folder",
    "explained",
    "locked",
    "made",
    "payload_of",
    "replace_folder",
    "write_text",
    "written",
]

PART = ".metamodal-"
"""How the names of files begin that are not yet, or no longer, what they are to be."""
_REMEDIES = {
    errno.ENOSPC: "no space left on the device. Free some space, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up. Free some space, or write elsewhere",
    errno.EACCES: "permission denied. Write to a folder that you may write to",
    errno.EPERM: "the operation is not permitted. Write to a folder that you may write to",
    errno.EROFS: "the file system is read-only. Write elsewhere",
    errno.ENAMETOOLONG: "the name is too long. Shorten it",
    errno.ENOTDIR: "a file stands where a folder is needed. Name another path",
    errno.EEXIST: "a file stands where a folder is needed. Name another path",
    errno.EISDIR: "a folder stands where a file is needed. Name a file",
    errno.ELOOP: "the links lead in a circle. Name another path",
}


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """An error of the file system as one that names the path and the remedy."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on: no fault of a place
        raise
    except OSError as error:
        reason = _REMEDIES.get(error.errno or 0)
        if reason is None:
            reason = f"cannot be written ({error.strerror or error}). Write elsewhere"
        raise OutputError(f"{path}: {reason}.") from None


def check_file(path: Path | str) -> None:
    """OutputError unless a file may be written at `path`, as far as that is known before; nothing is left."""
    path = Path(path)
    with explained(path):
        if path.is_dir():
            raise OSError(errno.EISDIR, "")
        _check_place(path.parent)


def check_folder(folder: Path | str, *, ours: bool, left: Collection[Path] = ()) -> None:
    """OutputError unless `folder` is absent, empty, or `ours`, and may be written to; nothing is made.

    Hidden files of an earlier attempt that was killed do not count, nor do those that it `left`.
    """
    folder = Path(folder)
    with explained(folder):
        if folder.exists() and not ours:
            if not folder.is_dir():
                raise OSError(errno.EEXIST, "")
            found = (path for path in folder.iterdir() if path not in left)
            others = sorted(path.name for path in found if not path.name.startswith(PART))
            if others:
                more = ", …" if len(others) > 3 else ""
                raise OutputError(
                    f"{folder}: holds files that metamodal did not write ({', '.join(others[:3])}{more}). "
                    "Name an empty or a new folder."
                )
        _check_place(folder)


@contextmanager
def written(path: Path | str) -> Iterator[Path]:
    """A hidden path with the same ending, to be written; it takes the place of `path` when all went well.

    A symbolic link stays one: the file that it leads to is replaced.

    Raises:
        OutputError: no space, no permission, or a path that is something else.
    """
    path = Path(path)
    with explained(path):
        target = path.resolve()
        if target.is_dir():
            raise OSError(errno.EISDIR, "")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{PART}{uuid4().hex}{target.suffix}")
        try:
            part.touch(exist_ok=False)
            with suppress(FileNotFoundError):
                part.chmod(target.stat().st_mode & 0o777)
            yield part
            _flush(part)
            os.replace(part, target)
            _flush(target.parent)
        finally:
            part.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> Path:
    """A text file in UTF-8, whatever the locale; it appears whole or not at all."""
    with written(path) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
    return Path(path)


def replace_folder(
    folder: Path | str, record: tuple[str, bytes], payload: tuple[str, bytes], others: dict[str, bytes]
) -> Path:
    """Make or replace a folder of a record, its payload and other files, each a name and its bytes.

    Of two writers at once the second waits. An error leaves what was there.

    Args:
        record: names the payload by its SHA-256, and so decides what the folder holds.
        payload: see `payload_of`.
        others: files that nothing depends on.
    """
    folder = Path(folder)
    digest = sha256(payload[1]).hexdigest()
    with explained(folder):
        new = made(folder)
        place = folder.resolve()
        usual, own = place / payload[0], _named(place, digest)
        part = place / f"{PART}{record[0]}"
        fresh: list[Path] = []
        try:
            with locked(place):
                if payload_of(place, payload[0], digest) is None:
                    fresh.append(own)
                    _write(own, payload[1])
                fresh.append(part)
                _write(part, record[1])
                if own.exists() and usual.exists():
                    os.replace(usual, _named(place, sha256(usual.read_bytes()).hexdigest()))
                _flush(place)
                os.replace(part, place / record[0])  # from here on the folder holds the new
                fresh, new = [], []
                _flush(place)
                if own.exists():
                    os.replace(own, usual)
                for name, data in others.items():
                    _write(place / f"{PART}{name}", data)
                    os.replace(place / f"{PART}{name}", place / name)
                for left in place.glob(f"{PART}*"):
                    left.unlink(missing_ok=True)
                _flush(place)
        except BaseException:
            with suppress(OSError):
                for path in fresh:
                    path.unlink(missing_ok=True)
                for path in new:
                    path.rmdir()
            raise
    return folder


def made(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def payload_of(folder: Path, name: str, digest: str) -> bytes | None:
    """The payload that a record names by its digest; `None` if no file of the folder is it."""
    for path in (folder / name, _named(folder, digest)):
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            if sha256(data).hexdigest() == digest:
                return data
    return None


def _named(folder: Path, digest: str) -> Path:
    """Where a payload stands while another has its usual name."""
    return folder / f"{PART}{digest[:32]}"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _flush(path: Path) -> None:
    """To the disk; where the file system does not know how, nothing is lost but the certainty."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_place(folder: Path) -> None:
    """OSError unless files may be made in this folder, or in the nearest one above it that is there."""
    longest = max(len(os.fsencode(part)) for part in folder.absolute().parts)
    if longest > 255:
        raise OSError(errno.ENAMETOOLONG, "")
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, "")
    with tempfile.TemporaryFile(dir=folder) as stream:  # says more than permissions: quotas, read-only mounts
        stream.write(bytes(4096))


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """One writer of a folder at a time, as far as the file system knows locks; a kill frees it.

    Raises:
        OutputError: another process is writing there, and it is not to be waited for.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(
            f"{folder}: another process is writing to it. Wait, or name another folder."
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
