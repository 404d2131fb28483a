"""The query loss of a step's episodes: by all modalities and, weighed, by each alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from metamodal.data.tasks import Draw, episodes_of
from metamodal.meta.outer import outer_rules
from metamodal.outputs import Output
from metamodal.training.material import Material
from metamodal.training.supply import Supply
from metamodal.types import Batch, Episode, Params

__all__ = ["step_loss"]


def step_loss(material: Material, supply: Supply, params: Params) -> Tensor:
    """The loss of the next step's episodes."""
    engine, options = material.engine, material.options
    drawn = supply.drawn()
    encoded = engine.encode(params, drawn.rows, chunk=len(drawn.rows.targets))
    episodes = _stacked(encoded, drawn.draw, drawn.way)
    if material.told is not None and not drawn.unlabelled:
        episodes = material.told.varied(episodes, drawn.draw, options, supply.generator)
    targets = supply.balancer.class_weights(drawn.draw, episodes.query.targets)
    weighed = Episode(episodes.support, episodes.query.labelled(targets))
    loss = outer_rules[options.outer](engine, params, weighed, supply.numbers(drawn))
    each = options.outer == "query" and options.alone and engine.learner.reads == "tokens"
    if each and len(drawn.rows.inputs) > 1:
        weights = supply.balancer.modality_weights()
        for name in drawn.rows.inputs:
            alone = episodes.only([name])
            logits = engine.logits(params, alone)
            seen = _where_present(engine.output, targets, alone.query.present[name])
            loss = loss + options.alone * weights[name] * engine.output.loss(logits, seen)
    return loss


def _where_present(output: Output, targets: Tensor, present: Tensor) -> Tensor:
    """Targets of the rows that are there, the others unknown."""
    if output.fixed:
        return torch.where(present[..., None], targets, torch.nan)
    return targets * present[..., None]


def _stacked(encoded: Batch, draw: Draw, way: int) -> Episode:
    """Flat encoded rows of a draw as a stack of episodes."""
    tasks, shots = draw.support.shape
    place = torch.arange(tasks * (shots + draw.query.shape[1])).reshape(tasks, -1)
    return episodes_of(encoded, replace(draw, support=place[:, :shots], query=place[:, shots:]), way)
