"""Dates as numbers: how long ago, and where in the year, the week and the day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

__all__ = ["DateColumn"]

_CYCLES = {
    "year": lambda t: ((t.timetuple().tm_yday - 1) / 365.25, t.month),
    "week": lambda t: (t.weekday() / 7, t.weekday()),
    "day": lambda t: ((t.hour + t.minute / 60) / 24, t.hour),
}
_CLIP = 4.0


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: days since 1970 as `(x - centre) / scale` cut at ±4, an indicator that the
    date is there, and sine and cosine of each cycle (`year`, `week`, `day`) in which the training
    dates differ.

    A date that names its zone counts in UTC, its days and its cycles alike, as `date_of` gives it: the same
    instant is the same row however it is written. One without a zone counts as it is.
    """

    name: str
    centre: float
    scale: float
    cycles: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = set(self.cycles) - _CYCLES.keys()
        if unknown:
            raise ValueError(f"{self.name}: no such cycle as {sorted(unknown)}")

    @classmethod
    def fit(cls, name: str, dates: Sequence[datetime]) -> DateColumn:
        days = [_days(d) for d in dates]
        low, centre, high = np.quantile(days, [0.25, 0.5, 0.75])
        scale = float(high - low) or float(np.std(days)) or 1.0
        cycles = tuple(c for c, of in _CYCLES.items() if len({of(d)[1] for d in dates}) > 1)
        return cls(name, float(centre), scale, cycles)

    @property
    def width(self) -> int:
        return 2 + 2 * len(self.cycles)

    def row(self, date: datetime | None) -> list[float]:
        """The numbers of a date; zeros where it is absent."""
        if date is None:
            return [0.0] * self.width
        away = (_days(date) - self.centre) / self.scale
        turns = [2 * math.pi * _CYCLES[cycle](date)[0] for cycle in self.cycles]
        waves = [wave(turn) for turn in turns for wave in (math.sin, math.cos)]
        return [min(max(away, -_CLIP), _CLIP), 1.0, *waves]

    def cell(self, away: float) -> str:
        """The date that is so far from the centre, in ISO 8601; with its time where the clock plays a part."""
        away = min(max(away, -_CLIP), _CLIP)
        date = datetime(1970, 1, 1) + timedelta(days=self.centre + away * self.scale)
        if "day" in self.cycles:
            return (date + timedelta(seconds=0.5)).isoformat(timespec="seconds")
        return (date + timedelta(hours=12)).date().isoformat()


def _days(date: datetime) -> float:
    zoned = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return (zoned - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() / 86_400
