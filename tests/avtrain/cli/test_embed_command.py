"""`avtrain embed`: what the file holds, and one message for each wrong input."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result

from avdata import ShardSet
from avtrain.cli import main
from avtrain.evaluate.embed import EmbedOptions, sample_vectors
from avtrain.evaluate.load import load_networks

MakeShardSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


@pytest.fixture(scope="module")
def run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = (
        "data.batch_size=6",
        "avid.model=tiny",
        "avid.criterion.num_negatives=8",
        "avid.video.crop_px=32",
        "avid.audio.frame_rate_hz=50",
        "schedule.max_steps=1",
    )
    sets = [part for text in settings for part in ("--set", text)]
    done = invoke("fit", shard_set, "--out", out, "--device", "cpu", *sets)
    assert done.exit_code == 0, done.output
    return out


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def vectors(table: Any, column: str) -> np.ndarray:
    return np.stack(table[column].to_numpy())


def test_one_row_a_sample_is_what_evaluations_use(
    run: Path, shard_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "vectors.parquet"
    done = invoke("embed", run, shard_set, "-o", out, "--batch-size", 5, "--windows", 2, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["rows"] == 24
    assert facts["dims"] == {"video": 128, "audio": 128}
    table = pq.read_table(out)
    assert table.column_names == [
        "key", "source_id", "label", "labels", "split", "media_start_s", "duration_s", "video",
        "audio",
    ]  # fmt: skip
    assert table["key"].to_pylist() == [f"clip-{i:03d}" for i in range(24)]
    assert table["label"][5].as_py() == "label0"
    assert str(table.schema.field("video").type) == "fixed_size_list<element: float>[128]"
    frozen = load_networks(run, torch.device("cpu"), is_random=False).frozen
    for modality in ("video", "audio"):
        expected = sample_vectors(
            frozen,
            ShardSet(shard_set),
            tuple(range(24)),
            modality=modality,
            options=EmbedOptions(num_windows=2, batch_size=5),
        )["pool"]
        assert np.allclose(vectors(table, modality), expected.numpy(), atol=1e-5)
    metadata = json.loads(table.schema.metadata[b"avtoolkit"])
    assert (metadata["layer"], metadata["step"], metadata["windows"]) == ("pool", 1, 2)
    assert metadata["weights"] == frozen.weights_hash


def test_rows_of_windows_have_their_times(run: Path, shard_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "windows.parquet"
    more = ("--per-window", "--windows", 3, "--layer", "embedding", "--split", "test")
    done = invoke("embed", run, shard_set, "-o", out, *more, "--dtype", "float16")
    assert done.exit_code == 0, done.output
    assert "24 rows of embedding vectors (video 128, audio 128)" in done.stdout
    table = pq.read_table(out)
    assert table["window"].to_pylist() == [0, 1, 2] * 8
    first = table.slice(0, 3).to_pydict()  # clip-002 of 4 s: 2 s of sound, 0.5 s of video within
    assert first["key"] == ["clip-002"] * 3
    near = partial(pytest.approx, abs=0.011)  # one column of log-mel more than its length
    assert first["audio_start_s"] == near([0, 1, 2])
    assert first["audio_end_s"] == near([2, 3, 4])
    assert first["video_start_s"] == near([0.75, 1.75, 2.75])
    assert first["video_end_s"] == near([1.25, 2.25, 3.25])
    lengths = np.linalg.norm(vectors(table, "audio").astype(np.float32), axis=1)
    assert np.allclose(lengths, 1, atol=2e-3)
    assert str(table.schema.field("audio").type).startswith("fixed_size_list<element: halffloat>")


def test_layers_modalities_and_conditions(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    out = tmp_path / "some.parquet"
    more = ("--layer", "conv4x", "--modality", "video", "--windows", 1)
    done = invoke("embed", run, shard_set, "-o", out, *more, "--where", "label == 'label1'")
    assert done.exit_code == 0, done.output
    table = pq.read_table(out)
    assert (table.num_rows, vectors(table, "video").shape[1]) == (6, 64)
    assert "audio" not in table.column_names
    sound = make_shard_set(num_clips=3, fields=("audio", "logmel"))
    assert invoke("embed", run, sound, "-o", out).exit_code == 0
    assert pq.read_table(out).column_names[-1] == "audio"


def test_wrong_inputs(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    def refused(text: str, *arguments: object) -> None:
        done = invoke("embed", *arguments)
        assert done.exit_code == 2, done.output
        assert text in done.stderr
        assert not list(tmp_path.iterdir())

    out = tmp_path / "vectors.parquet"
    refused("there is no folder", run, shard_set, "-o", tmp_path / "none" / "vectors.parquet")
    refused("is not a run", shard_set, shard_set, "-o", out)
    refused("no samples of split 'dev'", run, shard_set, "-o", out, "--split", "dev")
    sound = make_shard_set(num_clips=3, fields=("audio", "logmel"))
    refused("the video network needs field frames", run, sound, "-o", out, "--modality", "both")
    refused("Missing option", run, shard_set)
