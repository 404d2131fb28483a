"""An evaluation as a table of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metamodal.evaluation.protocol import Evaluation, Result

__all__ = ["evaluation_table", "label", "leaderboard_lines"]


def evaluation_table(evaluation: Evaluation) -> str:
    """One line a result: what, accuracy with its interval, macro recall and F1."""
    p = evaluation.protocol
    kind = "unseen classes" if evaluation.unseen_classes else "classes seen in training"
    kind = kind if evaluation.trained else "no training"
    lines = [
        f"{p.way}-way {p.shot}-shot, {p.episodes} episodes, {kind} (accuracy ± 95 % interval, %)",
        f"  {'':56} {'accuracy':>14} {'recall':>7} {'F1':>7}",
    ]
    width = 56
    for result in (*evaluation.results, *evaluation.baselines):
        scores = {k: 100 * float(v.double().mean()) for k, v in result.scores.items()}
        mean, ci95 = result.accuracy
        lines.append(
            f"  {label(evaluation, result):{width}} {100 * mean:6.2f} ± {100 * ci95:5.2f} "
            f"{scores['recall_macro']:7.2f} {scores['f1_macro']:7.2f}"
        )
    gain, ci95 = evaluation.fusion_gain
    if len(evaluation.whole.modalities) > 1:
        lines.append(
            f"  all modalities less the best single one ({evaluation.best_single.modalities[0]}): "
            f"{100 * gain:+.2f} ± {100 * ci95:.2f} points"
        )
        if gain + ci95 < 0:
            lines.append(
                "  warning: together the modalities do worse than the best one alone; leave out a weak one with --use"
            )
    return "\n".join(lines)


def leaderboard_lines(board: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a candidate of an automatic choice, best first; none where nothing was chosen."""
    if not board:
        return []
    width = max(len(place["name"]) for place in board)
    lines = ["chosen on validation tasks, the best first (accuracy ± 95 % interval, %):"]
    for place in board:
        mean, ci95 = (100 * place["valid"][k] for k in ("mean", "ci95"))
        lines.append(
            f"  {place['name']:{width}} {mean:6.2f} ± {ci95:5.2f}  {place['seconds']:6.0f} s, {place['rounds']} rounds"
        )
    return lines


def label(evaluation: Evaluation, result: Result) -> str:
    """What a result is of, in words."""
    everything = len(result.modalities) == len(evaluation.whole.modalities) > 1
    what = "all" if everything else " + ".join(result.modalities)
    if result.missing:
        what += f", {100 * result.missing:.0f} % of cells missing"
    if not result.name:
        blind = evaluation.whole.told and not result.told
        return f"{evaluation.learner}: {what}{', told nothing of the classes' if blind else ''}"
    how = f", {result.fusion}" if result.fusion else ""
    return f"{result.name.replace('_', ' ')} on {result.features}: {what}{how}"
