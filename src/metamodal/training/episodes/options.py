"""The options of training episodes: their size, and how their rows are varied."""

from __future__ import annotations

from pydantic import Field

from metamodal.options import Options

__all__ = ["EpisodeOptions"]


class EpisodeOptions(Options):
    """What a training step draws.

    Of classes, each episode has `way` classes with `rows` rows each, shared out between support and
    query anew in every step, so that all shots from 1 to `rows - 1` occur. With probability `cross_task` an
    episode's classes come from all tasks together. `class_symmetries` turns classes into new ones by the
    symmetries of their modalities (quarter turns of an image, time reversed in a series), drawn anew for
    each class.

    Of multilabel and regression targets, each episode has `support` rows, of which a random number from
    none to all is labelled, and `query` rows to predict.
    """

    count: int | None = Field(
        None, gt=0, description="episodes a step; by default 1 of classification, 8 of other targets"
    )
    way: int = Field(40, ge=2, description="classes of an episode, as far as there are so many")
    rows: int = Field(3, ge=2, description="rows of a class in an episode, support and query")
    support: int = Field(10, gt=0, description="most support rows of a multilabel or regression episode")
    query: int = Field(16, gt=0, description="query rows of a multilabel or regression episode")
    cross_task: float = Field(
        0.75,
        ge=0,
        le=1,
        description="share of episodes whose classes come from all tasks, where tasks share no class",
    )
    class_symmetries: bool = Field(True, description="whether symmetries of the modalities make new classes")
    augment: bool = Field(True, description="whether the rows of a class are augmented")
    missing: float = Field(0.5, ge=0, le=1, description="share of episodes with cells missing at random")
    cross_modal: float = Field(
        0.1, ge=0, le=1, description="share of episodes whose support and query show different modalities"
    )
    mix_cells: float = Field(
        0.0, ge=0, le=1, description="share of cells, absent ones too, taken from another row of the class"
    )
    noise: dict[str, float] = Field({}, description="standard deviation of noise on a modality's tensor")
    dropout: dict[str, float] = Field({}, description="probability that a modality is left out of a row")
    unlabelled: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of episodes from rows without their labels; by default 1 where no row has a label, else 0",
    )
    zero_shot: float = Field(
        0.3, ge=0, le=1, description="share of episodes in which described classes have no support row"
    )
    description_dropout: float = Field(
        0.5, ge=0, le=1, description="share of episodes without some descriptions and class names"
    )
    class_sampling: float = Field(
        0.0, ge=0, le=2, description="a class is drawn in proportion to its rows to this power"
    )
    task_sampling: float = Field(
        1.0, ge=0, le=2, description="a task is drawn in proportion to its classes to this power"
    )
    class_weight: float = Field(
        0.0,
        ge=0,
        le=2,
        description="a query row's loss is weighted by its class's rows to this negative power",
    )

    def a_step(self, *, classes: bool) -> int:
        """Episodes of a step, of classification or of other targets."""
        return self.count or (1 if classes else 8)
