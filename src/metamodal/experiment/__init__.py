"""An experiment: the option tree, and its run from a table to a trained model."""

from metamodal.experiment.options import Experiment
from metamodal.experiment.runs import Run, run
from metamodal.experiment.untrained import untrained_for

__all__ = ["Experiment", "Run", "run", "untrained_for"]
