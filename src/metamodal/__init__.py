"""metamodal: learn from many tasks of mixed modalities how to learn the next one.

import metamodal as mm

data = mm.read_table("cases.parquet", target="diagnosis", task="ward")
model = mm.MetaLearner().fit(data)
predictor = model.adapt(support)
predictor.predict(query)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metamodal import extend
    from metamodal.data.audit import audit
    from metamodal.data.dataset import Dataset, read_table
    from metamodal.data.tasks.splits import Plan
    from metamodal.errors import (
        ArtifactError,
        DataError,
        InputError,
        MetamodalError,
        MetamodalWarning,
        OptionError,
        OutputError,
    )
    from metamodal.estimator import MetaLearner, load
    from metamodal.evaluation.evaluating import evaluate
    from metamodal.evaluation.protocol import Evaluation, Protocol
    from metamodal.predictor import Predictor
    from metamodal.reporting.report import write_report
    from metamodal.supervised import Classifier, Regressor

__all__ = [
    "ArtifactError",
    "Classifier",
    "DataError",
    "Dataset",
    "Evaluation",
    "InputError",
    "MetaLearner",
    "MetamodalError",
    "MetamodalWarning",
    "OptionError",
    "OutputError",
    "Plan",
    "Predictor",
    "Protocol",
    "Regressor",
    "audit",
    "evaluate",
    "extend",
    "load",
    "read_table",
    "write_report",
]

_HOMES = {
    "ArtifactError": "errors",
    "Classifier": "supervised",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation.protocol",
    "InputError": "errors",
    "MetaLearner": "estimator",
    "MetamodalError": "errors",
    "MetamodalWarning": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "Plan": "data.tasks.splits",
    "Predictor": "predictor",
    "Protocol": "evaluation.protocol",
    "Regressor": "supervised",
    "audit": "data.audit",
    "evaluate": "evaluation.evaluating",
    "load": "estimator",
    "read_table": "data.dataset",
    "write_report": "reporting.report",
}


def __getattr__(name: str) -> Any:
    """Public names on first use, so that the command line starts without torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("metamodal")
    if name == "extend":
        return import_module("metamodal.extend")
    if name not in _HOMES:
        raise AttributeError(f"module 'metamodal' has no attribute {name!r}")
    return getattr(import_module(f"metamodal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
