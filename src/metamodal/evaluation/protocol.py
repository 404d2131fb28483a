"""Few-shot evaluation: the same drawn episodes for every subset of modalities and every baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.config import component_record
from metamodal.data.dataset import Dataset
from metamodal.data.reading import Cells
from metamodal.data.splits import rows_of
from metamodal.data.targets import Targets
from metamodal.data.tasks import Draw, Shape, draw_episodes, episodes_of, random_missing, tasks_in
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines import BASELINES, baseline_logits
from metamodal.evaluation.metrics import SCORES, interval
from metamodal.evaluation.peers import peer_logits, peers_of
from metamodal.evaluation.population import Population, known_rows
from metamodal.evaluation.results import Result, named, scored
from metamodal.evaluation.told import class_table, told_tasks
from metamodal.meta.learners import learners
from metamodal.predictor import MetaModel, fingerprint
from metamodal.types import Batch, Episode

__all__ = ["Evaluation", "Protocol", "Result", "Showcase", "evaluate", "held_out", "widest_way"]

_ANSWERS = 400  # query rows of which answers are kept


@dataclass(frozen=True)
class Protocol:
    """What is drawn, and what is measured on it.

    Args:
        way, shot, query: the episodes' shape; a class with fewer rows gives fewer queries. At shot 0 the
            model knows of a class what it is told alone: a description, or a name it has learned. Of
            labels and numbers `shot` are all support rows, maybe none, and `way` says nothing.
        subsets: measure every subset of the modalities, not only all and each.
        missing: measure also with this share of the cells absent, in support and query.
        baselines: measure scikit-learn's answers to the same episodes.
            At shot 0 it has none.
    """

    way: int = 5
    shot: int = 1
    query: int = 15
    episodes: int = 600
    seed: int = 0
    subsets: bool = False
    missing: float = 0.0
    baselines: bool = False

    def __post_init__(self) -> None:
        if self.episodes < 2:
            raise OptionError(f"episodes={self.episodes}: an interval needs 2 or more. Say e.g. 600.")
        if not 0 <= self.missing < 1:
            raise OptionError(f"missing={self.missing}: no share of cells. Say a number from 0 to below 1.")

    @property
    def shape(self) -> Shape:
        return Shape(self.way, self.shot, self.query)

    @property
    def pooled(self) -> Shape:
        """The shape of episodes of labels or numbers."""
        return Shape(1, self.shot, self.query, pooled=True)


@dataclass(frozen=True)
class Showcase:
    """One episode as a person may look at it: row positions, true and predicted class names."""

    support: np.ndarray
    support_names: tuple[str, ...]
    query: np.ndarray
    query_names: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one protocol.

    Of labels and numbers, which have no classes, `unseen_classes` says that no task was seen in
    training, `population` is the model's answer without support rows, and `answers` are true and
    predicted targets `(n, 2, k)` of some query rows, in their own unit.
    """

    protocol: Protocol
    unseen_classes: bool
    results: tuple[Result, ...]
    baselines: tuple[Result, ...]
    confusions: Counter[tuple[str, str]]
    showcases: tuple[Showcase, ...]
    learner: str
    trained: bool
    notes: tuple[str, ...] = ()
    targets: Targets = field(default_factory=Targets)
    population: Result | None = None
    answers: np.ndarray | None = None

    def result(self, modalities: tuple[str, ...], missing: float = 0.0) -> Result:
        return next(r for r in self.results if r.modalities == modalities and r.missing == missing)

    @property
    def whole(self) -> Result:
        """All modalities, nothing missing but what the table lacks."""
        return max((r for r in self.results if not r.missing), key=lambda r: len(r.modalities))

    @property
    def best_single(self) -> Result:
        singles = [r for r in self.results if len(r.modalities) == 1 and not r.missing]
        return max(singles, key=lambda r: r.score[0])

    @property
    def score(self) -> str:
        """The name of the score by which results compare."""
        return SCORES[self.targets.kind]

    @property
    def fusion_gain(self) -> tuple[float, float]:
        """The score of all modalities less that of the best single one, paired by episode."""
        return interval(self.whole.scores[self.score] - self.best_single.scores[self.score])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `evaluate --json`."""
        return {
            "protocol": self._protocol(),
            "results": [{"learner": self.learner} | r.to_dict() for r in self.results],
            "baselines": [
                {"name": b.name, "features": b.features, "fusion": b.fusion} | b.to_dict()
                for b in self.baselines
            ],
            "best_single": self.best_single.modalities[0],
            "fusion_gain": named(self.fusion_gain),
            "notes": list(self.notes),
        }

    def _protocol(self) -> dict[str, Any]:
        p = self.protocol
        if self.targets.kind == "classes":
            protocol = {k: getattr(p, k) for k in ("way", "shot", "query", "episodes", "seed")}
            return protocol | {"transductive": False, "unseen_classes": self.unseen_classes}
        protocol = {k: getattr(p, k) for k in ("shot", "query", "episodes", "seed")}
        protocol |= {"transductive": False, "unseen_tasks": self.unseen_classes}
        return protocol | {
            "target": self.targets.kind,
            "outputs": list(self.targets.names),
            "score": self.score,
        }


def held_out(model: MetaModel, dataset: Dataset) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Rows that training never saw, whether their classes are new too, and notes on the choice.

    Of the table that the model was trained on, the rows that its artifact keeps as the test part. Of
    others the test part of the split column if there is one and it is not empty. Else, for a trained model, rows of classes,
    tasks and groups that it did not see; for an untrained one the part that a trained one would be
    tested on, so that the two compare.
    """
    labels, seen = dataset.labels(), model.seen
    notes: list[str] = []
    recorded = model.record.get("split")
    untrained = model.generic if dataset.pooled else not recorded and not seen.classes
    same = (dataset.keys().digest(), dataset.keys(blind=True).digest())
    if recorded and recorded["rows"]["test"] and recorded["keys"] in same:
        rows = rows_of(recorded["rows"]["test"])
        rows = rows[labels[rows] != np.array(None)]
        return rows, _unseen(model, dataset, rows), tuple(recorded["notes"])
    by_split = untrained or dataset.schema.role("split") or _split_by_row(model)
    split = dataset.split(model.record.get("seed", 0)) if by_split else None
    if split is not None and (untrained or len(split.test)):
        rows = split.test if len(split.test) else np.flatnonzero(labels != np.array(None))
        notes += split.notes
    else:
        groups, tasks = dataset.groups(), dataset.tasks()
        fresh = np.array([label is not None for label in labels])
        new_class = np.array([label is None or fingerprint(label) not in seen.classes for label in labels])
        if (fresh & new_class).any():
            fresh &= new_class
        for values, known, role in ((tasks, seen.tasks, "task"), (groups, seen.groups, "group")):
            new = np.array([v is None or fingerprint(v) not in known for v in values])
            if known and (fresh & new).any():
                fresh &= new
            elif known:
                notes.append(f"every {role} of this table was seen in training")
        rows = np.flatnonzero(fresh)
    unseen = _unseen(model, dataset, rows)
    if seen.classes and not unseen:
        notes.append("some of these classes were seen in training")
    if not untrained and dataset.pooled and not unseen:
        notes.append("these tasks were seen in training")
    return rows, unseen, tuple(notes)


