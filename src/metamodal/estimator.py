"""`MetaLearner`: the whole program as one object in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact
from metamodal.components import kind_of
from metamodal.data.dataset import Dataset
from metamodal.data.features.encoders import open_encoders
from metamodal.data.features.extractors import is_weights
from metamodal.data.options import roles_of
from metamodal.data.tables.rows import Rows, dataset_of
from metamodal.data.tasks.episodes import tasks_in
from metamodal.device import Precision
from metamodal.errors import ArtifactError, OptionError, suggestion
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.held_out import widest_way
from metamodal.evaluation.metrics import SCORES
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.experiment import Experiment, run, untrained_for
from metamodal.mappings.fusion import AttentionWeights
from metamodal.meta.learners import learners
from metamodal.model import MetaModel, untrained
from metamodal.nesting import flat, merged, nested
from metamodal.options import parse
from metamodal.predictor import Predictor
from metamodal.summary import Summary, listed
from metamodal.training.loop.bar import Bar
from metamodal.training.loop.progress import Progress
from metamodal.translation import Translated

__all__ = ["MetaLearner", "load"]

_FREE = (
    "learner",
    "data__kinds",
    "model__encoders",
    "model__fusion",
    "train__weighing",
    "train__surgery",
    "train__modality_balance",
)  # records whose names are the user's own


class MetaLearner:
    """A meta-learner: trained on many tasks, it adapts to a new one from a handful of labelled rows.

    `fit` trains on a table of many tasks or classes, `adapt` turns labelled rows of a new task into a
    `Predictor`, `evaluate` measures on classes that training did not see. Without `fit`, generic features
    are used that need no training.

    >>> import pandas as pd
    >>> support = pd.DataFrame({"height": [20, 24, 60, 63], "pet": ["cat", "cat", "dog", "dog"]})
    >>> predictor = MetaLearner(data__target="pet").adapt(support)
    >>> predictor.predict(pd.DataFrame({"height": [22, 61]})).tolist()
    ['cat', 'dog']

    Args:
        options: fields of the option tree, as records, `train={"budget": 60}`, or with double underscores,
            `train__budget=60` (seconds). The page of options lists all. `get_params`, `set_params` and
            scikit-learn's `clone` work on them.

    Attributes:
        experiment: the parsed options.
        model: the trained model, `None` before `fit`.

    Raises:
        OptionError: an unknown option, or a value that does not fit, with its path.
    """

    def __init__(self, **options: Any) -> None:
        self._given = nested(options)
        self.experiment = parse(Experiment, self._given)
        self.model: MetaModel | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every option by name, nested ones by double underscores; without `deep`, those that were given."""
        return flat(self.experiment.record(), _FREE) if deep else dict(self._given)

    def set_params(self, **options: Any) -> MetaLearner:
        """Change options; what was learned stays until the next `fit`."""
        known = self.get_params()
        assignments = nested(options)
        for name in flat(assignments, _FREE):
            if name not in known and not name.startswith(_FREE):
                raise OptionError(f"{name}: no such option. {suggestion(name, known)}")
        self.experiment = parse(Experiment, merged(self.experiment.model_dump(), assignments))
        self._given = merged(self._given, assignments)
        return self

    def fit(
        self, data: Rows, watch: Callable[[Progress], None] = lambda p: None, *, verbose: bool = False
    ) -> MetaLearner:
        """Meta-train on the data's training rows, choosing by its validation rows.

        Args:
            data: a Dataset, or a DataFrame or records with the roles that `data__target` and its like name.
            watch: receives the progress after each step and each validation.
            verbose: show what the command line shows on standard error: a bar on a terminal, else a line
                a validation.
        """
        data = self._labelled(data)
        bar = Bar(self.experiment.train.budget, SCORES[data.schema.target_kind], quiet=not verbose)

        def both(progress: Progress) -> None:
            bar(progress)
            watch(progress)

        with closing(bar), torch.random.fork_rng(devices=[]):  # the seed is the run's, not the caller's
            self.model = run(self.experiment, data, both).model
        return self

    def _summary(self) -> Summary:
        facts = [
            (
                "options",
                listed([f"{k}={v!r}" for k, v in flat(self._given, _FREE).items()]) or "all as by default",
            )
        ]
        if self.model is None:
            return Summary("MetaLearner, not trained: adapt uses generic features", tuple(facts))
        outcome = self.model.record.get("outcome", {})
        learner = kind_of(learners, self.model.engine.learner)
        facts += [("modalities", listed(self.model.modalities)), ("learner", learner)]
        score = outcome.get("score", "accuracy")
        if (best := outcome.get(f"valid_{score}")) is not None:
            facts.append((f"validation {score.replace('_', ' ')}", f"{100 * best:.1f} %"))
        if outcome:
            facts.append(
                ("training", f"{outcome.get('steps', 0)} steps, ended by {outcome.get('ended', '-')}")
            )
        return Summary("MetaLearner, trained", tuple(facts))

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    def adapt(
        self,
        support: Rows | None = None,
        describe: Mapping[str, Any] | None = None,
        prior: str = "auto",
        unreadable: str = "error",
    ) -> Predictor:
        """A predictor from a handful of labelled rows, and from descriptions of classes by label.

        A class that is described needs no row; without any row all classes are predicted from `describe`.

        Args:
            prior: how frequent classes are: `balanced`, `support` (as in the support rows), or `auto`: as in the
                support where it is a sample of 20 rows or more with unequal counts, else balanced.
            unreadable: whether a cell that cannot be read is an `error` or counts as `absent`.
        """
        if self.model is not None:
            return adapt(self.model, support, unreadable, describe=describe, prior=prior)
        if describe or support is None:
            raise OptionError("MetaLearner: descriptions are of use to a trained model. Call fit first.")
        data = self._labelled(support, unreadable)
        return adapt(self._untrained(data, unreadable), data, unreadable, prior=prior)

    def score(self, data: Rows, *, episodes: int = 600, way: int = 5, shot: int = 1) -> float:
        """The mean score of few-shot episodes drawn from all rows of `data`, e.g. `table.test`.

        Accuracy of classes, mean average precision of labels, `r2` of numbers. With labels and numbers `shot`
        counts all support rows, and `way` has no effect.

        Args:
            data: as in `fit`.
            way: classes of an episode; fewer where no task of `data` has as many.
        """
        data = self._labelled(data)
        if data.has_classes and shot > 0:
            tasks = tasks_in(data, np.arange(len(data)))
            way = max(2, min(way, max((len(task.usable(shot)) for task in tasks), default=2)))
        protocol = Protocol(way, shot, episodes=episodes, seed=self.experiment.seed)
        model = self.model or self._untrained(data)
        (found,) = evaluate(model, data, [protocol], rows=np.arange(len(data)))
        return found.whole.score[0]

    def evaluate(self, data: Rows, *, way: int = 5, shot: int = 1, **measured: Any) -> Evaluation:
        """Few-shot episodes of the test rows of `data`: rows whose classes, tasks or groups training did not see.

        >>> import pandas as pd, metamodal as mm
        >>> pets = pd.DataFrame({"height": range(40), "pet": [f"pet{i // 5}" for i in range(40)]})
        >>> found = mm.MetaLearner().evaluate(mm.read_table(pets, target="pet"), way=2, episodes=20)
        >>> list(found.to_frame()["modalities"])[:1]
        ['height']

        Args:
            data: as in `fit`.
            way, shot: classes of an episode (fewer where no task has as many), and support rows of a class.
            measured: other options of `Protocol`, such as `episodes`, `subsets`, `missing` and `baselines`.
        """
        data = self._labelled(data)
        model = self.model or untrained_for(data, self.experiment.untrained_learner).on(
            self.experiment.device, self.experiment.precision
        )
        way = widest_way(model, data, shot, way)
        protocol = Protocol(way, shot, **{"seed": self.experiment.seed} | measured)
        (found,) = evaluate(model, data, [protocol])
        return found

    def embed(self, rows: pd.DataFrame | Dataset) -> np.ndarray:
        """The embedding of each row in the shared space, `(n, d)`."""
        return self._trained("embed").embed(rows)

    def attention(self, rows: pd.DataFrame | Dataset) -> AttentionWeights:
        """How much each modality of each row attends to each, of a model with `model.fusion=attention`."""
        return self._trained("attend with").attention(rows)

    def translate(
        self,
        rows: pd.DataFrame | Dataset,
        source: str | Sequence[str],
        target: str,
        *,
        against: pd.DataFrame | Dataset | None = None,
        top: int | None = None,
    ) -> Translated:
        """The target modality's cell of each row, from the source modalities of the same row.

        Decoded, where the model has decoders (`model__decoders=True`) and neither `against` nor `top` are
        given; else that of the nearest of the rows of `against`, by default the other rows.
        """
        model = self._trained("translate with")
        return model.translate(rows, source, target, against=against, top=top)

    def save(self, folder: str | Path) -> None:
        """Write the trained model as a folder; `metamodal.load` reads it."""
        self._trained("save").save(folder)

    @classmethod
    def of(cls, model: MetaModel, encoders: Mapping[str, Any] | None = None) -> MetaLearner:
        """A trained model as a `MetaLearner`, with the options it was trained under.

        Args:
            encoders: those that are code, by modality; an artifact's own options name no code to run.
        """
        options = {k: v for k, v in model.record.items() if k in Experiment.model_fields}
        network = dict(options.get("model", {}))
        kept = {
            n: spec
            for n, spec in network.get("encoders", {}).items()
            if not isinstance(spec, str) or is_weights(spec)
        }
        network["encoders"] = kept | dict(encoders or {})
        network["tune"] = [name for name in network.get("tune", ()) if name in network["encoders"]]
        learner = cls(**options | {"model": network})
        learner.model = model
        return learner

    def _untrained(self, data: Dataset, unreadable: str = "error") -> MetaModel:
        encoders = open_encoders(self.experiment.model.pretrained, [], data.schema)
        model = untrained(data, self.experiment.untrained_learner, unreadable, encoders)
        return model.on(self.experiment.device, self.experiment.precision)

    def _trained(self, purpose: str) -> MetaModel:
        if self.model is None:
            raise OptionError(f"MetaLearner: nothing is trained yet to {purpose}. Call fit first.")
        return self.model

    def _labelled(self, support: Rows, unreadable: str | None = None) -> Dataset:
        """Rows with the roles and the split that the options name; a Dataset has its own."""
        if isinstance(support, Dataset):
            return support
        options = self.experiment.data
        roles = roles_of(options)
        if roles.target is None:
            raise OptionError(
                "MetaLearner: which column is the label? Pass read_table(frame, target=…), or MetaLearner(data__target=…)."
            )
        return replace(dataset_of(support, roles, unreadable or options.unreadable), plan=options.plan)


