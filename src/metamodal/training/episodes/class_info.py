"""Class information in training episodes: descriptions and names, some dropped, so that rows and text are each enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metamodal.data.descriptors import ClassTable
from metamodal.data.modalities import Modality
from metamodal.data.tasks.episodes import Draw, hidden
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.types import Episode

__all__ = ["ClassInfo", "forgotten", "without_rows"]


@dataclass(frozen=True)
class ClassInfo:
    """What is known of the classes of a table's rows, and how descriptions are augmented."""

    table: ClassTable
    fitted: Modality | None = None

    def of(self, draw: Draw) -> dict[str, Tensor]:
        """All that is known of the drawn classes."""
        return self.table.of(draw.examples)

    def varied(self, episodes: Episode, draw: Draw, options: EpisodeOptions, generator: Generator) -> Episode:
        """The episodes told of some of their classes, some of which then lack support rows."""
        about = forgotten(self.of(draw), options.description_dropout, generator)
        if "text" in about and options.augment and self.fitted is not None:
            text = self.fitted.augment(about["text"].flatten(0, 1), generator)
            about["text"] = text.view_as(about["text"])
        lost = without_rows(_told(about), options.zero_shot, generator)
        rows = lost.gather(1, draw.support_codes.clamp(min=0))
        return episodes._replace(support=hidden(episodes.support, rows)._replace(about=about))


def forgotten(about: dict[str, Tensor], share: float, generator: Generator) -> dict[str, Tensor]:
    """Knowledge of `(t, k)` classes, less of it in a share of the episodes: a third of those know nothing,
    the others of some classes. Descriptions and names are forgotten apart.
    """
    found = dict(about)
    for key, nothing in (("texts", False), ("name", -1)):
        if key in about:
            tasks, classes = about[key].shape
            rate = 1.5 * torch.rand(tasks, 1, generator=generator)
            rate = rate * (torch.rand(tasks, 1, generator=generator) < share)
            lost = torch.rand(tasks, classes, generator=generator) < rate
            found[key] = about[key].masked_fill(lost, nothing)
    return found


def without_rows(told: Tensor, share: float, generator: Generator) -> Tensor:
    """Which of the classes `(t, k)` that are told of lose their support rows, in a share of the episodes.

    In a third of those episodes all of them do.
    """
    tasks, classes = told.shape
    rate = 1.5 * torch.rand(tasks, 1, generator=generator)
    rate = rate * (torch.rand(tasks, 1, generator=generator) < share)
    return told & (torch.rand(tasks, classes, generator=generator) < rate)


def _told(about: dict[str, Tensor]) -> Tensor:
    known = [about["texts"]] if "texts" in about else []
    known += [about["name"] >= 0] if "name" in about else []
    return torch.stack(known).any(0)
