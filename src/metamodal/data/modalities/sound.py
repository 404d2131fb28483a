"""Sound files decoded to one channel, and never half of one for a whole."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
import soundfile

from metamodal.data.limits import alone, limits
from metamodal.data.modalities.protocol import CellError

__all__ = ["Sound", "check_length", "decoded"]

_RATES = (500, 768_000)
_BLOCK = 1 << 18
_STREAMED = (0, 0xFFFFFFFF)  # sizes that a program writes when it cannot go back to fill them in
_REMEDY = "Replace the cell or leave it empty"


class Sound(NamedTuple):
    """One channel of samples, and how many there are a second; `None` where the cell does not say."""

    samples: np.ndarray
    rate: int | None

    def __str__(self) -> str:
        if self.rate is None:
            return f"{len(self.samples)} samples"
        return f"{len(self.samples) / self.rate:.2f} s at {self.rate} Hz"


class _Stream(io.BytesIO):
    """Bytes that stay where they are if a damaged file sends libsndfile to before their start."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def decoded(data: bytes) -> Sound:
    """The mean of all channels of a WAV, FLAC, OGG, MP3 or AIFF file, as float32.

    Raises:
        CellError: no sound file; cut short; no samples; longer than the cap; a value not finite.
    """
    _check_whole(data)
    try:
        with soundfile.SoundFile(_Stream(data)) as file:
            check_rate(file.samplerate)
            rate, channels, claimed = int(file.samplerate), file.channels, file.frames
            unknown = claimed >= 2**62
            if not unknown:
                check_length(claimed, rate, channels)
            with alone(4 * (_BLOCK if unknown else claimed)):
                samples, read = _mixed(file, rate, None if unknown else claimed)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        reason = "the file is damaged or of no known format" if "_Stream" in reason else reason
        raise CellError(f"not a readable sound ({len(data)} bytes): {reason}. {_REMEDY}") from None
    if not unknown and read < claimed:
        raise CellError(f"the sound is cut short: {read} of {claimed} samples are there. {_REMEDY}")
    if not read:
        raise CellError(f"the sound has no samples. {_REMEDY}")
    check_finite(samples)
    return Sound(samples, rate)


def _mixed(file: soundfile.SoundFile, rate: int, claimed: int | None) -> tuple[np.ndarray, int]:
    """The mean of the channels and how many samples were there, read in blocks into one array."""
    samples = np.empty(claimed or _BLOCK, dtype=np.float32)
    read, frames = 0, max(1, _BLOCK // file.channels)
    while True:
        block = file.read(frames, dtype="float32", always_2d=True)
        if not len(block):
            return samples[:read], read
        check_length(read + len(block), rate, file.channels)
        if read + len(block) > len(samples):
            samples = np.resize(samples, 2 * len(samples))
        samples[read : read + len(block)] = block.mean(1) if block.shape[1] > 1 else block[:, 0]
        read += len(block)


def check_length(samples: int, rate: int, channels: int = 1) -> None:
    """CellError if a sound is longer than the caps allow: seconds, samples, samples of all channels."""
    caps = limits()
    if samples > caps.seconds * rate:
        raise CellError(
            f"{samples / rate:.0f} s of sound are above the cap of {caps.seconds} s. Cut it into parts"
        )
    if samples > caps.samples or samples * channels > caps.channel_samples:
        raise CellError(
            f"{samples / rate:.0f} s at {rate} Hz in {channels} channels are above the cap of {caps.samples} samples, "
            f"or {caps.channel_samples} in all channels. Resample the sound, or cut it into parts"
        )


def check_finite(samples: np.ndarray) -> None:
    for start in range(0, len(samples), _BLOCK):
        finite = np.isfinite(samples[start : start + _BLOCK])
        if not finite.all():
            at = start + int(finite.argmin())
            raise CellError(f"sample {at} is {samples[at]}. Give finite numbers")


def check_rate(rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise CellError(f"a sampling rate of {rate} Hz. Give one of {_RATES[0]} to {_RATES[1]} Hz")


def _check_whole(data: bytes) -> None:
    """Refuse what libsndfile would read as a shorter sound than the file says it is."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        claimed, there = _wav_bytes(data)
    elif data[:4] == b"FORM":
        claimed, there = 8 + int.from_bytes(data[4:8], "big"), len(data)
    elif data[:4] == b"OggS":
        claimed, there = _ogg_pages(data)
    else:
        claimed, there = _mp3_bytes(data)
    if there < claimed:
        raise CellError(f"the sound is cut short: {there} of {claimed} bytes are there. {_REMEDY}")


def _wav_bytes(data: bytes) -> tuple[int, int]:
    """Bytes of sound that the `data` chunk claims, and those that follow it."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return (0 if size in _STREAMED else size), len(data) - at - 8
        at += 8 + size + size % 2
    return 0, 0


def _ogg_pages(data: bytes) -> tuple[int, int]:
    """Bytes up to the end of the last page begun, one more where it does not end the stream."""
    at, last = 0, False
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        last = bool(data[at + 5] & 4)
        segments = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + data[at + 26] + sum(segments)
    return at + (not last), len(data)


_MPEG_1_SIDE = {False: 32, True: 17}
_MPEG_2_SIDE = {False: 17, True: 9}


def _mp3_bytes(data: bytes) -> tuple[int, int]:
    """Bytes that the Xing or Info header of an MP3 claims, and those that there are; else zeros."""
    at = 0
    if data[:3] == b"ID3" and len(data) > 10:
        a, b, c, d = (byte & 0x7F for byte in data[6:10])
        at = 10 + (a << 21 | b << 14 | c << 7 | d)
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0, 0
    mono = data[at + 3] >> 6 == 3
    side = (_MPEG_1_SIDE if data[at + 1] & 0x18 == 0x18 else _MPEG_2_SIDE)[mono]
    tag = data[at + 4 + side : at + 20 + side]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16:
        return 0, 0
    flags, first, second = struct.unpack(">III", tag[4:16])
    size = second if flags & 1 else first
    return (size if flags & 2 else 0), len(data) - at
