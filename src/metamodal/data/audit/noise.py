"""Labels that the other rows speak against: confident learning (Northcutt et al., 2021) by cleanlab."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np

from metamodal.data.audit.findings import Finding
from metamodal.data.dataset import Dataset
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.tables.cells import is_absent

__all__ = ["label_noise"]

_MOST_ROWS = 20_000
_MOST_WORK = 500_000  # rows × classes
_FITTED = 2000  # rows that the generic features are fitted on
_CHUNK = 512
_PROJECTED, _WIDTH = 512, 128
_FOLDS = 5
_FEWEST = 3  # groups of a class, so that it can be learnt without one of them
_SKILL = 0.9  # of the way from chance to all right; below, a doubt says more of the model than of the label
_DOUBT, _SURE = 0.2, 0.5  # probability of the given label at most, of another at least
_LENT = 5  # rows of the whole table by which a group's share is held up, as it may be small
_NEIGHBOURS, _AGREED = 10, 0.6  # nearest rows held apart, none of the given label and this share of the other
_MANY, _FEW_OWN = 0.01, 0.2  # wrong labels among all, from which neighbours may be wrong, too, and how many
_SURELY = 0.9  # … for a doubt that stands alone


def label_noise(dataset: Dataset, left_out: set[str], seed: int) -> Finding | str | None:
    """Rows whose label is in doubt, the most doubtful first; a reason where that was not looked for.

    Each row's probabilities are those of a logistic regression over generic features of all
    modalities, fitted to other rows; a group is never on both sides. A row that is hard is no row that
    is wrong, so its nearest neighbours among those other rows must agree, and its group, if it has one,
    be one that is told well. A single row is in doubt only if it is typical of the other class.

    Args:
        dataset: readable rows; cells known to be bad are empty.
        left_out: columns that give the label away, and would hide that it is wrong.
    """
    if find_spec("cleanlab") is None:
        return "label noise: not looked for. pip install 'metamodal[audit]'"
    labels, groups = dataset.labels(), dataset.groups()
    counts = {c: int((labels == c).sum()) for c in {label for label in labels if label is not None}}
    apart = {c: {g for label, g in zip(labels, groups) if label == c and g is not None} for c in counts}
    enough = {c for c, n in counts.items() if n >= _FOLDS and (not apart[c] or len(apart[c]) >= _FEWEST)}
    at = np.array([i for i, label in enumerate(labels) if label in enough], dtype=int)
    if len(enough) < 2:
        return f"label noise: not looked for, fewer than two classes have {_FOLDS} rows, and {_FEWEST} groups where there are groups"
    if len(at) > _MOST_ROWS or len(at) * len(enough) > _MOST_WORK:
        return f"label noise: not looked for in {len(at):,} rows of {len(enough):,} classes, which would take long. Audit a part of the table"
    wanted = {
        name: (kind, tuple(c for c in of if c not in left_out))
        for name, (kind, of) in dataset.schema.modalities.items()
    }
    names, given = np.unique(labels[at].astype(str), return_inverse=True)
    features = _features(dataset.rows(at), {name: w for name, w in wanted.items() if w[1]}, seed)
    if features is None:
        return "label noise: not looked for, no modality can be read"
    many = min([_FOLDS, *(len(apart[c]) for c in enough if apart[c])])
    folds = _folds(given, groups[at], many, seed)
    if folds is None:
        return "label noise: not looked for, some class has too few groups to hold them out one by one"
    probabilities, nearest = _held_out(features, given, folds)
    called = probabilities.argmax(1)
    skill = float(np.mean([(called[given == k] == k).mean() for k in range(len(names))]))
    enough_skill = 1 / len(names) + _SKILL * (1 - 1 / len(names))
    if skill < enough_skill:
        return f"label noise: not looked for, generic features do not tell the classes apart well enough ({100 * skill:.0f} % mean recall)"
    clear = _told_well(called == given, groups[at]) >= enough_skill
    doubtful = _sure(_doubtful(given, probabilities), given, probabilities, nearest, clear)
    if not len(doubtful):
        return None
    rows = tuple((int(dataset.numbers[at[i]]),) for i in doubtful)
    shown = "; ".join(
        f"row {rows[j][0]}: {names[given[i]]}, or {names[called[i]]}?" for j, i in enumerate(doubtful[:4])
    )
    rest = f" and {len(doubtful) - 4:,} more" if len(doubtful) > 4 else ""
    others = {str(rows[j][0]): str(names[called[i]]) for j, i in enumerate(doubtful)}
    are = "label is" if len(doubtful) == 1 else "labels are"
    text = f"{len(doubtful):,} {are} in doubt ({shown}{rest}). Look at them, the most doubtful first"
    facts = {"labels": len(doubtful), "mean_recall": skill, "suggested": others}
    return Finding("label_noise", dataset.schema.target, text, rows, facts)


def _features(
    dataset: Dataset, wanted: dict[str, tuple[str, tuple[str, ...]]], seed: int
) -> np.ndarray | None:
    """Generic features of all modalities side by side, at most 128 wide.

    What is wider than 512 is projected at random first, which hardly moves a distance.
    """
    from metamodal.data.modalities import modalities

    wanted = {name: w for name, w in wanted.items() if w[0] in modalities}
    sample = dataset.rows(np.unique(np.linspace(0, len(dataset) - 1, min(_FITTED, len(dataset))).astype(int)))
    there = {
        name: w
        for name, w in wanted.items()
        if not all(is_absent(c) for of in w[1] for c in sample.frame[of])
    }
    if not there:
        return None
    fitted = Preprocessor.fit(read_cells(sample, there, "absent"))
    fitted = Preprocessor(fitted.fitted, {name: there[name] for name in fitted.fitted})
    rng, narrow = np.random.default_rng(seed), None
    parts = []
    for start in range(0, len(dataset), _CHUNK):
        rows = dataset.rows(np.arange(start, min(start + _CHUNK, len(dataset))))
        batch = fitted.features(fitted.encode(fitted.read(rows, "absent")))
        wide = np.concatenate([x.numpy() for x in batch.inputs.values()], axis=1)
        if narrow is None and wide.shape[1] > _PROJECTED:
            narrow = rng.normal(0, _PROJECTED**-0.5, (wide.shape[1], _PROJECTED)).astype(np.float32)
        parts.append(wide if narrow is None else wide @ narrow)
    return _narrowed(np.concatenate(parts))


def _narrowed(features: np.ndarray) -> np.ndarray:
    """The directions of most variance, scaled to a variance of one in all."""
    features = features - features.mean(0)
    if features.shape[1] > _WIDTH:
        _, vectors = np.linalg.eigh(features.T.astype(np.float64) @ features)
        features = features @ vectors[:, -_WIDTH:]
    return features / max(float(np.sqrt(features.var(0).sum() / features.shape[1])), 1e-9)


def _folds(
    given: np.ndarray, groups: np.ndarray, many: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Rows to fit and rows held out, every class among those to fit."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    x = np.zeros(len(given))
    if any(g is not None for g in groups):
        units = np.array([f"row {i}" if g is None else f"group {g}" for i, g in enumerate(groups)])
        split = StratifiedGroupKFold(many, shuffle=True, random_state=seed).split(x, given, units)
    else:
        split = StratifiedKFold(many, shuffle=True, random_state=seed).split(x, given)
    folds = list(split)
    whole = all(len(np.unique(given[train])) == given.max() + 1 for train, _ in folds)
    return folds if whole else None


def _held_out(
    features: np.ndarray, given: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the probabilities of all classes, and the labels of its nearest rows in the other folds."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    fewest = min(int(np.bincount(given[train]).min()) for train, _ in folds)
    k = min(_NEIGHBOURS, fewest)
    probabilities = np.zeros((len(given), given.max() + 1))
    nearest = np.zeros((len(given), k), dtype=int)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a doubt
        for train, test in folds:
            model = LogisticRegression(C=0.3, max_iter=100).fit(features[train], given[train])
            probabilities[test] = model.predict_proba(features[test])
            rows = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features[train])
            nearest[test] = given[train][rows.kneighbors(features[test], return_distance=False)]
    return probabilities, nearest


def _told_well(right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of each row how often the others of its group are called what they are, the whole table a few of them."""
    share, usual = np.ones(len(right)), float(right.mean())
    for group in {g for g in groups if g is not None}:
        at = groups == group
        share[at] = (right[at].sum() - right[at] + _LENT * usual) / (at.sum() - 1 + _LENT)
    return share


