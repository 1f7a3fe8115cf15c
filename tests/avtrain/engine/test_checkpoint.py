"""What is on the disk, and what is refused when it is read."""

import pickle
from pathlib import Path

import pytest
import torch

from avtrain.engine.checkpoint import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    load_latest_checkpoint,
    write_checkpoint,
)
from avtrain.engine.checkpoint_writer import CheckpointWriter
from avtrain.errors import RunError


def checkpoint(step: int, value: float = 0.0) -> Checkpoint:
    return Checkpoint(
        step=step,
        num_seen=6 * step,
        seconds=1.5,
        method_name="avid",
        dataset_fingerprint="abc",
        method={"weight": torch.full((2, 3), value).T, "count": torch.tensor(4)},
        optimizer={"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
        window_names=["loss"],
        window=torch.ones(2, 1),
    )


class _Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, checkpoint(3, 0.5), keep=2)
    assert path == checkpoint_path(tmp_path, 3)
    assert sorted(file.name for file in path.iterdir()) == ["state.pt", "weights.safetensors"]
    read = load_latest_checkpoint(tmp_path)
    assert read is not None
    assert (read.step, read.num_seen, read.method_name) == (3, 18, "avid")
    assert torch.equal(read.method["weight"], torch.full((3, 2), 0.5))
    assert read.optimizer == checkpoint(3).optimizer
    assert torch.equal(read.window, torch.ones(2, 1))


def test_the_last_few_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        write_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000003", "step-00000004"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_bomb_does_not_go_off(tmp_path: Path, protocol: str) -> None:
    path = write_checkpoint(tmp_path, checkpoint(1), keep=1)
    fired, content = tmp_path / "fired", {"version": 2, "step": _Bomb(tmp_path / "fired")}
    if protocol == "torch":
        torch.save(content, path / "state.pt")
    else:
        (path / "state.pt").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(RunError, match=r"state.pt holds more than tensors and numbers, which is"):
        load_latest_checkpoint(tmp_path)
    assert not fired.exists()


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors"])
@pytest.mark.parametrize("size", [0, 10, 200])
def test_truncated_files(tmp_path: Path, name: str, size: int) -> None:
    file = write_checkpoint(tmp_path, checkpoint(1), keep=1) / name
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(RunError, match=r"none of the 1 checkpoints .* delete that folder"):
        load_latest_checkpoint(tmp_path)


def test_a_missing_half(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path, checkpoint(1), keep=1) / "weights.safetensors").unlink()
    with pytest.raises(RunError, match="none of the 1 checkpoints"):
        load_latest_checkpoint(tmp_path)


def test_halves_of_two_methods(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = write_checkpoint(tmp_path, checkpoint(1), keep=1)
    save_file({}, path / "weights.safetensors", metadata={"method": "cma"})
    with pytest.raises(
        RunError, match="weights of method 'cma' and the state of 'avid'; copy both"
    ):
        load_latest_checkpoint(tmp_path)


def test_checkpoints_of_other_versions(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save({"version": 1}, tmp_path / "checkpoints" / "step-00000100.pt")
    with pytest.raises(RunError, match=r"checkpoints of version 1, this avtrain reads 2; train"):
        load_latest_checkpoint(tmp_path)
    path = write_checkpoint(tmp_path, checkpoint(1), keep=1)
    torch.save({"version": 3}, path / "state.pt")
    with pytest.raises(RunError, match=r"has version 3; this avtrain reads 2"):
        load_latest_checkpoint(tmp_path)


def test_writing_goes_on_beside_training(tmp_path: Path) -> None:
    live = checkpoint(1, 1.0)
    with CheckpointWriter(tmp_path, keep=3) as writer:
        writer.save(live)
        live.method["weight"].fill_(7.0)  # the next step
        writer.save(checkpoint(2, 2.0))
    values = []
    for path in list_checkpoints(tmp_path):
        for other in list_checkpoints(tmp_path):
            if other > path:
                other.rename(other.with_suffix(".later"))
        read = load_latest_checkpoint(tmp_path)
        assert read is not None
        values.append(float(read.method["weight"][0, 0]))
        for later in path.parent.glob("*.later"):
            later.rename(later.with_suffix(""))
    assert values == [1.0, 2.0]


def test_a_fault_of_the_writer_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(checkpoint(1))
    with pytest.raises(OSError, match="checkpoints"):
        writer.save(checkpoint(2))
    writer.save(checkpoint(3))
    with pytest.raises(OSError, match="checkpoints"), writer:
        pass
