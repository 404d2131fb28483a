"""Few-shot evaluation: the same drawn episodes for every subset of modalities and every baseline."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from metamodal.components import kind_of
from metamodal.data.class_info import ClassTable
from metamodal.data.dataset import Dataset
from metamodal.data.features.reading import Cells
from metamodal.data.tasks.episodes import Task, draw_episodes, tasks_in
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines.results import baseline_results
from metamodal.evaluation.baselines.training_rows import TrainingRows
from metamodal.evaluation.class_info import class_table, tasks_of_known_classes
from metamodal.evaluation.conditions import occurring
from metamodal.evaluation.examples import answers, confusions, showcase
from metamodal.evaluation.held_out import held_out, unseen_in
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.evaluation.results import Result
from metamodal.evaluation.retrieval import Gallery, Recall, recalls
from metamodal.evaluation.spaces import Encoding, training_rows
from metamodal.evaluation.trial import Trial, results, without_support
from metamodal.meta.learners import learners
from metamodal.model import MetaModel
from metamodal.types import Batch

__all__ = ["evaluate"]


def evaluate(
    model: MetaModel,
    dataset: Dataset,
    protocols: list[Protocol],
    *,
    unreadable: str = "error",
    cells: Cells | None = None,
    rows: np.ndarray | None = None,
    seconds: float = math.inf,
    watch: Callable[[int], None] = lambda results: None,
) -> Iterator[Evaluation]:
    """An `Evaluation` for each protocol, one at a time; the table is read and encoded once.

    Evaluation is inductive: a query row is predicted from the support and itself alone. All protocols,
    subsets of modalities and baselines meet the same episodes. `MetaLearner.evaluate` is the short form for
    one protocol; this function takes a fitted learner's `model` and several.

    >>> import pandas as pd, metamodal as mm
    >>> pets = pd.DataFrame({"height": range(80), "pet": [f"pet{i // 4:02}" for i in range(80)]})
    >>> data = mm.read_table(pets, target="pet", use=["height"])
    >>> train = {"steps": 2, "episodes": {"way": 2}, "validation": {"count": 1, "episodes": 5}}
    >>> learner = mm.MetaLearner(learner="ridge", model__dim=8, train=train).fit(data)
    >>> protocols = [mm.Protocol(way=2, shot=shot, episodes=10) for shot in (1, 3)]
    >>> [found.protocol.shot for found in mm.evaluate(learner.model, data, protocols)]
    [1, 3]

    Args:
        model: a trained model, such as `MetaLearner.model`.
        dataset: the table; by default its test rows are evaluated, and never rows that training saw.
        protocols: what to draw and to measure.
        unreadable: `error`, or `absent`: a cell that cannot be read counts as empty.
        cells: the table's cells, where they have been read already.
        rows: positions of the rows to draw from, in place of the test rows.
        seconds: time for the baselines of each protocol; those that would begin later are left out, with a note.
        watch: called with the number of results after each one.

    Raises:
        OptionError: retrieval of an untrained model without baselines.
        DataError: no test row is left, or none has a modality of the model.
    """
    if model.generic and any(p.retrieval and not p.baselines for p in protocols):
        raise OptionError(
            "--retrieval: an untrained model has no shared space. Pass --baselines, or train a model."
        )
    dataset = dataset.of_kind(model.targets.kind)
    if rows is None:
        rows, unseen, notes = held_out(model, dataset)
    else:
        unseen, notes = unseen_in(model, dataset, rows), ()
    if not len(rows):
        raise DataError(
            f"{dataset.name}: no row is left for testing. Give a table with classes that training did not see."
        )
    encoding = Encoding(model, dataset, cells, unreadable, any(p.baselines for p in protocols))
    raw = encoding.raw(rows)
    tokens, spaces = encoding.of(raw)
    if not occurring(tokens):
        raise DataError(
            f"{dataset.name}: no test row has any of {', '.join(model.modalities)}. Name the columns as in training."
        )
    classes, part = class_table(model, dataset).take(rows), dataset.rows(rows)
    training = cache(lambda: training_rows(encoding, rows) if spaces else None)
    ground = _Ground(model, dataset, part, rows, raw, tokens, spaces, classes, unseen, notes, training)
    for protocol in protocols:
        yield _evaluated(ground, protocol, seconds, watch)


@dataclass(frozen=True)
class _Ground:
    """The test rows, read (`raw`) and encoded: `part` of a table at `rows`.

    `spaces` are the rows as the vectors that baselines read, by what made them, and `training` gives the rows that
    the model was trained on, if they are known.
    """

    model: MetaModel
    table: Dataset
    part: Dataset
    rows: np.ndarray
    raw: Batch
    tokens: Batch
    spaces: dict[str, Batch]
    classes: ClassTable
    unseen: bool
    notes: tuple[str, ...]
    training: Callable[[], TrainingRows | None]

    def compared(self, protocol: Protocol) -> bool:
        """Whether retrieval has baselines: they learn from training rows of this table."""
        return protocol.baselines and self.training() is not None

    @cached_property
    def tasks(self) -> list[Task]:
        return tasks_in(self.part, np.arange(len(self.part)))


def _evaluated(
    ground: _Ground, protocol: Protocol, seconds: float, watch: Callable[[int], None]
) -> Evaluation:
    model, classless = ground.model, not ground.part.has_classes
    trial = _trial(ground, protocol)
    found: list[Result] = []
    for result in results(trial):
        found.append(result)
        watch(len(found))
    baselines, began, notes = [], time.perf_counter(), list(ground.notes)
    for baseline in _baselines(ground, trial) if protocol.baselines else ():
        baselines.append(baseline)
        watch(len(found) + len(baselines))
        if time.perf_counter() - began > seconds:
            notes.append(f"baselines: some are left out, since they took more than {seconds:.0f} s")
            break
    return Evaluation(
        protocol,
        ground.unseen,
        tuple(found),
        tuple(baselines),
        Counter() if classless else confusions(trial),
        tuple(showcase(trial, e, ground.part, ground.rows) for e in range(min(3, protocol.episodes))),
        kind_of(learners, model.engine.learner),
        bool(model.record) or not model.generic,
        (*notes, *ground.classes.notes, *_retrieval_notes(ground, protocol)),
        model.targets,
        without_support(trial) if classless else None,
        answers(trial) if classless else None,
        tuple(_recalls(ground, protocol)) if protocol.retrieval else (),
        table=ground.table,
    )


def _recalls(ground: _Ground, protocol: Protocol) -> Iterator[Recall]:
    """Retrieval among the test rows, by one modality alone: its tokens, and cross-modal maps where the model has any."""
    model = ground.model
    tokens = None if model.generic else model.shared(ground.raw)
    generic = model.preprocessor.features(ground.raw) if model.maps else None
    training = ground.training() if protocol.baselines else None
    gallery = Gallery(
        ground.raw,
        ground.part.groups(),
        tokens,
        ground.spaces["untrained"] if training else None,
        training.without_validation("untrained") if training else None,
        generic,
        model.maps,
    )
    yield from recalls(gallery, protocol.retrieval, protocol.episodes, protocol.seed)


def _retrieval_notes(ground: _Ground, protocol: Protocol) -> Iterator[str]:
    if protocol.retrieval and protocol.baselines and not ground.compared(protocol):
        yield "retrieval has no baselines: this table is not known to have rows that a model was trained on"


def _trial(ground: _Ground, protocol: Protocol) -> Trial:
    """The model on episodes that the protocol's seed decides."""
    rng = np.random.default_rng([protocol.seed, protocol.way, protocol.shot])
    shape = protocol.shape if ground.part.has_classes else protocol.classless_shape
    name = f"{ground.part.name}, {len(ground.part):,} test rows"
    draw = draw_episodes(_offered(ground, protocol), shape, protocol.episodes, rng, name)
    class_info = {} if ground.classes.empty else ground.classes.of(draw.examples)
    return Trial(ground.model, ground.tokens, draw, protocol, class_info)


def _offered(ground: _Ground, protocol: Protocol) -> list[Task]:
    """The tasks to draw from: at shot 0 only those classes that have class information."""
    if not ground.part.has_classes or protocol.shot:
        return ground.tasks
    return tasks_of_known_classes(ground.tasks, ground.classes, ground.part.name)


def _baselines(ground: _Ground, trial: Trial) -> Iterator[Result]:
    """Of classes, a fit to training rows predicts only those that training had."""
    useful = not ground.part.has_classes or not ground.unseen
    yield from baseline_results(trial, ground.spaces, ground.training if useful else lambda: None)
