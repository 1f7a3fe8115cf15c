"""Writes checkpoints beside training: tensors are copied to the host, a thread does the rest."""

import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from avtrain.engine.checkpoint import Checkpoint, write_checkpoint


class CheckpointWriter:
    """At most one checkpoint is in flight; use as a context manager, leaving it waits.

    A fault of the thread is raised by the next call.
    """

    def __init__(self, run: Path, *, keep: int) -> None:
        self._run, self._keep = run, keep
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._host: dict[str, Tensor] = {}

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._join()
        if error is None:
            self._raise_fault()

    def save(self, checkpoint: Checkpoint) -> None:
        """Copy a checkpoint, once the one before is on the disk, and begin to write it.

        Training may change the tensors when this returns.

        Raises:
            OSError: The one before could not be written.
        """
        self.wait()
        copy = replace(
            checkpoint,
            method={name: self._copy(name, tensor) for name, tensor in checkpoint.method.items()},
            optimizer=self._copy_tree("optimizer", checkpoint.optimizer),
            window=self._copy("window", checkpoint.window),
        )
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.current_stream().synchronize()
        self._thread = threading.Thread(target=self._write, args=(copy,), name="avtrain-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is in flight.

        Raises:
            OSError: The checkpoint could not be written.
        """
        self._join()
        self._raise_fault()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            write_checkpoint(self._run, checkpoint, keep=self._keep)
        except BaseException as fault:  # noqa: BLE001 - raised again where training sees it
            self._fault = fault

    def _copy_tree(self, name: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._copy(name, value)
        if isinstance(value, dict):
            return {key: self._copy_tree(f"{name}.{key}", part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            parts = [self._copy_tree(f"{name}.{i}", part) for i, part in enumerate(value)]
            return type(value)(parts)
        return value

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        """Copy in host memory that is used again; pinned where the device is CUDA."""
        host = self._host.get(name)
        if host is None or host.shape != tensor.shape or host.dtype != tensor.dtype:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._host[name] = host
        host.copy_(tensor, non_blocking=True)
        return host
