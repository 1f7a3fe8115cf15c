"""Runs and exports as the applications use them."""

from pathlib import Path
from typing import Any

import torch

from avtrain.apps.map_source import ActivationMaps, MapSource, SimilarityMaps
from avtrain.encoders import load_encoder
from avtrain.engine.load import LoadedMethod, load_method
from avtrain.errors import RunError
from avtrain.exported import is_export
from avtrain.maps import SMOOTHING_CELLS
from avtrain.methods import Method
from avtrain.methods.pair_method import PairMethodConfig


def load_map_source(run: Path, device: torch.device, *, mirrored: bool = True) -> MapSource:
    """What localizes with the networks of a run, or of a folder of `avtrain export` or `import`.

    Args:
        run: The folder.
        device: Where they work.
        mirrored: Maps of a run of sync that was trained on mirrored clips too are averaged with
            those of mirror images.

    Raises:
        RunError: There is no run, or its method has no maps.
        WeightsError: The folder lacks a network, a head or audio statistics.
    """
    if is_export(run):
        return _similarity(run, device)
    loaded = load_method(run, device)
    if isinstance(loaded.record.config.method_config, PairMethodConfig):
        return _similarity(run, device)
    method = _with_seam(loaded, run, "maps", "`sync`, or of a method over pairs such as `avid`")
    return ActivationMaps(
        method,
        device,
        keeps_aspect=keeps_aspect(loaded),
        mirrored=mirrored and getattr(_view(loaded), "flip_probability", 0) > 0,
        smoothing_cells=SMOOTHING_CELLS,
    )


def load_with(
    run: Path, device: torch.device, *, seam: str, instead: str
) -> tuple[LoadedMethod, Any]:
    """The method of a run that can do what an application needs, beside what it was loaded from.

    Args:
        run: A run's folder.
        device: Where it works.
        seam: Name of the function that the application calls.
        instead: Which methods have it, for the message.

    Raises:
        RunError: There is no run, it has no checkpoint, or its method cannot.
    """
    if is_export(run):
        raise RunError(f"{run} is an export, which holds no such network; give a run of {instead}")
    loaded = load_method(run, device)
    return loaded, _with_seam(loaded, run, seam, instead)


def keeps_aspect(loaded: LoadedMethod) -> bool:
    """The method was trained on pictures with their aspect, not squashed to squares."""
    return getattr(_view(loaded), "aspect", "squashed") == "kept"


def _view(loaded: LoadedMethod) -> object:
    """How clips of the run's method are seen; None where the method has no such settings."""
    return getattr(loaded.record.config.method_config, "view", None)


def _with_seam(loaded: LoadedMethod, run: Path, seam: str, instead: str) -> Any:
    method: Method[Any, Any] = loaded.method
    if not hasattr(method, seam):
        raise RunError(
            f"{run} is of method {loaded.record.config.method!r}, which cannot do this; give a "
            f"run of {instead}"
        )
    return method


def _similarity(run: Path, device: torch.device) -> SimilarityMaps:
    return SimilarityMaps(
        load_encoder(run, layer="embedding"),
        load_encoder(run, modality="audio", layer="embedding"),
        device,
    )
