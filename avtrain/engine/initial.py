"""What a run starts from: the weights of another run, or of a folder of `avtrain export`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from avtrain.engine.checkpoint import load_latest_checkpoint
from avtrain.engine.run_folder import holds_run, read_run
from avtrain.errors import RunError
from avtrain.exported.folder import is_export, read_exported
from avtrain.methods import InitialState


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Initial:
    """A state to start from, and what to know it by."""

    state: InitialState
    sha256: str
    """Hash of names, shapes and values of its tensors."""


def load_initial(place: Path, *, fingerprint: str) -> Initial:
    """The weights in a run, or in a folder that `avtrain export` or `avtrain import` wrote.

    Args:
        place: The folder.
        fingerprint: Of the samples of the run that starts.

    Raises:
        RunError: There are no weights.
        WeightsError: They cannot be read.
    """
    state = _from_run(place, fingerprint) if holds_run(place) else _from_folder(place, fingerprint)
    return Initial(state=state, sha256=_hash(state))


def _from_run(run: Path, fingerprint: str) -> InitialState:
    record, checkpoint = read_run(run), load_latest_checkpoint(run)
    if checkpoint is None:
        raise RunError(f"--init {run}: the run has no checkpoint yet; train it first")
    return InitialState(
        method=record.config.method,
        tensors=checkpoint.method,
        same_data=record.dataset_fingerprint == fingerprint,
        where=str(run),
    )


def _from_folder(folder: Path, fingerprint: str) -> InitialState:
    if not is_export(folder):
        raise RunError(
            f"--init {folder}: neither a run nor an export; give a folder that `avtrain fit "
            "--out`, `avtrain export` or `avtrain import` wrote"
        )
    exported = read_exported(folder, banks=True)
    return InitialState(
        method=exported.config.method,
        tensors=exported.tensors,
        same_data=exported.config.dataset_fingerprint == fingerprint,
        where=str(folder),
    )


def _hash(state: InitialState) -> str:
    digest = hashlib.sha256(state.method.encode())
    for name in sorted(state.tensors):
        tensor = state.tensors[name].contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
