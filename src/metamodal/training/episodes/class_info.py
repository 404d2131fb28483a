"""Class information in training episodes: some of it dropped, and some support rows, so that either alone is enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metamodal.data.class_info import ClassTable
from metamodal.data.modalities import Modality
from metamodal.data.tasks.episodes import Draw, hidden
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.types import Episode

__all__ = ["EpisodeClassInfo", "with_dropout", "without_rows"]


@dataclass(frozen=True)
class EpisodeClassInfo:
    """The class information of a table's rows, and how descriptions are augmented."""

    table: ClassTable
    fitted: Modality | None = None

    def of(self, draw: Draw) -> dict[str, Tensor]:
        """The class information of the drawn classes."""
        return self.table.of(draw.examples)

    def varied(self, episodes: Episode, draw: Draw, options: EpisodeOptions, generator: Generator) -> Episode:
        """The episodes with information on some of their classes, some of which then lack support rows."""
        class_info = with_dropout(self.of(draw), options.description_dropout, generator)
        if "description" in class_info and options.augment and self.fitted is not None:
            description = self.fitted.augment(class_info["description"].flatten(0, 1), generator)
            class_info["description"] = description.view_as(class_info["description"])
        lost = without_rows(_known(class_info), options.zero_shot, generator)
        rows = lost.gather(1, draw.support_codes.clamp(min=0)).to(episodes.support.targets.device)
        given = {name: x.to(rows.device) for name, x in class_info.items()}
        return episodes._replace(support=hidden(episodes.support, rows)._replace(class_info=given))


def with_dropout(class_info: dict[str, Tensor], share: float, generator: Generator) -> dict[str, Tensor]:
    """Information on `(t, k)` classes, less of it in a share of the episodes: in a third of those none is left,
    in the others that on some classes. Descriptions and names are dropped independently.
    """
    result = dict(class_info)
    for key, nothing in (("described", False), ("name", -1)):
        if key in class_info:
            tasks, classes = class_info[key].shape
            rate = 1.5 * torch.rand(tasks, 1, generator=generator)
            rate = rate * (torch.rand(tasks, 1, generator=generator) < share)
            lost = torch.rand(tasks, classes, generator=generator) < rate
            result[key] = class_info[key].masked_fill(lost, nothing)
    return result


def without_rows(known: Tensor, share: float, generator: Generator) -> Tensor:
    """Which of the classes `(t, k)` with class information lose their support rows, in a share of the episodes.

    In a third of those episodes all of them do.
    """
    tasks, classes = known.shape
    rate = 1.5 * torch.rand(tasks, 1, generator=generator)
    rate = rate * (torch.rand(tasks, 1, generator=generator) < share)
    return known & (torch.rand(tasks, classes, generator=generator) < rate)


def _known(class_info: dict[str, Tensor]) -> Tensor:
    masks = [class_info["described"]] if "described" in class_info else []
    masks += [class_info["name"] >= 0] if "name" in class_info else []
    return torch.stack(masks).any(0)