def _doubtful(given: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cleanlab's own dependencies
        from cleanlab.filter import find_label_issues

        ranked = find_label_issues(
            given,
            probabilities,
            filter_by="prune_by_noise_rate",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    own, best = probabilities[ranked, given[ranked]], probabilities[ranked].max(1)
    return np.asarray(ranked)[(own <= _DOUBT) & (best >= _SURE)]


def _sure(
    doubtful: np.ndarray,
    given: np.ndarray,
    probabilities: np.ndarray,
    nearest: np.ndarray,
    clear: np.ndarray,
) -> np.ndarray:
    """Of the doubtful rows those that their neighbours speak against as well."""
    called = probabilities.argmax(1)
    near = nearest[doubtful]
    own = (near == given[doubtful][:, None]).mean(1)
    other = (near == called[doubtful][:, None]).mean(1)
    believed = clear[doubtful] & (other >= _AGREED)
    found = doubtful[believed & (own == 0)]
    if len(found) >= _MANY * len(given):  # of so many wrong labels some are neighbours
        return doubtful[believed & (own <= _FEW_OWN)]
    if len(found) == 1:
        (i,) = found
        typical = np.median(probabilities[given == called[i], called[i]])
        alike = (nearest[i] == called[i]).mean() >= _SURELY
        found = found[(probabilities[found, called[i]] >= typical) & alike]
    return found
