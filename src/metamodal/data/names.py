"""Whether tasks' equal class names mean the same class: a diagnosis in every ward, or the first letter of every alphabet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.types import Batch

__all__ = ["Names", "found_names"]

_UNITS = 40  # tasks that are asked whether the others know their classes
_SURE = 3.0  # standard errors above chance


@dataclass(frozen=True)
class Names:
    """Class names that tasks share, and how well rows of other tasks told a task's classes apart.

    `recall` and `chance` are means over tasks of the mean recall of classes; NaN where nobody asked.
    """

    names: tuple[str, ...] = ()
    unit: str = "task"
    recall: float = float("nan")
    chance: float = float("nan")

    @property
    def note(self) -> str:
        """What was found, in a sentence; nothing where there are no names."""
        if not self.names:
            return ""
        how = (
            f" (by rows of others alone {self.recall:.2f}, chance {self.chance:.2f})"
            if self.recall == self.recall
            else ""
        )
        return f"{len(self.names)} class names mean the same in every {self.unit}{how}: the model knows them by name"


def found_names(part: Dataset, features: Batch, said: str = "auto") -> Names:
    """The class names that recur in two tasks or more of the rows to train on.

    A table without a task column is asked for its groups. With `auto` names count only if the nearest
    class mean of the other tasks' rows tells a task's classes apart better than chance, by three
    standard errors over tasks: else equal names say nothing.

    Args:
        features: generic features of the same rows, one vector a modality.
        said: `auto`, `shared`, or `own` for no names at all.
    """
    unit = next((role for role in ("task", "group") if part.schema.role(role)), None)
    if said == "own" or unit is None:
        return Names()
    units = part.tasks() if unit == "task" else part.groups()
    labels = part.labels()
    where: dict[str, set[str]] = {}
    for label, name in zip(labels, units):
        if label is not None and name is not None:
            where.setdefault(label, set()).add(name)
    names = tuple(sorted(label for label, units_ in where.items() if len(units_) > 1))
    if len(names) < 2:
        return Names()
    if said == "shared":
        return Names(names, unit)
    told = np.array([label in names and name is not None for label, name in zip(labels, units)])
    gains, recalls = _gains(_joined(features)[torch.from_numpy(told)], labels[told], units[told], names)
    if len(gains) < 2 or gains.mean() <= _SURE * gains.std(ddof=1) / len(gains) ** 0.5:
        return Names()
    return Names(names, unit, float(recalls.mean()), float((recalls - gains).mean()))


def _gains(
    x: Float[Tensor, "n f"], labels: np.ndarray, units: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean recall by the nearest mean of other units' rows, less chance, and itself, unit by unit."""
    code = torch.tensor([names.index(label) for label in labels])
    every = sorted(set(units))
    of_unit = torch.tensor([every.index(u) for u in units])
    sums = torch.zeros(len(every), len(names), x.shape[1])
    counts = torch.zeros(len(every), len(names))
    sums.index_put_((of_unit, code), x, accumulate=True)
    counts.index_put_((of_unit, code), torch.ones(len(x)), accumulate=True)
    gains, recalls = [], []
    for u in np.linspace(0, len(every) - 1, min(_UNITS, len(every))).astype(int):
        others = counts.sum(0) - counts[u]
        both = ((counts[u] > 0) & (others > 0)).nonzero()[:, 0]
        if len(both) < 2:
            continue
        means = (sums.sum(0) - sums[u])[both] / others[both, None]
        mine = (of_unit == int(u)).nonzero()[:, 0]
        guess = both[torch.cdist(x[mine], means).argmin(1)]
        hits = [(guess[code[mine] == k] == k).float().mean().item() for k in both]
        recalls.append(float(np.mean(hits)))
        gains.append(recalls[-1] - 1 / len(both))
    return np.array(gains), np.array(recalls)


def _joined(features: Batch) -> Float[Tensor, "n f"]:
    """All modalities side by side, each centred over the rows that have it, absent ones zero."""
    parts = []
    for name, x in features.inputs.items():
        there = features.present[name][:, None].float()
        mean = (x * there).sum(0) / there.sum().clamp(min=1)
        parts.append(F.normalize(x - mean, dim=1) * there)
    return torch.cat(parts, 1)
