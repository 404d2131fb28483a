"""A cross-validation as a table of plain text."""

from __future__ import annotations

from metamodal.evaluation.full import FULL_SCORES, FullEvaluation

__all__ = ["full_table"]


def full_table(evaluation: FullEvaluation) -> str:
    """One line a method: its scores with their intervals."""
    names = FULL_SCORES[evaluation.kind]
    lines = [
        f"{evaluation.folds}-fold cross-validation by {evaluation.by}, {evaluation.rows} rows, all rows of the other folds as support "
        "(± 95 % interval over " + ("groups" if evaluation.by == "group" else "rows") + ")",
        f"  {'':28}" + "".join(f" {name.replace('_', ' '):>18}" for name in names),
    ]
    percent = evaluation.kind != "regression"
    for result in (evaluation.model, *evaluation.baselines):
        cells = "".join(f" {_cell(*result.scores[name], percent or name == 'r2'):>18}" for name in names)
        lines.append(f"  {result.name.replace('_', ' '):28}{cells}")
    return "\n".join(lines)


def _cell(mean: float, ci95: float, percent: bool) -> str:
    return f"{100 * mean:.2f} ± {100 * ci95:.2f} %" if percent else f"{mean:.4g} ± {ci95:.2g}"
