"""An evaluation as a table of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from metamodal.evaluation.protocol import Evaluation
from metamodal.evaluation.results import Result
from metamodal.evaluation.retrieval import RANKS

__all__ = ["SHOWN", "evaluation_table", "label", "leaderboard_lines"]


def evaluation_table(evaluation: Evaluation, *, brief: bool = False) -> str:
    """One line a result: what, its score with its interval, and other scores; then one line a retrieval.

    Args:
        brief: of the baselines only those on all modalities, and the best one on a single modality.
    """
    shown = replace(evaluation, baselines=tuple(_brief(evaluation))) if brief else evaluation
    table = _classless_table if not evaluation.targets.has_classes else _class_table
    lines = [table(shown), *_retrieval(evaluation)]
    if shown.baselines:
        lines.append(
            "  baselines are scikit-learn on the same episodes, fitted to the support or to all training rows: features untrained (generic) "
            "or learned (of this model); modalities concatenated, or fused late (mean of log-probabilities)"
        )
    if left := len(evaluation.baselines) - len(shown.baselines):
        lines.append(f"  {left} more baselines are in the report")
    return "\n".join(lines)


def _brief(evaluation: Evaluation) -> Iterator[Result]:
    single = [b for b in evaluation.baselines if len(b.modalities) == 1 and b.queried is None]
    best = max(single, key=lambda b: b.score[0], default=None)
    for baseline in evaluation.baselines:
        if baseline is best or baseline.name == "support_mean" or len(baseline.modalities) > 1:
            yield baseline


def _class_table(evaluation: Evaluation) -> str:
    p = evaluation.protocol
    kind = "unseen classes" if evaluation.unseen_classes else "classes seen in training"
    kind = kind if evaluation.trained else "no training"
    results = (*evaluation.results, *evaluation.baselines)
    width = max(56, *(len(label(evaluation, result)) for result in results))
    lines = [
        f"{p.way}-way {p.shot}-shot, {p.episodes} episodes, {kind} (accuracy ± 95 % interval, %)",
        f"  {'':{width}} {'accuracy':>14} {'recall':>7} {'F1':>7}",
    ]
    for result in results:
        scores = {k: 100 * float(v.double().mean()) for k, v in result.scores.items()}
        mean, ci95 = result.accuracy
        lines.append(
            f"  {label(evaluation, result):{width}} {100 * mean:6.2f} ± {100 * ci95:5.2f} "
            f"{scores['recall_macro']:7.2f} {scores['f1_macro']:7.2f}"
        )
    return "\n".join([*lines, *_fusion(evaluation)])


SHOWN = {
    "multilabel": {"f1_macro": "F1", "f1_micro": "F1 all", "accuracy": "exact"},
    "regression": {"mae": "MAE", "rmse": "RMSE"},
}
"""The scores of labels and numbers that stand beside the one they compare by, and what they are called."""


def _classless_table(evaluation: Evaluation) -> str:
    p, targets, score = evaluation.protocol, evaluation.targets, evaluation.score.replace("_", " ")
    kind = "tasks that training did not see" if evaluation.unseen_classes else "no unseen tasks"
    kind = kind if evaluation.trained else "no training"
    several = f" of {targets.outputs} {targets.output.plural}" if targets.outputs > 1 else ""
    shown = SHOWN[targets.kind]
    results = [*evaluation.results, *filter(None, [evaluation.without_support]), *evaluation.baselines]
    width = max(56, *(len(label(evaluation, result)) for result in results))
    lines = [
        f"{p.shot} support {'row' if p.shot == 1 else 'rows'}, {p.episodes} episodes, {kind} ({score}{several} ± 95 % interval, %)",
        f"  {'':{width}} {score:>17}"
        + "".join(f" {name:>9}" for name in shown.values())
        + f" {'over 0 rows':>15}",
    ]
    for result in results:
        row = result.to_dict()
        cells = "".join(f" {_figure(row[name]['mean'], targets.kind):>9}" for name in shown)
        gain = f"{_pair(*result.gain, '+')}" if result.gain else ""
        lines.append(f"  {label(evaluation, result):{width}} {_pair(*result.score)}{cells} {gain:>15}")
    return "\n".join([*lines, *_fusion(evaluation)])


def _pair(mean: float, ci95: float, sign: str = "") -> str:
    return f"{_signless(100 * mean):{sign}9.2f} ± {100 * ci95:5.2f}"


def _signless(value: float) -> float:
    """A value that is printed with two digits, so that a zero has no sign."""
    return round(value, 2) + 0.0


def _figure(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if kind == "multilabel" else f"{value:.4g}"


def _fusion(evaluation: Evaluation) -> list[str]:
    """What all modalities together have over the best single one."""
    lines = []
    gain, ci95 = evaluation.fusion_gain
    if len(evaluation.whole.modalities) > 1:
        lines.append(
            f"  all modalities less the best single one ({evaluation.best_single.modalities[0]}): "
            f"{_signless(100 * gain):+.2f} ± {100 * ci95:.2f} points"
        )
        if gain + ci95 < 0:
            lines.append(
                "  warning: together the modalities do worse than the best one alone; leave out a weak one with --use"
            )
    return lines


def _retrieval(evaluation: Evaluation) -> list[str]:
    """How often a row's other modality is found, one line a pair and baseline."""
    if not evaluation.retrieval:
        return []
    width = max(44, *(len(recall.label) for recall in evaluation.retrieval))
    lines = [
        f"retrieval among test rows, {evaluation.protocol.episodes} draws of candidates (recall ± 95 % interval over draws, %)",
        f"  {'':{width}} {'candidates':>10}" + "".join(f" {f'among {k}':>14}" for k in RANKS),
    ]
    for recall in evaluation.retrieval:
        cells = "".join(f" {100 * mean:6.2f} ± {100 * ci95:5.2f}" for mean, ci95 in recall.intervals)
        lines.append(f"  {recall.label:{width}} {recall.candidates:10}{cells}")
    return lines


def leaderboard_lines(board: Sequence[Mapping[str, Any]], score: str = "accuracy") -> list[str]:
    """One line a candidate of an automatic choice, best first; none where nothing was chosen."""
    if not board:
        return []
    width = max(len(place["name"]) for place in board)
    lines = [f"chosen on validation tasks, the best first ({score.replace('_', ' ')} ± 95 % interval, %):"]
    for place in board:
        mean, ci95 = (100 * place["valid"][k] for k in ("mean", "ci95"))
        lines.append(
            f"  {place['name']:{width}} {mean:6.2f} ± {ci95:5.2f}  {place['seconds']:6.0f} s, {place['rounds']} rounds"
        )
    return lines


def label(evaluation: Evaluation, result: Result) -> str:
    """The name of a result in words: its method, features and modalities."""
    everything = len(result.modalities) == len(evaluation.whole.modalities) > 1
    what = "all" if everything else " + ".join(result.modalities)
    if result.queried is not None:
        what = f"support {what}, query {' + '.join(result.queried)}"
    if result.missing:
        what += f", {100 * result.missing:.0f} % of cells missing"
    if result.name == "without_support":
        return f"{evaluation.learner}: no support rows"
    if result.name == "support_mean":
        return "mean of the support"
    if not result.name:
        without = evaluation.whole.class_info and not result.class_info
        return f"{evaluation.learner}: {what}{', without class information' if without else ''}"
    how = f", {result.fusion}" if result.fusion else ""
    rows = "all training rows, " if result.trained_on == "training rows" else ""
    return f"{result.name.replace('_', ' ')} on {rows}{result.features}: {what}{how}"