def _unseen(model: MetaModel, dataset: Dataset, rows: np.ndarray) -> bool:
    """Whether the classes of rows are new to the model; of labels and numbers, the tasks."""
    if not dataset.pooled:
        return not _known(dataset.labels()[rows], model.seen.classes)
    tasks = dataset.tasks()[rows]
    return any(t is not None for t in tasks) and not _known(tasks, model.seen.tasks)


def _known(labels: np.ndarray, classes: frozenset[str]) -> bool:
    return any(fingerprint(label) in classes for label in set(labels) if label is not None)


def widest_way(model: MetaModel, dataset: Dataset, shot: int, most: int) -> int:
    """The largest way up to `most` that the test rows allow, two at least."""
    rows, _, _ = held_out(model, dataset)
    tasks = tasks_in(dataset, rows)
    if not shot and not dataset.pooled:
        tasks = told_tasks(tasks, class_table(model, dataset), dataset.name)
    return max(2, min(most, max((len(t.usable(shot)) for t in tasks), default=2)))


def _split_by_row(model: MetaModel) -> bool:
    by = model.record.get("outcome", {}).get("split_by")
    return bool(model.seen.classes) and by == "row"


def evaluate(
    model: MetaModel,
    dataset: Dataset,
    protocols: list[Protocol],
    *,
    unreadable: str = "error",
    cells: Cells | None = None,
    rows: np.ndarray | None = None,
) -> Iterator[Evaluation]:
    """The model on each protocol; the table is read and encoded once.

    Inductive throughout: a query row is predicted from the support and itself alone.

    Args:
        cells: the table's cells, where they have been read already.
        rows: the rows to draw from; by default `held_out` says which.
    """
    dataset = dataset.of_kind(model.targets.kind)
    if rows is None:
        rows, unseen, notes = held_out(model, dataset)
    else:
        unseen, notes = _unseen(model, dataset, rows), ()
    if not len(rows):
        raise DataError(
            f"{dataset.name}: no row is left for testing. Give a table with classes that training did not see."
        )
    part = dataset.rows(rows)
    read = cells.rows(rows) if cells is not None else model.preprocessor.read(part, unreadable)
    tokens, spaces = _spaces(model, part, read, protocols)
    if not _occurring(tokens):
        raise DataError(
            f"{dataset.name}: no test row has any of {', '.join(model.modalities)}. Name the columns as in training."
        )
    crowd: dict[str, Batch] = {}
    if part.pooled and spaces and len(members := _training_rows(model, dataset)):
        those = dataset.rows(members)
        known = cells.rows(members) if cells is not None else model.preprocessor.read(those, unreadable)
        crowd = _spaces(model, those, known, protocols)[1]
    tasks, told, pooled = (
        tasks_in(part, np.arange(len(part))),
        class_table(model, dataset).take(rows),
        part.pooled,
    )
    populations = cache(lambda: known_rows(model, dataset, unreadable, cells))
    for protocol in protocols:
        rng = np.random.default_rng([protocol.seed, protocol.way, protocol.shot])
        shape = protocol.pooled if pooled else protocol.shape
        offered = tasks if pooled or protocol.shot else told_tasks(tasks, told, dataset.name)
        draw = draw_episodes(offered, shape, protocol.episodes, rng, dataset.name)
        about = {} if told.empty else told.of(draw.examples)
        episodes = episodes_of(tokens, draw, shape.way, about)
        logits = _logits(model, episodes)
        results = tuple(_results(model, tokens, draw, protocol, logits, about))
        peers: tuple[Result, ...] = ()
        if protocol.baselines and (protocol.shot or pooled):
            peers = tuple(_baselines(model, spaces, crowd, draw, protocol))
        if protocol.baselines and not (unseen or pooled):
            peers += tuple(_populations(model, populations(), spaces, draw, protocol))
        yield Evaluation(
            protocol,
            unseen,
            results,
            peers,
            Counter() if pooled else _confusions(logits, draw),
            tuple(_showcase(part, rows, logits, draw, e, model.targets) for e in range(3)),
            str(component_record(learners, model.engine.learner)["kind"]),
            bool(model.record) or not model.generic,
            (*notes, *told.notes),
            model.targets,
            _population(model, tokens, draw, protocol) if pooled else None,
            _answers(model.targets, logits, episodes.query.targets) if pooled else None,
        )


