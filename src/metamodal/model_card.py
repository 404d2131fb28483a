"""The model card of an artifact: what it is, for people, from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["model_card"]


def model_card(record: Mapping[str, Any]) -> str:
    """The text of `README.md` in an artifact's folder."""
    predictor = record.get("predictor")
    if "spec" not in record:
        return _reference_card(record)
    names = ", ".join(f"{n} ({e['kind']})" for n, e in record["modalities"].items())
    target = record["roles"]["target"]
    target = ", ".join(target) if isinstance(target, (list, tuple)) else target
    lines = [
        f"# A metamodal {'predictor' if predictor else 'model'}",
        "",
        f"* modalities: {names}",
        f"* learner: {record['spec']['learner']['kind']}",
        f"* target: {target} ({record['targets']['kind']})",
        f"* made by metamodal {record['version']}, artifact format {record['format']}",
    ]
    if predictor:
        labels = predictor["labels"]
        lines.append(f"* labels: {', '.join(labels[:50])}{' …' if len(labels) > 50 else ''}")
    outcome = record["training"].get("outcome", {})
    score = outcome.get("score", "accuracy")
    if f"valid_{score}" in outcome:
        lines.append(
            f"* validation {score.replace('_', ' ')}: {outcome[f'valid_{score}']:.3f} ± {outcome['valid_ci95']:.3f} "
            f"({outcome['valid_episodes']} episodes)"
        )
    if outcome:
        lines.append(
            f"* training: {outcome['steps']} steps in {outcome['seconds']:.0f} s, ended by {outcome['ended']}"
        )
    if seen := record["seen"]["classes"]:
        lines.append(f"* classes seen in training or validation: {len(seen)}")
    use = "predict <this folder> TABLE" if predictor else "adapt <this folder> SUPPORT --out PREDICTOR"
    return "\n".join([*lines, "", f"Use it: `metamodal {use}`", ""])


def _reference_card(record: Mapping[str, Any]) -> str:
    labels = record["predictor"]["labels"]
    return "\n".join(
        [
            "# A metamodal predictor",
            "",
            f"* model: {record['model']['folder']} (digest {record['model']['digest'][:12]}), which must stay as it is",
            f"* labels: {', '.join(labels[:50])}{' …' if len(labels) > 50 else ''}",
            f"* made by metamodal {record['version']}, artifact format {record['format']}",
            "",
            "Use it: `metamodal predict <this folder> TABLE`",
            "",
        ]
    )
