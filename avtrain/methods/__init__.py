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

METHODS: dict[str, type[MethodConfig]] = {"avid": AVIDConfig}

__all__ = [
    "METHODS",
    "AVIDConfig",
    "Encoder",
    "InitialState",
    "Method",
    "MethodConfig",
    "MethodFacts",
    "Modality",
    "StepFacts",
]