def _spaces(
    model: MetaModel, part: Dataset, read: Cells, protocols: list[Protocol]
) -> tuple[Batch, dict[str, Batch]]:
    """Rows as the learner reads them, and as the vectors that baselines read, by what made them."""
    raw = model.preprocessor.encode(read)
    if model.targets.outputs:
        raw = raw.labelled(model.targets.encode(part))
    spaces = {}
    if model.generic or any(protocol.baselines for protocol in protocols):
        spaces["untrained"] = model.preprocessor.features(raw)
    tokens = model.tokens(spaces["untrained"] if model.generic else raw)
    if not model.generic and model.engine.learner.reads == "tokens":
        spaces["learned"] = tokens
    return tokens, spaces if any(protocol.baselines for protocol in protocols) else {}


def _training_rows(model: MetaModel, dataset: Dataset) -> np.ndarray:
    """The labelled rows of this table that the model was trained on, or one would be; maybe none."""
    recorded = model.record.get("split")
    if model.generic:
        return dataset.split().train
    if recorded and recorded["keys"] == dataset.keys().digest():
        return rows_of(recorded["rows"]["train"])
    return np.arange(0)


def _population(model: MetaModel, tokens: Batch, draw: Draw, protocol: Protocol) -> Result:
    """The answer without support rows, to the same queries."""
    names = _occurring(tokens)
    episodes = _episodes(tokens, draw.knowing(0), protocol, names, 0.0)
    logits = _logits(model, episodes)
    features = "untrained" if model.generic else "learned"
    return scored("population", names, 0.0, logits, episodes.query.targets, model.targets, features)


