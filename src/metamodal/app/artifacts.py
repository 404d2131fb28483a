"""Models that commands are given by their folder."""

from __future__ import annotations

import argparse

from metamodal.app.arguments import specs_from
from metamodal.artifact import load_artifact
from metamodal.errors import ArtifactError
from metamodal.model import MetaModel
from metamodal.predictor import Predictor

__all__ = ["loaded_model"]


def loaded_model(options: argparse.Namespace, folder: str | None = None) -> MetaModel:
    """The model of a folder, by default the one that the command line names; ArtifactError for a predictor."""
    folder = folder or options.model
    item = load_artifact(folder, specs_from(options))
    if isinstance(item, Predictor):
        raise ArtifactError(
            f"{folder}: a predictor, not a model. Give the folder that train wrote, DIR/model."
        )
    return item
