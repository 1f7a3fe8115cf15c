"""Runs -> exports -> modules: the same networks, and inputs as they were trained with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

import avtrain
from avdata import ShardSet
from avdata.features.device_logmel import log_mel
from avtrain.cli import main
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.pair_window import even_pair_windows
from avtrain.engine.load import load_method
from avtrain.errors import RunError, WeightsError
from avtrain.exported import read_exported
from avtrain.exported.encoder import TrainedAudioEncoder, TrainedVideoEncoder

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
SPECTROGRAM = ("avid.audio.input=spectrogram", "avid.audio.num_bins=129")
SAMPLE = 4


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


@pytest.fixture(params=[(), SPECTROGRAM], ids=["logmel", "spectrogram"])
def run(request: pytest.FixtureRequest, make_run: MakeRun) -> Path:
    """A trained run for each audio input."""
    return make_run(*request.param)


@pytest.fixture
def export(run: Path, tmp_path: Path) -> Path:
    """Its export."""
    done = invoke("export", run, "--out", tmp_path / "export", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["method"], facts["step"]) == ("avid", 2)
    return tmp_path / "export"


def _trained(run: Path, shard_set: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Network inputs of one sample's middle window, outputs for them, and the window's start."""
    loaded, shards = load_method(run, torch.device("cpu")), ShardSet(shard_set)
    table, view = read_sample_table(shards), loaded.record.config.avid
    windows = loaded.method.eval_view(shards, table, num_windows=1, pin_memory=False)
    batch = windows.allocate(1)
    windows.fill(batch, 0, StreamItem(sample=SAMPLE, epoch=0, occurrence=0))
    inputs = loaded.method.prepare(batch, torch.device("cpu"))
    encoders = loaded.method.encoders()
    with torch.no_grad():
        pooled = {name: encoders[name].features(inputs) for name in ("video", "audio")}
        outputs = pooled | {f"{n} embedding": encoders[n].project(p) for n, p in pooled.items()}
    window = even_pair_windows(
        1,
        video=view.video,
        audio=view.audio,
        video_duration_s=int(table.num_frames[SAMPLE]) / 16,
        audio_duration_s=int(table.num_audio_samples[SAMPLE]) / 24000,
    )[0]
    first_frame = round(window.video_start_s * 16)
    frames = shards.read_frames(SAMPLE, list(range(first_frame, first_frame + 4)))
    start = round(window.audio_start_s * 24000)
    raw = {
        "frames": torch.from_numpy(frames)[None],
        "waveform": torch.from_numpy(shards.read_audio(SAMPLE, start, start + 24000))[:1],
    }
    return raw | {"video": inputs.video, "audio": inputs.audio}, outputs, window.audio_start_s


def test_modules_are_the_networks_of_the_run(run: Path, export: Path, shard_set: Path) -> None:
    inputs, expected, _ = _trained(run, shard_set)
    for source in (run, export, str(export)):
        video = avtrain.load_encoder(source)
        audio = avtrain.load_encoder(source, modality="audio")
        assert not video.training
        assert not any(p.requires_grad for p in video.parameters())
        torch.testing.assert_close(video(inputs["video"]), expected["video"])
        torch.testing.assert_close(audio(inputs["audio"]), expected["audio"])
        both = avtrain.load_encoder(source, modality="both", layer="embedding")
        embeddings = both(inputs["video"], inputs["audio"])
        torch.testing.assert_close(embeddings[0], expected["video embedding"])
        torch.testing.assert_close(embeddings[1], expected["audio embedding"])
        stage = avtrain.load_encoder(source, layer="conv3x")(inputs["video"])
        assert stage.shape == (1, 32, 2, 4, 4)


def test_inputs_are_prepared_as_for_training(export: Path, shard_set: Path, run: Path) -> None:
    inputs, _, _ = _trained(run, shard_set)
    video = avtrain.load_encoder(export)
    audio = avtrain.load_encoder(export, modality="audio")
    seen = video.preprocess(inputs["frames"])
    assert seen.shape == inputs["video"].shape
    # the trainer resizes in 8 bits: one step of 255 is 0.018 after normalization
    torch.testing.assert_close(seen, inputs["video"], rtol=0, atol=0.02)
    heard = audio.preprocess(inputs["waveform"])
    assert heard.shape == inputs["audio"].shape
    if audio.inputs.kind == "spectrogram":
        torch.testing.assert_close(heard, inputs["audio"], rtol=0, atol=1e-4)
    else:
        # the fixture's log-mel is drawn and not made of its sound: compare with the feature itself
        spec = ShardSet(shard_set).spec
        assert spec.logmel is not None
        assert spec.logmel_statistics is not None
        columns = log_mel(inputs["waveform"].float() / 32768, spec.logmel)[:, ::2][:, :50]
        mean, std = (
            torch.tensor(values)
            for values in (spec.logmel_statistics.mean, spec.logmel_statistics.std)
        )
        torch.testing.assert_close(heard[:, 0], (columns - mean) / (std + 1e-5))
    # float in [-1, 1] is the same sound
    scale = 32767 if audio.inputs.kind == "spectrogram" else 32768
    again = audio.preprocess(inputs["waveform"].double() / scale)
    torch.testing.assert_close(again, heard, rtol=0, atol=1e-4)
    assert audio(heard).shape == (1, 128)
    assert video(video.preprocess(inputs["frames"].repeat(2, 1, 1, 1, 1))).shape == (2, 128)


