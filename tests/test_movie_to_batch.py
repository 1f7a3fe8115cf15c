"""From movie files through the commands to what a network is trained on and measured by."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from flash_and_beep import EVENTS_S, MOVIES, frame_times_s, make

from avdata.cli import main as avdata
from avtrain.cli import main as avtrain
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.pair import PairTrainView
from avtrain.data.views.pair_config import AudioViewConfig, ColorJitterConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader

COLUMN_S = 0.01


def run(command: object, *arguments: object) -> dict[str, object]:
    """The JSON object that a command prints last."""
    result = CliRunner().invoke(command, [*map(str, arguments), "--json"])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout.strip().splitlines()[-1])
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("audio_input", ["logmel", "spectrogram"])
def test_flash_and_beep_reach_the_training_batch_together(audio_input: str, tmp_path: Path) -> None:
    from avdata import ShardSet

    media = tmp_path / "media"
    media.mkdir()
    names = {f"movie{i:02d}": name for i, name in enumerate(MOVIES)}
    for stem, name in names.items():
        make(media / stem, MOVIES[name])
    facts = run(
        avdata, "build", "--source", media, "--out", tmp_path / "set", "--workers", 0,
        "--set", "video.short_side_px=64", "--set", "shards.clips_per_shard=5",
    )  # fmt: skip
    assert facts["ok"] == len(MOVIES)
    shards = ShardSet(tmp_path / "set")
    table = read_sample_table(shards)
    for sample, key in enumerate(shards.keys):
        num_frames = int(table.num_frames[sample])
        still = ColorJitterConfig(brightness=0, contrast=0, saturation=0, hue=0)
        reader = PairReader(
            shards,
            table,
            # views as long as the clip start where it starts
            video=VideoViewConfig(clip_frames=num_frames, crop_px=32, jitter=still),
            audio=AudioViewConfig(window_s=num_frames / 16, input=audio_input),  # type: ignore[arg-type]
        )
        view = PairTrainView(reader, seed=0, pin_memory=False)
        batch = view.allocate(1)
        view.fill(batch, 0, StreamItem(sample=sample, epoch=3, occurrence=0))
        lit = batch.frames[0].float().mean((1, 2, 3)).numpy() > 120
        flashes_s = (np.flatnonzero(lit[1:] & ~lit[:-1]) + 1) / 16
        sound = batch.sound[0].float().numpy()
        if audio_input == "logmel":
            loud = np.exp(sound).sum(1)
            # a column sees the sound up to 21 ms ahead: half the power is at the onset itself
            loud, step_s = loud > loud.max() / 2, COLUMN_S
        else:
            loud, step_s = np.abs(sound) > 0.1 * 32768, 1 / 24000
        onsets = np.flatnonzero(loud) * step_s
        beeps_s = [t for i, t in enumerate(onsets) if i == 0 or t - onsets[i - 1] > 0.2]
        times = frame_times_s(MOVIES[names[key]])
        late_s = [times[np.searchsorted(times, t)] - t for t in EVENTS_S]
        assert len(flashes_s) == len(beeps_s) == len(EVENTS_S), names[key]
        assert np.abs(flashes_s - beeps_s - late_s).max() <= 1 / 16, names[key]


@pytest.mark.slow
@pytest.mark.ray
def test_synthesized_clips_to_numbers(tmp_path: Path) -> None:
    made = run(
        avdata, "synth", tmp_path / "media", "--clips", 20, "--duration", 3, "--workers", 2
    )  # fmt: skip
    assert made["clips"] == 20
    recipe = Path(__file__).parents[1] / "pipelines" / "quickstart.toml"
    out = tmp_path / "set"
    built = run(
        avdata, "build", "--source", tmp_path / "media" / "listing.csv", "--out", out,
        "--recipe", recipe, "--workers", 2, "--set", "shards.clips_per_shard=10",
    )  # fmt: skip
    assert built["listed"] == built["ok"] == 20
    assert run(avdata, "verify", out)["ok"] is True
    assert run(avdata, "inspect", out, "--png", tmp_path / "sample.png")
    assert (tmp_path / "sample.png").stat().st_size > 10_000
    fitted = run(
        avtrain, "fit", out, "--recipe", recipe, "--out", tmp_path / "run", "--device", "cpu",
        "--set", "data.batch_size=8", "--set", "schedule.max_steps=4",
    )  # fmt: skip
    assert fitted["steps"] == 4
    measured = run(avtrain, "eval", tmp_path / "run", out, "--task", "retrieval")
    assert measured["num_samples"] == 4
