"""Checkpoints of a run, `checkpoints/step-00000100.pt`: any one of them is enough to go on."""

import logging
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avdata import atomic_file, remove_partial_files
from avtrain.errors import RunError

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 1
CHECKPOINTS_NAME = "checkpoints"
_NAME = re.compile(r"step-(\d{8})\.pt")
_DAMAGE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """State of a run after `step` steps."""

    step: int
    num_seen: int
    """Position in the stream: clips that all ranks together have trained on."""
    seconds: float
    """Training time of all sessions so far."""
    dataset_fingerprint: str
    method: dict[str, Tensor]
    """Weights, banks and input statistics."""
    optimizer: dict[str, Any]
    window_names: list[str]
    window: Tensor
    """float32 (steps, names): losses since the last log line."""

    def __repr__(self) -> str:
        return f"Checkpoint(step={self.step}, {len(self.method)} tensors)"


def save_checkpoint(run: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, then drop all but the last `keep`; returns its path."""
    directory = run / CHECKPOINTS_NAME
    directory.mkdir(exist_ok=True)
    path = directory / f"step-{checkpoint.step:08d}.pt"
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    with atomic_file(path) as file:
        torch.save({"version": CHECKPOINT_VERSION, **content}, file)
    for old in list_checkpoints(run)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, by step."""
    directory = run / CHECKPOINTS_NAME
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def load_latest_checkpoint(run: Path) -> Checkpoint | None:
    """The last checkpoint that can be read, on the CPU; None when there is no checkpoint.

    Raises:
        RunError: There are checkpoints, and none of them can be read.
    """
    paths = list_checkpoints(run)
    for path in reversed(paths):
        try:
            return _load(path)
        except _DAMAGE as error:
            logger.warning(
                "checkpoint %s is damaged (%s); looking for the one before",
                path,
                str(error).partition("\n")[0],
            )
    if paths:
        raise RunError(
            f"none of the {len(paths)} checkpoints in {paths[0].parent} can be read; delete "
            "that folder to let --resume train again from the first step"
        )
    return None


def remove_later_files(run: Path, step: int) -> None:
    """Delete partial files, and the checkpoints after `step`, which were found damaged."""
    directory = run / CHECKPOINTS_NAME
    if directory.is_dir():
        remove_partial_files(directory)
    for path in list_checkpoints(run):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) > step:
            path.unlink()


def _load(path: Path) -> Checkpoint:
    content = torch.load(path, map_location="cpu", weights_only=True)
    version = content.pop("version")
    if version != CHECKPOINT_VERSION:
        raise RunError(
            f"checkpoint {path} has version {version}; this avtrain reads {CHECKPOINT_VERSION}. "
            "Use the avtrain release that wrote it"
        )
    return Checkpoint(**content)
