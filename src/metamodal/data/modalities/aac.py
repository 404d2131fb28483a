"""AAC and M4A, what phones record: decoded by PyAV, which libsndfile cannot do."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from metamodal.data.limits import limits
from metamodal.data.modalities.protocol import CellError
from metamodal.data.modalities.sound import Sound, check_finite, check_length, check_rate

__all__ = ["decoded_aac"]

_REMEDY = "Replace the cell or leave it empty"


def decoded_aac(data: bytes) -> Sound:
    """The mean of all channels of the first sound in an AAC or MP4 file, as float32.

    Raises:
        CellError: PyAV is not installed; no sound in the file; damaged; above the caps.
    """
    try:
        import av
    except ImportError:
        raise CellError(
            "AAC is read by PyAV, which is not installed. Run pip install 'metamodal[video]', or convert the sound "
            "to WAV or FLAC"
        ) from None
    parts: list[np.ndarray] = []
    try:
        options = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,aac", "protocol_whitelist": "none"}
        container: Any
        with av.open(io.BytesIO(data), container_options=options) as container:
            if not container.streams.audio:
                raise CellError(f"the file has no sound in it. {_REMEDY}")
            seconds = (container.duration or 0) / 1_000_000
            if seconds > limits().seconds:
                raise CellError(
                    f"{seconds:.0f} s of sound are above the cap of {limits().seconds} s. Cut it into parts"
                )
            stream = container.streams.audio[0]
            rate, count = int(stream.rate), 0
            check_rate(rate)
            for frame in container.decode(stream):
                samples = frame.to_ndarray()  # AAC decodes to floats, a row a channel
                count += samples.shape[1]
                check_length(count, rate, len(samples))
                parts.append(samples.mean(0, dtype=np.float32))
    except CellError:
        raise
    except Exception as error:  # damaged files make the decoders raise almost anything
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise CellError(f"not a readable sound ({len(data)} bytes): {reason}. {_REMEDY}") from None
    if not parts:
        raise CellError(f"the sound has no samples. {_REMEDY}")
    whole = np.concatenate(parts)
    check_finite(whole)
    return Sound(whole, rate)