def load(
    folder: str | Path,
    encoders: Mapping[str, Any] | None = None,
    *,
    model: str | Path | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
) -> MetaLearner | Predictor:
    """A saved model as a `MetaLearner`, or a saved `Predictor`, from its folder.

    Nothing that the folder names is run: weights are safetensors, and there is no pickle. Answers after
    loading are equal to those before saving.

    >>> import tempfile
    >>> import pandas as pd, metamodal as mm
    >>> support = pd.DataFrame({"height": [20, 24, 60, 63], "pet": ["cat", "cat", "dog", "dog"]})
    >>> folder = mm.MetaLearner(data__target="pet").adapt(support).save(tempfile.mkdtemp())
    >>> mm.load(folder).predict([{"height": 22}]).tolist()
    ['cat']

    Args:
        folder: what `save` or the command line wrote.
        encoders: by modality, the encoders that are Python code: as objects, or as `package.module:name`.
            They must be those of training.
        model: the folder of a predictor's model, where the predictor refers to one that has moved.
        device, precision: where it computes and in which precision; see `MetaModel.on`.

    Raises:
        ArtifactError: no artifact, or anything in it that is not as it was saved.
    """
    item = load_artifact(folder, encoders, model).on(device, precision)
    if isinstance(item, Predictor):
        return item
    try:
        return MetaLearner.of(item, encoders)
    except Exception as error:  # the options in it are not those of any training
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ArtifactError(f"{folder}: damaged ({reason}). Train or adapt again.") from None