def _answers(targets: Targets, logits: Tensor, known: Tensor) -> np.ndarray:
    """True and predicted targets of some query rows, evenly picked from all episodes."""
    there = (~known.isnan()).any(-1)
    true, said = known[there], logits[there]
    at = torch.linspace(0, len(true) - 1, min(_ANSWERS, len(true))).long()
    own = true[at].double().numpy() * targets.deviation + targets.centre
    return np.stack([own, targets.decode(said[at])], 1)


def _conditions(modalities: tuple[str, ...], protocol: Protocol) -> list[tuple[tuple[str, ...], float]]:
    sizes = range(1, len(modalities) + 1) if protocol.subsets else (1, len(modalities))
    chosen = [s for size in dict.fromkeys(sizes) for s in combinations(modalities, size)]
    if len(chosen) > 64:
        chosen = [s for s in chosen if len(s) in (1, len(modalities) - 1, len(modalities))]
    whole = [(s, 0.0) for s in sorted(chosen, key=len, reverse=True)]
    return whole + ([(modalities, protocol.missing)] if protocol.missing else [])


def _occurring(rows: Batch) -> tuple[str, ...]:
    """The modalities that some row has."""
    return tuple(m for m, present in rows.present.items() if present.any())


def _results(
    model: MetaModel,
    tokens: Batch,
    draw: Draw,
    protocol: Protocol,
    whole: Tensor,
    about: dict[str, Tensor],
) -> Iterator[Result]:
    """Every condition's result; `whole` are the logits with all modalities and nothing missing.

    Where the model is told of classes, what it answers without comes last.
    """
    names = _occurring(tokens)
    features = "untrained" if model.generic else "learned"
    for modalities, missing in _conditions(names, protocol):
        episodes = _episodes(tokens, draw, protocol, modalities, missing, about)
        untouched = modalities == names and not missing
        logits, targets = whole if untouched else _logits(model, episodes), episodes.query.targets
        found = scored("", modalities, missing, logits, targets, model.targets, features, told=bool(about))
        if model.targets.outputs:
            blind = _logits(model, _episodes(tokens, draw.knowing(0), protocol, modalities, missing))
            found = found.beside(scored("", modalities, missing, blind, targets, model.targets, features))
        yield found
    if about and protocol.shot:
        episodes = _episodes(tokens, draw, protocol, names, 0.0)
        logits, targets = _logits(model, episodes), episodes.query.targets
        yield scored("", names, 0.0, logits, targets, model.targets, features)


