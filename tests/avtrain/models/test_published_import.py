"""Checkpoints in the published layout -> exports, with embeddings that the published classes gave.

The weights are the hash fill: the published ones are not ours to give.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

import avtrain
from avdata import ShardSet
from avtrain.cli import main
from avtrain.data.samples import dataset_fingerprint
from avtrain.exported import read_exported
from avtrain.models import AUDIO_VISUAL_PRESETS, build_audio_visual

HashFilled = Callable[[dict[str, Tensor]], dict[str, Tensor]]
HashedUniform = Callable[[int, int], np.ndarray]

NUM_ROWS = 30

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def _bank(seed: int) -> Tensor:
    rows = torch.randn(NUM_ROWS, 128, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, hash_filled: HashFilled) -> Path:
    """Folder with AVID.pth.tar in the old form of torch 1.4, and CMA.pth.tar in the new one."""
    folder = tmp_path_factory.mktemp("published")
    model = build_audio_visual(AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"])
    filled = hash_filled(model.state_dict())
    weights = {f"module.{n}": t.float() if t.is_floating_point() else t for n, t in filled.items()}
    moments = {"step": 9065, "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    params = [140_000_000_000 + 8 * i for i in range(141)]  # old torch keyed by object id
    content = {
        "epoch": 30,
        "model": weights,
        "optimizer": {
            "state": dict.fromkeys(params, moments),
            "param_groups": [{"lr": 2e-4, "betas": (0.9, 0.999), "params": params}],
        },
        "train_criterion": {
            "nce_average.view1_mem": _bank(1),
            "nce_average.view2_mem": _bank(2),
            "criterion.avg_exp_score": torch.tensor([2.2]),
        },
    }
    torch.save(content, folder / "AVID.pth.tar", _use_new_zipfile_serialization=False)
    content["train_criterion"] = {
        "nce_average.view1_mem": _bank(1),
        "nce_average.view2_mem": _bank(2),
        "nce_average.positive_set": torch.zeros(NUM_ROWS, 32, dtype=torch.int32),
        "criterion.avg_exp_score": torch.tensor(2.2),
        "pos_criterion.avg_exp_score": torch.tensor(2.6),
        "unset.avg_exp_score": torch.tensor(-1.0),
    }
    torch.save(content, folder / "CMA.pth.tar")
    return folder


def test_avid_embeds_as_the_published_classes(
    checkpoints: Path,
    tmp_path: Path,
    hashed_uniform: HashedUniform,
    published_embeddings: dict[tuple[int, int, int, int], tuple[tuple[float, ...], ...]],
) -> None:
    done = invoke("import", checkpoints / "AVID.pth.tar", "--out", tmp_path / "avid", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["counts"] == {"ok": 267, "missing": 0, "unexpected": 0, "shape": 0, "unused": 0}
    assert "267 tensors, 0 missing, 0 unexpected" in done.stderr
    assert "the memory banks (30 rows) were left" in done.stderr
    both = avtrain.load_encoder(tmp_path / "avid", modality="both", layer="embedding")
    size = frames, side, audio_frames, bins = 8, 64, 100, 129
    video = torch.from_numpy(hashed_uniform(9999, 3 * frames * side * side)).float()
    audio = torch.from_numpy(hashed_uniform(10007, audio_frames * bins)).float()
    seen = both(video.reshape(1, 3, frames, side, side), audio.reshape(1, 1, audio_frames, bins))
    starts, norms = published_embeddings[size][:2], published_embeddings[size][2]
    for embedding, start, norm in zip(seen, starts, norms, strict=False):
        assert embedding.dtype == torch.float32
        assert not embedding.requires_grad
        # 1e-4 of the vector's length: its parts may be small beside it
        assert embedding[0, :4].tolist() == pytest.approx(start, abs=1e-4 * norm / 128**0.5)
        assert float(embedding.norm()) == pytest.approx(norm, rel=1e-4)
    config = read_exported(tmp_path / "avid").config
    assert (config.method, config.bank, config.dataset_fingerprint) == ("avid", None, None)
    assert (config.video.clip_frames, config.video.side_px) == (8, 224)
    assert config.audio is not None
    assert (config.audio.num_frames, config.audio.num_bins) == (200, 257)
    assert "CC BY-NC" in config.license
    assert config.origin["epoch"] == "30"


def test_banks_come_with_the_list_of_their_rows(
    checkpoints: Path, shard_set: Path, tmp_path: Path
) -> None:
    # row r is source (7 r) % 30; the set has sources 0 .. 23
    numbers = [7 * row % NUM_ROWS for row in range(NUM_ROWS)]
    names = [f"class a/source-{i}_000030_000040.mp4" for i in numbers]
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    banks = ("--bank-list", tmp_path / "list.txt", "--manifest", shard_set)
    statistics = tmp_path / "statistics.npz"
    np.savez(statistics, mean=np.arange(257, dtype=np.float32), std=np.ones(257, np.float32))
    out = tmp_path / "cma"
    done = invoke(
        *("import", checkpoints / "CMA.pth.tar", "--out", out, *banks),
        *("--audio-statistics", statistics),
    )
    assert done.exit_code == 0, done.output
    assert "24 of the 24 sources" in done.stderr
    exported = read_exported(out, banks=True)
    assert exported.config.method == "cma"
    assert exported.config.dataset_fingerprint == dataset_fingerprint(ShardSet(shard_set))
    assert exported.config.bank is not None
    assert (exported.config.bank.num_rows, exported.config.bank.num_random) == (24, 0)
    for name, seed in (("video", 1), ("audio", 2)):
        rows = exported.tensors[f"criterion.{name}_memory.memory"]
        expected = torch.stack([_bank(seed)[numbers.index(source)] for source in range(24)])
        assert torch.equal(rows, expected)
    assert float(exported.tensors["criterion.normalizer"]) == pytest.approx(2.4)
    assert exported.tensors["preparation.audio_mean"].tolist() == list(range(257))
    assert "24 rows by source_index" in (out / "README.md").read_text()


def test_report_has_a_line_for_every_tensor(checkpoints: Path) -> None:
    done = invoke("import", checkpoints / "AVID.pth.tar", "--report-only")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 268
    assert "video_model.conv1.0.weight" in lines[0]
    assert "64x3x3x7x7  ok" in lines[0]
    assert lines[-1] == "layout avid: 267 ok, 0 missing, 0 unexpected, 0 shape, 0 unused"
