"""Methods by the name that recipes and checkpoints use: one file a paper."""

from avtrain.methods.avid import AVIDConfig
from avtrain.methods.base import (
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

METHODS: dict[str, type[MethodConfig]] = {
    "avid": AVIDConfig,
    "cma": CMAConfig,
    "robust-xid": RobustXIDConfig,
}

__all__ = [
    "METHODS",
    "AVIDConfig",
    "CMAConfig",
    "Encoder",
    "InitialState",
    "Method",
    "MethodConfig",
    "MethodFacts",
    "Modality",
    "RobustXIDConfig",
    "StepFacts",
]
