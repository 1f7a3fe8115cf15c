"""The method as training, evaluation and applications use it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from disturbances import Bound

from avdata import AudioSpec, DatasetSpec, ShardSet, build_settings
from avtrain.cli import main
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.engine.config import FitConfig
from avtrain.engine.load import load_method
from avtrain.errors import DataError, RunError
from avtrain.methods import InitialState, MethodFacts
from avtrain.methods.separation import Separation, SeparationConfig
from avtrain.methods.separation_inputs import spectrum_frames
from avtrain.methods.sync import Sync, SyncConfig

pytestmark = pytest.mark.usefixtures("one_torch_thread")
MakeShardSet = Callable[..., Path]
RATE_HZ = 8000
NETWORK = {"width": 4, "blocks_per_stage": 1, "norm_decay": 0.9}
TINY: dict[str, object] = {
    "model": NETWORK,
    "unet": {"width": 4, "num_levels": 5, "norm_decay": 0.9},
    "view": {"clip_frames": 8, "fps": 16.0, "short_side_px": 64, "crop_px": 32},
    "spectrogram": {
        "window_samples": 128,
        "hop_samples": 64,
        "fft_samples": 128,
        "num_frames": 56,
    },
}
SETTINGS = (
    "method=separation",
    "seed=3",
    "data.batch_size=4",
    "data.split=train",
    "data.loader_threads=1",
    "schedule.max_steps=3",
    "log.every_steps=1",
    "log.tensorboard=false",
    "compute.threads=1",
)


@pytest.fixture(scope="module")
def sounding_set(make_shard_set: MakeShardSet) -> Path:
    """12 clips of a moving bar and a tone, 8 kHz."""
    return make_shard_set(
        num_clips=12, fields=("frames", "audio"), sample_rate_hz=RATE_HZ, durations_s=(1.0,)
    )


def _config(**changes: object) -> SeparationConfig:
    return SeparationConfig.model_validate({**TINY, **changes})


def _facts(spec: DatasetSpec, seed: int = 0) -> MethodFacts:
    return MethodFacts(
        spec=spec, where="a set", trained_sources=None, seed=seed, device=torch.device("cpu")
    )


def _method(folder: Path, seed: int = 0, **changes: object) -> Separation:
    return _config(**changes).build(_facts(ShardSet(folder).spec, seed))


def _inputs(method: Separation, folder: Path, num_clips: int, seed: int = 1):
    shards = ShardSet(folder)
    view = method.train_view(shards, read_sample_table(shards), seed=seed, pin_memory=False)
    batch = view.allocate(num_clips)
    for slot in range(num_clips):
        view.fill(batch, slot, StreamItem(sample=slot, epoch=0, occurrence=0))
    return method.prepare(batch, torch.device("cpu"))


def _fit(folder: Path, out: Path | None, *more: str) -> Result:
    tiny = {f"separation.{name}": value for name, value in TINY.items()}
    table = [f"{path}={_toml(value)}" for path, value in tiny.items()]
    sets = [part for item in (*SETTINGS, *table, *more) for part in ("--set", item)]
    place = [] if out is None else ["--out", str(out)]
    return CliRunner().invoke(main, ["fit", str(folder), *place, "--json", *sets])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": "on-off+pit", "phase": "wrapped"},
        {"objective": "pit", "use_video": False},
        {"output": "mask"},
        {"output": "mask", "scale": "root"},
        {"view": {**TINY["view"], "mono": True, "static": True}},  # type: ignore[dict-item]
        {"model": {**NETWORK, "use_sound": False}},
    ],
)
def test_losses_have_gradients(sounding_set: Path, changes: dict[str, object]) -> None:
    method = _method(sounding_set, **changes).train()
    inputs = _inputs(method, sounding_set, 4)
    num_mixtures = 4 if changes.get("use_video", True) else 2
    assert inputs.mixture.shape == (num_mixtures, 2, 4000)
    assert inputs.spectrum.shape == (num_mixtures, 56, 65)
    torch.testing.assert_close(inputs.mixture.mean(dim=1), (inputs.on + inputs.off).mean(dim=1))
    is_mono = method.config.view.mono or ShardSet(sounding_set).spec.audio.layout == "mono"
    assert torch.equal(inputs.mixture[:, 0], inputs.mixture[:, 1]) == is_mono
    output = method.loss(inputs, generator=torch.Generator().manual_seed(0))
    assert 0 < float(output.total.detach()) < 5
    output.total.backward()
    without = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_the_same_seed_gives_the_same_loss(sounding_set: Path) -> None:
    losses = []
    for seed in (0, 0, 1):
        method = _config().build(_facts(ShardSet(sounding_set).spec, seed=seed)).train()
        inputs = _inputs(method, sounding_set, 4)
        with torch.no_grad():
            output = method.loss(inputs, generator=torch.Generator().manual_seed(7))
        losses.append(float(output.total))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.trains
def test_a_few_clips_are_learned(sounding_set: Path, training_seed: int, bound: Bound) -> None:
    """Tones that differ, and bars whose colors tell them: what masks can reach is reached.

    The distance beyond that of the best masks falls tenfold.
    """
    method = _method(sounding_set, training_seed, output="mask", scale="root").train()
    inputs = _inputs(method, sounding_set, 8, 1 + training_seed)
    mixed = inputs.spectrum.abs()[..., :-1]
    best = 0.0
    for sound in (inputs.on, inputs.off):
        real = spectrum_frames(sound.mean(dim=1), method.config.spectrogram).abs()[..., :-1]
        best += float((real.sqrt() - torch.minimum(real, mixed).sqrt()).abs().mean())
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step + training_seed)
        output = method.loss(inputs, generator=generator)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        losses.append(float(output.total.detach()))
    left = (losses[-1] - best) / (losses[0] - best)
    bound("distance left", left, above=0)
    bound("distance left", left, below=0.1)
    bound("share in order", float(output.metrics["in_order"]), above=0.99)


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(600)
def test_published_spectrograms_of_a_few_clips_are_learned(
    sounding_set: Path, training_seed: int, bound: Bound
) -> None:
    """Decibels of both sources, which the network gives itself, of 4 clips known by heart."""
    unet = {"width": 16, "num_levels": 5, "norm_decay": 0.9}
    method = _method(sounding_set, training_seed, unet=unet, phase_weight=0.0).train()
    inputs = _inputs(method, sounding_set, 4, 1 + training_seed)
    optimizer = torch.optim.Adam(method.parameters(), lr=5e-3)
    num_steps, losses = 300, []
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=num_steps)
    for step in range(num_steps):
        generator = torch.Generator().manual_seed(step + training_seed)
        output = method.loss(inputs, generator=generator)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(output.total.detach()))
    bound("last loss over first", losses[-1] / losses[0], below=0.15)


@pytest.mark.parametrize("output", ["mask", "spectrogram"])
@pytest.mark.parametrize("form", ["shared-masks", "ratio-masks", "predicted-phase"])
def test_separated_sound_has_the_level_of_the_mixture(
    sounding_set: Path, output: str, form: str
) -> None:
    method = _method(sounding_set, output=output).eval()
    frames = torch.randint(0, 256, (2, 8, 32, 32, 3), dtype=torch.uint8)
    mixture = 0.2 * torch.randn((2, 2, 4000), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loud = method.separate(frames, mixture, form=form)
        faint = method.separate(frames, mixture / 50, form=form)
        right = method.separate(frames, mixture * torch.tensor([0.01, 1.0])[:, None], form=form)
    assert loud.on.shape == loud.off.shape == (2, 2, 4000)
    torch.testing.assert_close(loud.on / 50, faint.on, rtol=1e-3, atol=1e-5)
    if form != "predicted-phase":
        assert loud.on.square().mean().sqrt() < 0.21
        levels = right.on.square().mean(dim=2).sqrt()
        assert (levels[:, 0] < 0.05 * levels[:, 1]).all()  # sides stay sides
    if form == "shared-masks":
        torch.testing.assert_close(loud.on + loud.off, mixture, rtol=0, atol=1e-5)


def test_silence_stays_silent(sounding_set: Path) -> None:
    method = _method(sounding_set, output="mask").eval()
    frames = torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8)
    with torch.no_grad():
        found = method.separate(frames, torch.zeros(1, 2, 4000, dtype=torch.int16))
    assert found.on.abs().max() == found.off.abs().max() == 0


def test_what_applications_are_told(sounding_set: Path) -> None:
    method = _method(sounding_set)
    clip = method.clip
    assert (clip.clip_frames, clip.fps, clip.crop_px) == (8, 16.0, 32)
    assert (clip.sound_rate_hz, clip.num_samples) == (8000, 4000)
    with pytest.raises(ValueError, match=r"takes frames \(b, 8, 32, 32, 3\) and .* 4000\), got"):
        method.separate(torch.zeros(1, 7, 32, 32, 3), torch.zeros(1, 2, 4000))
    assert method.sees
    assert not _method(sounding_set, objective="pit").sees


def test_encoders(sounding_set: Path) -> None:
    method = _method(sounding_set).eval()
    inputs = _inputs(method, sounding_set, 4)
    with torch.no_grad():
        assert method.encoders()["video"].features(inputs).shape == (4, 32)
    with pytest.raises(RunError, match="hears and does not see"):
        _method(sounding_set, use_video=False, objective="pit").encoders()


def test_start_from_a_sync_run(sounding_set: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = ShardSet(sounding_set).spec
    sync = Sync(SyncConfig.model_validate({"model": NETWORK}), _facts(spec, seed=8))
    state = InitialState(
        method="sync", tensors=sync.state_dict(), same_data=False, where="runs/sync"
    )
    method = _method(sounding_set)
    assert method.model.multisensory is not None
    with caplog.at_level(logging.INFO):
        method.start_from(state)
    assert "runs/sync gives no scales of normalizations" in caplog.text
    theirs = sync.model.state_dict()
    ours = method.model.multisensory.state_dict()
    assert theirs.keys() < ours.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    fresh = [tensor for name, tensor in ours.items() if name not in theirs]
    assert len(fresh) > 10 and all(torch.equal(t, torch.ones_like(t)) for t in fresh)

    again = _method(sounding_set)
    again.start_from(
        InitialState(
            method="separation", tensors=method.state_dict(), same_data=True, where="runs/other"
        )
    )
    for name, tensor in method.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_runs_that_do_not_fit(sounding_set: Path) -> None:
    spec = ShardSet(sounding_set).spec
    wider = Sync(SyncConfig.model_validate({"model": {**NETWORK, "width": 8}}), _facts(spec))

    def state(method: str) -> InitialState:
        return InitialState(
            method=method, tensors=wider.state_dict(), same_data=False, where="runs/wide"
        )

    with pytest.raises(RunError, match=r"runs/wide does not fit: model\.multisensory.*must be"):
        _method(sounding_set).start_from(state("sync"))
    with pytest.raises(RunError, match="cannot start from runs/wide, a run of 'avid'; give one"):
        _method(sounding_set).start_from(state("avid"))
    with pytest.raises(RunError, match="runs/wide is a run of sync and this one has no network"):
        _method(sounding_set, use_video=False, objective="pit").start_from(state("sync"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"fields": ("audio",), "video": None},
            r"needs fields \{audio, frames\}, it has \{audio\}",
        ),
        ({"audio": AudioSpec(sample_rate_hz=8000, layout="foa")}, "has layout 'foa'; build it"),
        ({"audio": AudioSpec(sample_rate_hz=4000)}, "2000 sound samples .* are 30 .* needs 3648"),
    ],
)
def test_sets_that_do_not_fit(sounding_set: Path, changes: dict[str, object], text: str) -> None:
    spec = ShardSet(sounding_set).spec
    other = spec.model_copy(update=changes)
    _config().check(spec, where="it")
    with pytest.raises(DataError, match=text):
        _config().check(other, where="it")


def test_frames_that_are_too_slow(sounding_set: Path) -> None:
    view = {**TINY["view"], "fps": 30.0}  # type: ignore[dict-item]
    with pytest.raises(DataError, match=r"see 30 frames a second, it has 16; set .*fps=16"):
        _config(view=view).check(ShardSet(sounding_set).spec, where="it")


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="scale='root' compares magnitudes of masked mixtures"):
        _config(scale="root")
    with pytest.raises(ValueError, match="objective='on-off' asks which sound is seen; with"):
        _config(use_video=False)
    with pytest.raises(ValueError, match=r"num_frames=60 is no multiple of 8.*; set 56 or 64"):
        _config(spectrogram={**TINY["spectrogram"], "num_frames": 60})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"fft_samples=160 gives 80 bins.* multiple of 32"):
        _config(spectrogram={**TINY["spectrogram"], "fft_samples": 160})  # type: ignore[dict-item]


def test_defaults_are_published() -> None:
    """Sections 4.1 to 4.5 of the specification."""
    config = build_settings(FitConfig, {"method": "separation"}, ()).method_config
    assert isinstance(config, SeparationConfig)
    transform = config.spectrogram.stft
    assert transform.num_whole_frames(config.view.num_samples(21_000)) == 128
    assert (config.objective, config.phase_weight, config.phase) == ("on-off", 0.01, "published")
    assert config.multisensory is not None and config.multisensory.gamma
    assert (config.unet.width, config.unet.num_levels) == (64, 9)


def test_a_run_that_is_refused_leaves_no_folder(sounding_set: Path, tmp_path: Path) -> None:
    off_screen = f"separation.off_screen.shards={tmp_path / 'none'}"
    done = _fit(sounding_set, tmp_path / "run", off_screen)
    assert done.exit_code == 2 and "none" in done.stderr, done.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()  # a folder that was there stays, and is free for a run
    assert _fit(sounding_set, tmp_path / "mine", off_screen).exit_code == 2
    assert _fit(sounding_set, tmp_path / "mine").exit_code == 0


def test_the_usual_folder_has_the_name_of_the_method(
    sounding_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _fit(sounding_set, None)
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [
        f"{sounding_set.name}-separation"
    ]
    again = _fit(sounding_set, None, "schedule.max_steps=4")
    assert "going on after step 3" in again.stderr, again.output


def test_trains_and_resumes(sounding_set: Path, tmp_path: Path) -> None:
    """Three steps and three more are six steps."""
    done = _fit(sounding_set, tmp_path / "run")
    assert done.exit_code == 0, done.output
    longer = "schedule.max_steps=6"
    resumed = _fit(sounding_set, tmp_path / "run", longer)
    assert resumed.exit_code == 0, resumed.output
    whole = _fit(sounding_set, tmp_path / "whole", longer)
    assert whole.exit_code == 0, whole.output
    cpu = torch.device("cpu")
    one = load_method(tmp_path / "run", cpu).method.state_dict()
    other = load_method(tmp_path / "whole", cpu).method.state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
