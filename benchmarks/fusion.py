"""Every fusion × every balance of modalities × every share of missing cells, on two tables, by one command:

    python benchmarks/fusion.py --data ../shared/data --seconds 40 --markdown fusion.md

Spoken and written digits with rain over the voice (speakers that training did not see) and emoji with
their words (subgroups that it did not see). One JSON line a case: the accuracy at each share of
missing cells, each with its 95 % interval over the same episodes, beside the best single modality under
the same training and scikit-learn's logistic regression on all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from measured import print_line
from metamodal.data.dataset import Dataset, read_table
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.evaluation.results import Result
from metamodal.experiment import Experiment, run, untrained_for
from metamodal.mappings.fusion import fusions
from tables import emoji_words, rainy_digits

MISSING = (0.0, 0.25, 0.5, 0.75)
BALANCE: dict[str, dict[str, Any]] = {
    "none": {"losses": {"unimodal": 0.0}},
    "unimodal losses": {},
    "modulation": {"modality_balance": "modulation"},
    "blending": {"weighing": "blending"},
}
LATE = "late, by fusion weights"
TABLES = {"digits": "digits in the rain", "emoji": "emoji"}


def table(name: str, folder: Path, scratch: Path) -> Dataset:
    """A table with its roles, made from those in the folder."""
    made = scratch / f"{name}.parquet"
    if name == "digits":
        sources = [str(folder / f"{source}.parquet") for source in ("av_digits", "environmental_sounds")]
        rainy_digits.main([*sources, "--out", str(made)])
        return read_table(made, target="digit", group="speaker", use=["image_degraded", "audio"])
    emoji_words.main([str(folder / "emoji.parquet"), "--out", str(made)])
    return read_table(made, target="subgroup", group="codepoints", use=["image", "words"])


def peer(data: Dataset, episodes: int) -> dict[str, Any]:
    """Logistic regression on the episodes of all cases, as concatenated or fused late, whichever does better."""
    (found,) = evaluate(untrained_for(data), data, [Protocol(5, 1, episodes=episodes, baselines=True)])
    names = found.whole.modalities
    able = [b for b in found.baselines if (b.name, b.modalities) == ("logistic_regression", names)]
    best = max(able, key=lambda b: b.accuracy[0])
    return {"fusion": f"{best.name} on untrained features, {best.fusion}", "0% missing": pair(best)}


def case(data: Dataset, fusion: str, balance: str, seconds: float, episodes: int) -> dict[str, Any]:
    """One training and its accuracies in percent."""
    learner = "per_modality" if fusion == LATE else "ridge"
    model = {"fusion": "mean" if fusion == LATE else fusion}
    train = {"budget": seconds, "fallback": False} | BALANCE[balance]
    record = {"learner": learner, "model": model, "train": train, "data": {"class_names": "own"}}
    done = run(Experiment.model_validate(record), data)
    protocols = [Protocol(5, 1, episodes=episodes, missing=rate) for rate in MISSING]
    found = list(evaluate(done.model, data, protocols, cells=done.cells))
    under = {f"{rate:.0%} missing": pair(at_rate(e, rate)) for rate, e in zip(MISSING, found)}
    whole = found[0]
    gain, ci95 = whole.fusion_gain
    return {
        "fusion": fusion,
        "balance": balance,
        "steps": done.trained.steps,
        **under,
        "best single": {whole.best_single.modalities[0]: pair(whole.best_single)},
        "over best single": [round(100 * gain, 1), round(100 * ci95, 1)],
    }


def at_rate(evaluation: Evaluation, rate: float) -> Result:
    return evaluation.result(evaluation.whole.modalities, rate)


def pair(result: Result) -> list[float]:
    """Accuracy and interval in percent."""
    return [round(100 * x, 1) for x in result.accuracy]


def markdown(cases: list[dict[str, Any]]) -> str:
    """The cases as the tables of a page, one a data set."""
    lines = []
    for name in dict.fromkeys(c["data"] for c in cases):
        shown = [f"{rate:.0%} missing" for rate in MISSING]
        lines += [
            f"**{name}**",
            "",
            "| fusion | balance | steps | " + " | ".join([*shown, "over best single"]) + " |",
        ]
        lines.append("|---|---|---|" + "---|" * (len(shown) + 1))
        for c in (c for c in cases if c["data"] == name):
            cells = [f"{c[k][0]} ± {c[k][1]}" if k in c else "" for k in shown]
            gain = "{:+} ± {}".format(*c["over best single"]) if "over best single" in c else ""
            lines.append(
                f"| {c['fusion']} | {c.get('balance', '')} | {c.get('steps', '')} | "
                + " | ".join([*cells, gain])
                + " |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fusions, balances and missing cells on two tables.")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the tables (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=40.0, help="of training a case (%(default)s)")
    parser.add_argument("--episodes", type=int, default=300, help="test episodes (%(default)s)")
    parser.add_argument("--fusions", nargs="*", default=[*fusions, LATE], help="which (all)")
    parser.add_argument("--balance", nargs="*", default=list(BALANCE), choices=BALANCE, help="which (all)")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES, help="which (both)")
    parser.add_argument("--markdown", type=Path, help="write the cases as tables of Markdown")
    options = parser.parse_args()
    if not (options.data / "av_digits.parquet").is_file():
        print_line("fusion", formulation="skipped", baseline=f"{options.data} has no av_digits.parquet")
        return
    torch.set_num_threads(1)
    cases = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.tables:
            data = table(name, options.data, Path(scratch))
            cases.append({"data": TABLES[name]} | peer(data, options.episodes))
            print_line(f"fusion: {name}", formulation="baseline", **cases[-1])
            for fusion in options.fusions:
                for balance in options.balance:
                    found = {"data": TABLES[name]} | case(
                        data, fusion, balance, options.seconds, options.episodes
                    )
                    cases.append(found)
                    print_line(
                        f"fusion: {name}",
                        formulation=f"{fusion}, balance {balance}",
                        baseline="best single modality",
                        **found,
                    )
                    if options.markdown:
                        options.markdown.write_text(markdown(cases))


if __name__ == "__main__":
    main()
