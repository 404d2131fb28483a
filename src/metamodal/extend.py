"""All that the author of a component imports: the registries, the protocols, and what components are built of.

A component is one file and one decorator. A frozen dataclass has its options as fields; a module has them
as keyword-only parameters. `docs/extending.md` has an example of each.
"""

from metamodal.components import EachOf, OneOf
from metamodal.data.features.extractors.protocol import Extractor, Tunable
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.protocol import CellError, Fitted, Invertible, Modality
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines import Baseline, FitRows, baselines, retrieval_baselines
from metamodal.mappings.decoders import decoders
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import Presence, fusions
from metamodal.mappings.layers import Conv1d, Conv2d, GroupNorm, LayerNorm, Linear
from metamodal.mappings.maps import Map, maps
from metamodal.meta.learners import learners
from metamodal.meta.learners.protocol import SelfTesting, own, seen
from metamodal.outputs import CLASSIFICATION, MULTILABEL, REGRESSION, Output
from metamodal.registry import Registry
from metamodal.reporting.pictures import pictures
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses import Objective, Step, objectives
from metamodal.training.losses.modality_balance import ModalityBalance, modality_balances
from metamodal.training.losses.surgery import surgeries
from metamodal.training.losses.weighing import Weighing, weighings
from metamodal.traits import Trait, declared
from metamodal.types import Backbone, Batch, Embed, Episode, Learner, Params, Setting, Space

__all__ = [
    "CLASSIFICATION",
    "MULTILABEL",
    "REGRESSION",
    "Backbone",
    "Baseline",
    "Batch",
    "Capabilities",
    "CellError",
    "Context",
    "Conv1d",
    "Conv2d",
    "DataError",
    "EachOf",
    "Embed",
    "Episode",
    "EpisodeSampler",
    "Extractor",
    "FitRows",
    "Fitted",
    "GroupNorm",
    "Invertible",
    "LayerNorm",
    "Learner",
    "Linear",
    "Map",
    "Modality",
    "ModalityBalance",
    "Objective",
    "OneOf",
    "OptionError",
    "Output",
    "Params",
    "Presence",
    "Registry",
    "SelfTesting",
    "Setting",
    "Space",
    "Step",
    "Trait",
    "Tunable",
    "Weighing",
    "baselines",
    "declared",
    "decoders",
    "encoders",
    "fusions",
    "learners",
    "maps",
    "modalities",
    "modality_balances",
    "objectives",
    "own",
    "pictures",
    "retrieval_baselines",
    "seen",
    "surgeries",
    "weighings",
]
