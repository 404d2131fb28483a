"""Whether equal class names of several tasks mean the same class: a diagnosis in every ward does, `letter 1` of every
alphabet does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.types import Batch

__all__ = ["SharedNames", "shared_names"]

_UNITS = 40  # tasks whose classes are predicted from other tasks
_SURE = 3.0  # standard errors above chance


@dataclass(frozen=True)
class SharedNames:
    """Class names that tasks share, and how well rows of other tasks predict the classes of a task.

    `recall` and `chance` are means over tasks of the mean recall of classes; NaN where they were not measured.
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
            f" (from rows of other tasks {self.recall:.2f}, chance {self.chance:.2f})"
            if self.recall == self.recall
            else ""
        )
        return f"{len(self.names)} class names mean the same in every {self.unit}{how}: the model knows them by name"


def shared_names(part: Dataset, features: Batch, option: str = "auto") -> SharedNames:
    """The class names that recur in two tasks or more of the training rows.

    Without a task column, groups take the place of tasks. With `auto`, names count only if the nearest class mean
    of the other tasks' rows predicts a task's classes better than chance, by three standard errors over tasks.

    Args:
        features: generic features of the same rows, one vector a modality.
        option: `auto`, `shared`, or `own` for no names at all.
    """
    unit = next((role for role in ("task", "group") if part.schema.role(role)), None)
    if option == "own" or unit is None:
        return SharedNames()
    units = part.tasks() if unit == "task" else part.groups()
    labels = part.labels()
    where: dict[str, set[str]] = {}
    for label, name in zip(labels, units):
        if label is not None and name is not None:
            where.setdefault(label, set()).add(name)
    names = tuple(sorted(label for label, units_ in where.items() if len(units_) > 1))
    if len(names) < 2:
        return SharedNames()
    if option == "shared":
        return SharedNames(names, unit)
    named = np.array([label in names and name is not None for label, name in zip(labels, units)])
    gains, recalls = _gains(_joined(features)[torch.from_numpy(named)], labels[named], units[named], names)
    if len(gains) < 2 or gains.mean() <= _SURE * gains.std(ddof=1) / len(gains) ** 0.5:
        return SharedNames()
    return SharedNames(names, unit, float(recalls.mean()), float((recalls - gains).mean()))


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