def _baselines(
    model: MetaModel, spaces: dict[str, Batch], crowd: dict[str, Batch], draw: Draw, protocol: Protocol
) -> Iterator[Result]:
    for features, rows in spaces.items():
        names = _occurring(rows)
        peers = peers_of(model.targets.kind, crowd.get(features)) if model.targets.outputs else BASELINES
        for peer in peers:
            for modalities, missing in _conditions(names, protocol):
                if 1 < len(modalities) < len(names):
                    continue
                episodes = _episodes(rows, draw, protocol, modalities, missing)
                only = episodes.only(modalities)
                if isinstance(peer, str):
                    if peer == "support_mean" and (features != "untrained" or modalities != names or missing):
                        continue
                    known = crowd[features].only(modalities) if features in crowd else None
                    logits = peer_logits(peer, model.targets.kind, only, known)
                    name, fusion = peer, "concatenated" if len(modalities) > 1 else None
                elif len(modalities) == 1 and peer.fusion == "late":
                    continue
                else:
                    logits = baseline_logits(peer, only)
                    name, fusion = peer.name, peer.fusion if len(modalities) > 1 else None
                targets = episodes.query.targets
                yield scored(name, modalities, missing, logits, targets, model.targets, features, fusion)


def _populations(
    model: MetaModel,
    known: dict[str, Population],
    spaces: dict[str, Batch],
    draw: Draw,
    protocol: Protocol,
) -> Iterator[Result]:
    """Regression on the classes' rows of other tasks, blind to the support, for each and all modalities."""
    for features in (name for name in spaces if name in known):
        names = _occurring(spaces[features])
        for modalities, missing in _conditions(names, protocol):
            if 1 < len(modalities) < len(names):
                continue
            query = _episodes(spaces[features], draw, protocol, modalities, missing).query.only(modalities)
            logits = known[features].logits(query, draw)
            fusion = "concatenated" if len(modalities) > 1 else None
            yield scored(
                "population", modalities, missing, logits, query.targets, model.targets, features, fusion
            )


def _episodes(
    rows: Batch,
    draw: Draw,
    protocol: Protocol,
    modalities: tuple[str, ...],
    missing: float,
    about: dict[str, Tensor] | None = None,
) -> Episode:
    """The episodes with only these modalities, and a share of their cells, present."""
    shown = {m: p if m in modalities else torch.zeros_like(p) for m, p in rows.present.items()}
    episodes = episodes_of(rows._replace(present=shown), draw, len(draw.names[0]), about)
    if not missing:
        return episodes
    generator = torch.Generator().manual_seed(protocol.seed)
    return Episode(*(random_missing(batch, missing, generator) for batch in episodes))


def _logits(model: MetaModel, episodes: Episode) -> Tensor:
    with torch.no_grad():
        return model.engine.logits(model.params, episodes)


def _confusions(logits: Tensor, draw: Draw) -> Counter[tuple[str, str]]:
    """How often each true class was called each class, by name."""
    counts: Counter[tuple[str, str]] = Counter()
    for names, guesses, codes in zip(draw.names, logits.argmax(-1).tolist(), draw.query_codes.tolist()):
        counts.update((names[c], names[g]) for c, g in zip(codes, guesses) if c >= 0)
    return counts


def _showcase(
    part: Dataset, rows: np.ndarray, logits: Tensor, draw: Draw, e: int, targets: Targets
) -> Showcase:
    codes, given = draw.query_codes[e], draw.support_codes[e] >= 0
    at = (codes >= 0).nonzero()[:, 0]
    support, query = draw.support[e, given].numpy(), draw.query[e, at].numpy()
    if targets.outputs:
        known = [tuple(map(targets.text, targets.raw(part.rows(at)))) for at in (support, query)]
        said = tuple(map(targets.text, targets.decode(logits[e, at])))
        return Showcase(rows[support], known[0], rows[query], known[1], said, ())
    names = draw.names[e]
    probabilities = torch.softmax(logits[e, at], -1)
    confidence, guesses = probabilities.max(-1)
    return Showcase(
        rows[support],
        tuple(names[c] for c in draw.support_codes[e].tolist()),
        rows[query],
        tuple(names[c] for c in codes[at].tolist()),
        tuple(names[g] for g in guesses.tolist()),
        tuple(confidence.tolist()),
    )