def test_wrong_inputs_say_what_is_taken(make_run: MakeRun) -> None:
    run = make_run()
    video = avtrain.load_encoder(run)
    audio = avtrain.load_encoder(run, modality="audio")
    assert isinstance(video, TrainedVideoEncoder)
    assert isinstance(audio, TrainedAudioEncoder)
    with pytest.raises(ValueError, match=r"frames must be uint8 \(b, t, h, w, 3\), got float32"):
        video.preprocess(torch.zeros(1, 4, 64, 64, 3))
    with pytest.raises(ValueError, match=r"must be \(b, 24000\), 1 s of mono sound at 24000 Hz"):
        audio.preprocess(torch.zeros(1, 48000))
    with pytest.raises(ValueError, match=r"must be float or int16, got torch.int64"):
        audio.preprocess(torch.zeros(1, 24000, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"modality='sound' is unknown; there are 'video'"):
        avtrain.load_encoder(run, modality="sound")  # type: ignore[call-overload]


def test_an_import_lacks_what_its_file_lacks(
    published_file: Path, small_published: str, tmp_path: Path
) -> None:
    done = invoke("import", published_file, "--out", tmp_path / "tiny", "--set", small_published)
    assert done.exit_code == 0, done.output
    audio = avtrain.load_encoder(tmp_path / "tiny", modality="audio")
    assert audio.inputs.num_bins == 257  # it has the strides of the full network
    with pytest.raises(WeightsError, match=r"without audio statistics.* again with --audio-stat"):
        audio.preprocess(torch.zeros(1, 48000))
    state = {
        name.replace("module.video_model", "feature_extractor"): tensor
        for name, tensor in torch.load(published_file)["model"].items()
        if "video_model" in name
    }
    torch.save({"state_dict": state}, tmp_path / "classifier.pth")
    out = tmp_path / "video_only"
    done = invoke("import", tmp_path / "classifier.pth", "--out", out)
    assert done.exit_code == 0, done.output
    assert "depth 10 is taken for the network of the paper's ablations" in done.output
    assert avtrain.load_encoder(out).inputs.side_px == 112
    with pytest.raises(WeightsError, match=r"has no audio_model: it holds video_model; choose"):
        avtrain.load_encoder(out, modality="audio")
    with pytest.raises(WeightsError, match=r"has no video_proj"):
        avtrain.load_encoder(out, layer="embedding")


def test_damaged_exports_have_one_message(make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "export"
    assert invoke("export", make_run(), "--out", out, "--banks").exit_code == 0
    config = json.loads((out / "config.json").read_text())
    assert config["bank"] == {"num_rows": 24, "num_random": 0}
    assert "criterion.video_memory.memory" in read_exported(out, banks=True).tensors
    assert not any(name.startswith("criterion") for name in read_exported(out).tensors)
    whole = (out / "weights.safetensors").read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(WeightsError, match=message):
            avtrain.load_encoder(out)

    def with_config(**changes: object) -> None:
        (out / "config.json").write_text(json.dumps({**config, **changes}))

    with_config(version=9)
    refused(r"\('avtoolkit-export', 9\); this avtrain reads \('avtoolkit-export', 1\)")
    with_config(model={})
    refused(r"does not hold what config.json says: \d+ tensors differ")
    with_config(extra=1)
    refused(r"config.json is damaged")
    (out / "config.json").write_text("{")
    refused(r"config.json is damaged")
    with_config()
    (out / "weights.safetensors").write_bytes(whole[:-1])
    refused(r"weights.safetensors is damaged \(.*\); export again")
    (out / "weights.safetensors").unlink()
    refused(r"has no weights.safetensors; give a folder that `avtrain export` or")
    with pytest.raises(WeightsError, match="does not exist; give a folder"):
        avtrain.load_encoder(tmp_path / "nowhere")
    for arguments, message in (
        (("export", tmp_path / "nowhere", "--out", tmp_path / "x"), "is not a run"),
        (("export", make_run(), "--out", out), "exists already"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert re.search(message, done.output), done.output
    with pytest.raises(RunError, match="has no checkpoint yet"):
        _without_checkpoints(make_run(), tmp_path)


def _without_checkpoints(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "run.json").write_bytes((run / "run.json").read_bytes())
    avtrain.load_encoder(bare)


def test_the_package_is_light_and_has_what_it_names() -> None:
    code = "import avtrain, sys; assert 'torch' not in sys.modules; avtrain.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "AttributeError: module 'avtrain' has no attribute 'nothing'" in done.stderr
