"""The command line: runs one command, and turns its errors into a line and an exit code. Starts without torch.

Everything for people goes to stderr, data to stdout. Exit codes: 0 done, 1 failed, 2 wrong options,
3 bad data or artifact, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from metamodal.app.command import commands
from metamodal.app.parser import parsed
from metamodal.errors import DataError, MetamodalError, MetamodalWarning, OutputError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    _speak_utf8()
    interrupts = _interrupts()
    try:
        options = parsed(arguments)
        command = commands()[options.command]
        with _shown_warnings(quiet=options.quiet, strict=getattr(options, "strict", False)):
            return command.run(options) or 0
    except MetamodalError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OutputError):
            _drop_output()  # what could not be written is not tried again at exit
        print(f"metamodal: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _drop_output()
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if interrupts:  # which other code may have renamed, as the import of a class does
            return _interrupted()
        reason = (str(error).splitlines() or [""])[0]
        print(
            f"metamodal: internal error: {type(error).__name__}: {reason}. --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _speak_utf8() -> None:
    """Data and words in UTF-8 whatever the locale, as files are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _interrupts() -> list[int]:
    """The signals that asked for an end so far, filled as they come; SIGTERM is treated as Ctrl-C.

    What was reached is kept. A SIGINT that the shell ignores for a job in the background stays ignored.
    """
    arrived: list[int] = []

    def interrupt(number: int, frame: object) -> NoReturn:
        arrived.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, interrupt)
    return arrived


def _interrupted() -> int:
    print("metamodal: interrupted.", file=sys.stderr)
    return 130


def _drop_output() -> None:
    """What is left in the buffer of a standard output that nobody reads, or that is full, goes nowhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _shown_warnings(*, quiet: bool, strict: bool) -> Iterator[None]:
    """The library's warnings as lines on stderr, each message once; with `strict` the first is an error."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, MetamodalWarning):
                others(message, category, *where, **more)
            elif not quiet and str(message) not in shown:
                shown.add(str(message))
                print(f"warning: {message}", file=sys.stderr)

        warnings.showwarning = show
        warnings.simplefilter("error" if strict else "always", MetamodalWarning)
        try:
            yield
        except MetamodalWarning as warning:
            raise DataError(str(warning)) from None
