"""Streaming trainer for audio-visual self-supervised learning, its methods and evaluations.

`load_encoder` makes a module of trained networks. It is imported when it is first used, so that a
command line can answer before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avtrain.encoders import load_encoder

__all__ = ["load_encoder"]

_HOME = {"load_encoder": "avtrain.encoders"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'avtrain' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
