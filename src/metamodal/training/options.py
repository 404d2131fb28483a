"""The options of meta-training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from metamodal.components import EachOf, OneOf
from metamodal.options import Options
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.training.losses.modality_balance import ModalityBalance, Unbalanced, modality_balances
from metamodal.training.losses.protocol import Objective, objectives
from metamodal.training.losses.surgery import surgeries
from metamodal.training.losses.weighing import Fixed, Weighing, weighings

__all__ = ["OptimiserOptions", "TrainOptions", "ValidationOptions"]


class OptimiserOptions(Options):
    """AdamW, with a learning rate that falls to zero as a cosine."""

    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    pretrained_lr: float = Field(2e-5, gt=0, description="highest learning rate of pretrained networks")
    weight_decay: float = Field(0.02, ge=0, description="of matrices; vectors and scalars do not decay")
    clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.995, ge=0, lt=1, description="decay of the running mean of the weights")


class ValidationOptions(Options):
    """When and how often the running mean of the weights is validated."""

    count: int = Field(20, gt=0, description="validations within the budget")
    episodes: int = Field(300, gt=0, description="episodes of a validation")
    patience: int = Field(12, gt=0, description="validations without improvement before training stops")


class TrainOptions(Options):
    """How to meta-train."""

    renamed: ClassVar[Mapping[str, str]] = {
        "refit": "final_fit",
        "guard": "fallback",
        "way": "episodes.way",
        "rows": "episodes.rows",
        "support": "episodes.support",
        "queries": "episodes.query",
        "tasks": "episodes.count",
        "across": "episodes.cross_task",
        "variants": "episodes.class_symmetries",
        "augment": "episodes.augment",
        "missing": "episodes.missing",
        "crossed": "episodes.cross_modal",
        "recombine": "episodes.mix_cells",
        "noise": "episodes.noise",
        "dropout": "episodes.dropout",
        "unlabelled": "episodes.unlabelled",
        "zero_shot": "episodes.zero_shot",
        "forget": "episodes.description_dropout",
        "class_sampling": "episodes.class_sampling",
        "task_sampling": "episodes.task_sampling",
        "class_weight": "episodes.class_weight",
        "alone": "losses.unimodal",
        "modality_weight": "losses.unimodal.coverage_power",
        "supervised": "losses.supervised",
        "align": "losses.align",
        "align_by": "losses.align.by",
        "translate": "losses.translate",
        "reconstruct": "losses.reconstruct",
        "impute": "losses.impute",
        "lr": "optimiser.lr",
        "pretrained_lr": "optimiser.pretrained_lr",
        "weight_decay": "optimiser.weight_decay",
        "clip": "optimiser.clip",
        "averaging": "optimiser.averaging",
        "validations": "validation.count",
        "valid_episodes": "validation.episodes",
        "patience": "validation.patience",
    }

    outer: Literal["query", "displacement", "supervised"] = Field(
        "query",
        description="the outer rule: query loss, displacement (Reptile), or a classifier of all training classes",
    )
    budget: float = Field(600.0, gt=0, description="seconds of training")
    steps: int | None = Field(None, gt=0, description="optimiser steps; training also ends with the budget")
    final_fit: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the budget, at its end, that also trains on the validation tasks",
    )
    workers: int = Field(
        1,
        gt=0,
        le=64,
        description="processes of one thread that each draw the episodes of a step, Linux and macOS",
    )
    fallback: bool = Field(
        True,
        description="whether to predict from the best single modality where fusion scores worse on validation tasks",
    )
    episodes: EpisodeOptions = EpisodeOptions()
    losses: Annotated[dict[str, Objective], EachOf(objectives)] = Field(
        {}, validate_default=True, description="the weight and the options of each loss"
    )
    weighing: Annotated[Weighing, OneOf(weighings, "fixed")] = Field(
        Fixed(), description="how the weights of the losses change during training"
    )
    surgery: Annotated[Any, OneOf(surgeries, "none")] = Field(
        "none", validate_default=True, description="how conflicting gradients of losses become one"
    )
    modality_balance: Annotated[ModalityBalance, OneOf(modality_balances, "none")] = Field(
        Unbalanced(), description="what slows down the modality that learns fastest"
    )
    optimiser: OptimiserOptions = OptimiserOptions()
    validation: ValidationOptions = ValidationOptions()

    def part(self, share: float) -> TrainOptions:
        """The same for a share of the time, and of the steps if their number is set."""
        steps = self.steps and max(1, round(share * self.steps))
        return self.model_copy(update={"budget": share * self.budget, "steps": steps})

    def weight(self, loss: str) -> float:
        """The weight of a loss; 0 where there is none of that name."""
        return float(getattr(self.losses.get(loss), "weight", 0.0))
