"""Files that are not what they should be: one message each, and nothing of them is run."""

from __future__ import annotations

import os
import pickle
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from avtrain.cli import main
from avtrain.errors import WeightsError
from avtrain.exported.checkpoint_file import read_checkpoint_file, tensors_of


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


class _Bomb:
    """A pickle of it makes a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["new", "old", "pickle", "pickle-2"])
def test_a_pickle_that_calls_is_refused_and_not_run(form: str, tmp_path: Path) -> None:
    target, path = tmp_path / "exploded", tmp_path / "AVID.pth.tar"
    content = {"epoch": 1, "model": {"module.a": torch.zeros(2)}, "optimizer": _Bomb(target)}
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps(content["optimizer"], 2 if form == "pickle-2" else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "new")
    done = invoke("import", path, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert not target.exists()
    assert not (tmp_path / "out").exists()
    assert f"{path} is refused" in done.output
    if form != "pickle":
        assert "posix.system would have to be called" in done.output
        assert "nothing of it was run" in done.output
        assert "weights_only=False" in done.output
    # the pickle is one: read without care it runs
    torch.load(path, weights_only=False) if form in ("new", "old") else pickle.loads(
        path.read_bytes()
    )
    assert target.exists()


def test_what_is_no_checkpoint_is_told_by_its_kind(published_file: Path, tmp_path: Path) -> None:
    whole = published_file.read_bytes()
    old = tmp_path / "old"
    torch.save(torch.load(published_file), old, _use_new_zipfile_serialization=False)
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "cut_old": old.read_bytes()[: old.stat().st_size // 2],
        "cut_head": old.read_bytes()[:40],
        "page": b"\n<!DOCTYPE html><html>Too many requests</html>",
        "text": b"version https://git-lfs.github.com/spec/v1\n",
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a/b.txt", "hello")
    save_file({"a": torch.zeros(9)}, tmp_path / "cut.safetensors")
    os.truncate(tmp_path / "cut.safetensors", (tmp_path / "cut.safetensors").stat().st_size - 9)
    torch.save([torch.zeros(1)], tmp_path / "list")
    torch.save({"model": {"a": 1}}, tmp_path / "numbers")
    torch.save({"epoch": 3, "net": {}}, tmp_path / "unknown")
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "other")
    for name, message in {
        "cut": "is cut off: .* its table of contents, which comes last, is missing",
        "cut_old": "cannot be read to its end .*: it is cut off or damaged",
        "cut_head": "cut_head (is cut off: its pickle|cannot be read to its end)",
        "page": "is a web page, as servers send when a download fails",
        "text": "begins with b'version '",
        "empty": "it is empty",
        "zip": "is a zip archive and not a checkpoint",
        "cut.safetensors": "cannot be read as safetensors",
        "list": "holds a list, not a dictionary",
        "numbers": "entry 'model' is no state dict",
        "unknown": "has entries 'epoch', 'net' and no state dict",
        "other": r"1 tensors \(fc.weight ...\) are of no known network",
        "missing": "does not exist",
        ".": "is a folder",
    }.items():
        done = invoke("import", tmp_path / name, "--out", tmp_path / "out")
        assert done.exit_code == 2, (name, done.output)
        assert re.search(message, done.output), (name, done.output)
        assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("new_form", [True, False])
def test_damage_anywhere_is_a_message(new_form: bool, tmp_path: Path) -> None:
    path, rng = tmp_path / "file", random.Random(0)
    content = {"epoch": 3, "model": {f"module.a{i}": torch.ones(7, 3) for i in range(5)}}
    torch.save(content, path, _use_new_zipfile_serialization=new_form)
    whole = path.read_bytes()
    refused = 0
    for attempt in range(200):
        damaged = bytearray(whole)
        if attempt % 2:
            del damaged[rng.randrange(len(whole)) :]
        else:
            for _ in range(rng.choice([1, 30])):
                damaged[rng.randrange(len(whole) if attempt % 4 else 400)] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint_file(path)
        except WeightsError:
            refused += 1
    assert refused > 100


def test_safetensors_are_read_too(
    published_content: dict[str, object], small_published: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "weights.safetensors", tmp_path / "out"
    save_file(tensors_of(published_content["model"]), file)
    done = invoke("import", file, "--out", out, "--set", small_published)
    assert done.exit_code == 0, done.output
    assert "0 missing, 0 unexpected" in done.output


def test_values_that_are_not_finite_are_refused(
    published_content: dict[str, object], small_published: str, tmp_path: Path
) -> None:
    state = {
        name: tensor.clone() for name, tensor in tensors_of(published_content["model"]).items()
    }
    state["module.audio_model.bn1.weight"] = next(iter(state.values()))
    del state["module.audio_model.bn1.weight"]
    state["module.audio_model.conv1.0.weight"][0] = float("nan")
    torch.save({"model": state}, tmp_path / "nan.pth")
    file, out = tmp_path / "nan.pth", tmp_path / "out"
    done = invoke("import", file, "--out", out, "--set", small_published)
    assert done.exit_code == 2
    assert "1 tensors hold values that are not finite" in done.output
    assert "model.audio_model.conv1.0.weight" in done.output


def test_wrong_banks_and_statistics(published_file: Path, shard_set: Path, tmp_path: Path) -> None:
    out, manifest = tmp_path / "out", ("--manifest", shard_set)
    (tmp_path / "short").write_text("a.mp4\n")
    (tmp_path / "foreign").write_text("\n".join(f"clip{i}.mp4" for i in range(30)))
    np.savez(tmp_path / "full.npz", mean=np.zeros(257), std=np.ones(257))
    np.savez(tmp_path / "objects.npz", mean=np.array([{}]), std=np.ones(257))
    cases = [
        (("--bank-list", tmp_path / "short", *manifest), r"has 1 names and criterion.* 30 rows"),
        (("--bank-list", tmp_path / "foreign", *manifest), "none of the 24 sources .*'clip0.mp4'"),
        (("--bank-list", tmp_path / "no", *manifest), "cannot be read as a list of names"),
        (("--bank-list", tmp_path / "short"), "are given together or not at all"),
        (("--audio-statistics", tmp_path / "full.npz"), "has 257 means .*trained on 129 bins"),
        (("--audio-statistics", tmp_path / "objects.npz"), "is no .npz with arrays"),
        (("--audio-statistics", published_file), "is no .npz with arrays"),
        (("--set", "model=avid-small"), "does not fit the network that it is taken for"),
        (("--set", "video.side=3"), "video.side: unknown setting; allowed here: clip_frames"),
        (("--set", "model.video.depth=18"), "does not fit the network that it is taken for"),
        (("--set", "model=x"), "model.preset: Input should be .avid-r2plus1d-18."),
        (("--report-only",), "either --out FOLDER or --report-only"),
    ]
    for more, message in cases:
        done = invoke("import", published_file, "--out", out, *more)
        assert done.exit_code == 2, (more, done.output)
        assert re.search(message, done.output), done.output
    no_banks = tmp_path / "no_banks.pth"
    torch.save({"model": torch.load(published_file)["model"]}, no_banks)
    done = invoke("import", no_banks, "--out", out, "--bank-list", tmp_path / "short", *manifest)
    assert "has no memory banks" in done.output
    assert not out.exists()
    out.mkdir()
    shutil.copy(published_file, out)
    done = invoke("import", published_file, "--out", out)
    assert "exists already; give a new folder as --out" in done.output
