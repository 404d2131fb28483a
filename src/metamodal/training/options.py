"""The options of meta-training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from metamodal.config import Options

__all__ = ["TrainOptions"]


class TrainOptions(Options):
    """How to meta-train.

    A step draws `episodes` episodes of `way` classes with `rows` rows each, shared out between
    support and query anew in every step, so that all shots from 1 to `rows - 1` are met. With
    probability `across` an episode's classes come from all tasks together. `variants` turns classes
    into new ones by the symmetries of their modalities (quarter turns of an image, time reversed in a
    series), drawn anew for each class.

    Where targets are labels or numbers, a step draws `tasks` episodes instead, each of `support` rows, of
    which a random number from none to all is labelled, and `queries` rows to predict.
    """

    outer: Literal["query", "displacement", "supervised"] = Field(
        "query",
        description="what an episode teaches: query loss, displacement (Reptile), or a classifier of all classes",
    )
    budget: float = Field(600.0, gt=0, description="seconds of training")
    steps: int | None = Field(None, gt=0, description="steps; the budget ends training all the same")
    refit: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the budget, at its end, in which validation tasks are trained on too",
    )
    episodes: int = Field(1, gt=0, description="episodes a step")
    workers: int = Field(
        1,
        gt=0,
        le=64,
        description="processes of one thread that each draw the episodes of a step, Linux and macOS",
    )
    way: int = Field(40, ge=2, description="classes of a training episode, as far as there are so many")
    rows: int = Field(3, ge=2, description="rows of a class in a training episode, support and query")
    support: int = Field(
        10, gt=0, description="most support rows of a training episode of labels or numbers; the least is 0"
    )
    queries: int = Field(16, gt=0, description="query rows of a training episode of labels or numbers")
    tasks: int = Field(8, gt=0, description="episodes a step where targets are labels or numbers")
    across: float = Field(
        0.75,
        ge=0,
        le=1,
        description="share of episodes whose classes come from all tasks, where tasks share no class",
    )
    variants: bool = Field(True, description="make new classes by symmetries")
    augment: bool = Field(True, description="vary the rows of a class")
    missing: float = Field(0.5, ge=0, le=1, description="share of episodes with cells missing at random")
    crossed: float = Field(
        0.1, ge=0, le=1, description="share of episodes whose support and query show different modalities"
    )
    alone: float = Field(1.0, ge=0, description="weight of each modality's loss by itself")
    guard: bool = Field(
        True, description="fall back on the best single modality where all do worse on validation tasks"
    )
    supervised: float = Field(
        0.0, ge=0, description="weight of a linear classifier of all training classes beside the episodes"
    )
    align: float = Field(0.0, ge=0, description="weight of the contrast that aligns modalities' tokens")
    align_by: Literal["class", "row"] = Field(
        "class", description="what belongs together: rows of a class, where there are classes, or a row alone"
    )
    translate: float = Field(
        0.0, ge=0, description="weight of each modality decoded from the others; model.decoders=true"
    )
    reconstruct: float = Field(
        0.0, ge=0, description="weight of each modality decoded from itself; model.decoders=true"
    )
    impute: float = Field(
        1.0, ge=0, description="weight of the likelihood of tokens given the others; model.impute=true"
    )
    weighing: str | dict[str, Any] = Field(
        "fixed",
        description="how losses are weighed besides: fixed, uncertainty, gradnorm, dwa, blending, or a record with kind",
    )
    surgery: str = Field(
        "none",
        description="how gradients of losses become one: none (summed), pcgrad, mgda, nash, upgrad, aligned, cagrad",
    )
    modality_balance: str | dict[str, Any] = Field(
        "none", description="what slows the modality that is ahead: none, modulation, or a record with kind"
    )
    class_sampling: float = Field(
        0.0,
        ge=0,
        le=2,
        description="a class is drawn as its rows to this power; 0: all alike, 1: as they are",
    )
    task_sampling: float = Field(
        1.0, ge=0, le=2, description="a task is drawn as the classes it offers to this power; 0: all alike"
    )
    class_weight: float = Field(
        0.0, ge=0, le=2, description="a query row's loss weighs as its class's rows to minus this power"
    )
    modality_weight: float = Field(
        0.0, ge=0, le=2, description="a modality's own loss weighs as the share of rows that have it, alike"
    )
    recombine: float = Field(
        0.0, ge=0, le=1, description="share of cells taken from another row of the class, absent ones too"
    )
    noise: dict[str, float] = Field({}, description="standard deviation of noise on a modality's tensor")
    dropout: dict[str, float] = Field({}, description="chance that a modality is left out of a row")
    unlabelled: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of episodes from rows as if without labels; by default all where no label is, else none",
    )
    zero_shot: float = Field(
        0.3, ge=0, le=1, description="share of episodes in which described classes have no support row"
    )
    forget: float = Field(0.5, ge=0, le=1, description="share of episodes that forget descriptions or names")
    lr: float = Field(1e-3, gt=0, description="highest learning rate; it falls to zero as a cosine")
    pretrained_lr: float = Field(2e-5, gt=0, description="the same for networks that came trained")
    weight_decay: float = Field(0.02, ge=0)
    clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.995, ge=0, lt=1, description="decay of the running mean of the weights")
    validations: int = Field(20, gt=0, description="how often to validate in the budget")
    valid_episodes: int = Field(300, gt=0, description="episodes of a validation")
    patience: int = Field(12, gt=0, description="validations without improvement before training stops")

    def part(self, share: float) -> TrainOptions:
        """The same for a share of the time, and of the steps if their number is said."""
        steps = self.steps and max(1, round(share * self.steps))
        return self.model_copy(update={"budget": share * self.budget, "steps": steps})
