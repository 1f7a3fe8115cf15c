"""Checkpoints of a run: any one of them is enough to go on.

::

    checkpoints/step-00000100/weights.safetensors   weights, banks and input statistics
    checkpoints/step-00000100/state.pt              optimizer and position

Neither file can run code when it is read: safetensors holds tensors alone, and state.pt is read
with `weights_only`.
"""

import logging
import os
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avtrain.errors import RunError

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2
CHECKPOINTS_NAME = "checkpoints"
WEIGHTS_NAME = "weights.safetensors"
STATE_NAME = "state.pt"
_NAME = re.compile(r"step-(\d{8})")
_OLD_NAME = re.compile(r"step-\d{8}\.pt")
_PARTIAL = ".partial"
_DAMAGE = (
    RuntimeError,
    AttributeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    SafetensorError,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """State of a run after `step` steps."""

    step: int
    num_seen: int
    """Position in the stream: clips that all ranks together have trained on."""
    seconds: float
    """Training time of all sessions so far."""
    method_name: str
    dataset_fingerprint: str
    method: dict[str, Tensor]
    """Weights, banks and input statistics."""
    optimizer: dict[str, Any]
    window_names: list[str]
    window: Tensor
    """float32 (steps, names): losses since the last log line."""
    num_skipped: int = 0
    """Clips that could not be read, and were left out of their batches."""

    def __repr__(self) -> str:
        return f"Checkpoint(step={self.step}, {len(self.method)} tensors)"


def write_checkpoint(run: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, then drop all but the last `keep`; returns its folder."""
    path = checkpoint_path(run, checkpoint.step)
    directory = path.parent
    partial = path.with_name(path.name + _PARTIAL)
    _remove(partial)
    partial.mkdir(parents=True)
    weights = {name: tensor.contiguous() for name, tensor in checkpoint.method.items()}
    about = {"version": str(CHECKPOINT_VERSION), "method": checkpoint.method_name}
    save_file(weights, partial / WEIGHTS_NAME, metadata=about)
    state = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__ if name != "method"}
    torch.save({"version": CHECKPOINT_VERSION, **state}, partial / STATE_NAME)
    for written in (partial / WEIGHTS_NAME, partial / STATE_NAME, partial):
        _flush_to_disk(written)
    _remove(path)
    partial.rename(path)
    _flush_to_disk(directory)
    for old in list_checkpoints(run)[:-keep]:
        _remove(old)
    return path


def checkpoint_path(run: Path, step: int) -> Path:
    """Folder of the checkpoint of a step."""
    return run / CHECKPOINTS_NAME / f"step-{step:08d}"


def list_checkpoints(run: Path) -> list[Path]:
    """Folders of the checkpoints of a run, by step."""
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
    reason = ""
    for path in reversed(paths):
        try:
            return load_checkpoint(path)
        except RunError:
            raise
        except pickle.UnpicklingError:  # torch's own text proposes to run what is inside
            reason = f"{STATE_NAME} holds more than tensors and numbers, which is never loaded"
        except _DAMAGE as error:
            reason = str(error).partition("\n")[0]
        logger.warning("checkpoint %s is damaged (%s); looking for the one before", path, reason)
    if paths:
        raise RunError(
            f"none of the {len(paths)} checkpoints in {paths[0].parent} can be read ({reason}); "
            "delete that folder to train again from the first step"
        )
    directory = run / CHECKPOINTS_NAME
    if directory.is_dir() and any(_OLD_NAME.fullmatch(path.name) for path in directory.iterdir()):
        raise RunError(
            f"{directory} holds checkpoints of version 1, this avtrain reads {CHECKPOINT_VERSION}; "
            "train again with another --out, or use the avtrain release that wrote them"
        )
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a folder, on the CPU.

    Raises:
        RunError: It is of another version, or its two files are not of one method.
    """
    state = torch.load(path / STATE_NAME, map_location="cpu", weights_only=True)
    version = state.pop("version")
    if version != CHECKPOINT_VERSION:
        raise RunError(
            f"checkpoint {path} has version {version}; this avtrain reads {CHECKPOINT_VERSION}. "
            "Use the avtrain release that wrote it"
        )
    with safe_open(path / WEIGHTS_NAME, framework="pt") as file:
        written_by = (file.metadata() or {}).get("method")
        if written_by != state["method_name"]:
            raise RunError(
                f"{path} has weights of method {written_by!r} and the state of "
                f"{state['method_name']!r}; copy both files of a checkpoint together"
            )
        method = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(method=method, **state)


def remove_later_files(run: Path, step: int) -> None:
    """Delete what a killed writer left, and checkpoints after `step`, which were found damaged."""
    directory = run / CHECKPOINTS_NAME
    if directory.is_dir():
        for partial in directory.glob(f"*{_PARTIAL}*"):
            _remove(partial)
    for path in list_checkpoints(run):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) > step:
            _remove(path)


def _remove(path: Path) -> None:
    """Delete a checkpoint; it stops looking like one before the first of its files is gone."""
    if path.is_dir():
        doomed = path.with_name(f"{path.name}{_PARTIAL}-old")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
