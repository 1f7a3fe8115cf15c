"""Methods by the name that recipes and checkpoints use: one file a paper."""

from avtrain.methods.avid import AVIDConfig
from avtrain.methods.base import (
    ChoosesSamples,
    Encoder,
    InitialState,
    Method,
    MethodConfig,
    MethodFacts,
    Modality,
    StepFacts,
)
from avtrain.methods.cma import CMAConfig
from avtrain.methods.robust_xid import RobustXIDConfig
from avtrain.methods.separation import SeparationConfig
from avtrain.methods.sync import SyncConfig

METHODS: dict[str, type[MethodConfig]] = {
    "avid": AVIDConfig,
    "cma": CMAConfig,
    "robust-xid": RobustXIDConfig,
    "sync": SyncConfig,
    "separation": SeparationConfig,
}

__all__ = [
    "METHODS",
    "AVIDConfig",
    "CMAConfig",
    "ChoosesSamples",
    "Encoder",
    "InitialState",
    "Method",
    "MethodConfig",
    "MethodFacts",
    "Modality",
    "RobustXIDConfig",
    "SeparationConfig",
    "StepFacts",
    "SyncConfig",
]
