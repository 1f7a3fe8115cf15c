"""Every recipe parses, fits together, and dry-runs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from avdata import build_settings, read_recipe
from avdata.cli import main as avdata_main
from avdata.config import BuildConfig
from avdata.schema import AudioSpec, DatasetSpec
from avtrain.cli import main as avtrain_main
from avtrain.engine.config import FitConfig
from avtrain.evaluate.config import EvalConfig
from avtrain.methods import MethodConfig, SeparationConfig, SyncConfig
from avtrain.methods.pair_method import PairMethodConfig
from avtrain.models import (
    SeparationNet,
    audio_visual_config,
    build_audio_visual,
    build_multisensory,
    multisensory_config,
)

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
RECIPES = sorted(PIPELINES.rglob("*.toml"))
NAMES = [str(path.relative_to(PIPELINES)) for path in RECIPES]
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
MakeShardSet = Callable[..., Path]

PUBLISHED = {
    "avid_kinetics.toml",
    "avid_audioset.toml",
    "cma_kinetics.toml",
    "cma_audioset.toml",
    "avid_ablation.toml",
    "cma_ablation.toml",
    "robust_xid_kinetics.toml",
}


def _variants(recipe: Path) -> dict[str, list[str]]:
    """Settings of the runs that a recipe names beside its own."""
    about: dict[str, Any] = tomllib.loads(recipe.read_text()).get("about", {})
    return {"as it is": [], **about.get("variants", {})}


def _spec(build: BuildConfig) -> DatasetSpec:
    """What `dataset.json` says of a set of that build."""
    return DatasetSpec(
        fields=build.fields,
        video=build.video,
        audio=build.audio if "audio" in build.fields else None,
        logmel=build.logmel if "logmel" in build.fields else None,
        logmel_statistics={"num_columns": 1, "mean": (0.0,), "std": (1.0,)}
        if "logmel" in build.fields
        else None,
        num_shards=1,
        num_listed=100,
        num_clips=100,
        num_rejected=0,
        num_sources=100,
        labels=(),
        labels_hash="",
        build_hash="",
        listing_name="",
        software={},
    )


def test_all_published_setups_are_there() -> None:
    assert set(NAMES) >= PUBLISHED
    assert len(RECIPES) >= 10


@every_recipe
def test_settings_fit_together(recipe: Path) -> None:
    build = build_settings(BuildConfig, read_recipe(recipe, "build"))
    build_settings(EvalConfig, read_recipe(recipe, "eval"))
    seen: list[FitConfig] = []
    shapes: list[object] = []
    for settings in _variants(recipe).values():
        config = build_settings(FitConfig, read_recipe(recipe, "fit"), settings)
        assert config not in seen, "a variant that changes nothing"
        seen.append(config)
        assert max(config.optim.milestones, default=0) < config.schedule.epochs
        method = config.method_config
        method.check(_spec(build), where="the set of this recipe")
        if isinstance(method, PairMethodConfig):
            shape: object = (method.model, method.video, method.audio)
        else:
            shape = method
        if shape in shapes:
            continue
        shapes.append(shape)
        with torch.device("meta"):
            _pass_through(method, build.audio.sample_rate_hz)


def _pass_through(method: MethodConfig, sample_rate_hz: int) -> None:
    """Empty clips of the recipe's sizes through its networks."""
    if isinstance(method, PairMethodConfig):
        model = build_audio_visual(audio_visual_config(method.model))
        video = torch.empty(2, 3, method.video.clip_frames, *[method.video.crop_px] * 2)
        bins = method.audio.num_bins
        embeddings = model(video, torch.empty(2, 1, method.audio.num_frames, bins))
        assert embeddings[0].shape == embeddings[1].shape == (2, 128)
        return
    assert isinstance(method, (SeparationConfig, SyncConfig))
    view = method.view
    if isinstance(method, SyncConfig):
        fused = build_multisensory(
            multisensory_config(method.model).model_copy(update={"num_outputs": method.num_outputs})
        ).eval()
        video = torch.empty(2, 3, view.num_shown, view.crop_px, view.crop_px)
        logits = fused(video, torch.empty(2, 2, view.num_sound_samples(sample_rate_hz)))
        assert logits.shape == (2, method.num_outputs)
        return
    spectrogram = method.spectrogram
    system = SeparationNet(method.unet, method.multisensory).eval()
    on, off = system(
        torch.empty(2, 3, view.clip_frames, view.crop_px, view.crop_px),
        torch.empty(2, 2, view.num_samples(sample_rate_hz)),
        torch.empty(2, 2, spectrogram.num_frames, spectrogram.fft_samples // 2),
    )
    assert on.shape == off.shape == (2, 2, spectrogram.num_frames, spectrogram.fft_samples // 2)


@every_recipe
def test_build_dry_runs(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,id\na.mp4,a\nb.mp4,b\n")
    arguments = ["build", "--source", str(tmp_path / "list.csv"), "--recipe", str(recipe)]
    done = CliRunner().invoke(avdata_main, [*arguments, "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["listed"] == 2


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_training_dry_runs(name: str, make_shard_set: MakeShardSet) -> None:
    arguments = ["plan", str(make_shard_set()), "--recipe", str(PIPELINES / name), "--json"]
    done = CliRunner().invoke(avtrain_main, [*arguments, "--set", "data.batch_size=4"])
    assert done.exit_code == 0, done.output
    assert isinstance(json.loads(done.stdout.splitlines()[-1]), dict)


def test_the_published_numbers_of_sync() -> None:
    """Section 1.4 of the description of the multisensory network."""
    expected = {
        "owens2018_sync_audioset_lowfps.toml": (45, 30_000, 32, "multisensory"),
        "owens2018_sync_audioset_full.toml": (15, 650_000, 125, "multisensory"),
        "owens2018_sync_audioset_cam.toml": (15, 25_000, 125, "multisensory-cam"),
    }
    for name, numbers in expected.items():
        config = build_settings(FitConfig, read_recipe(PIPELINES / name, "fit"))
        optim, view, steps = config.optim, config.sync.view, config.schedule.max_steps
        assert numbers == (config.data.batch_size, steps, view.num_shown, config.sync.model)
        assert (optim.name, optim.lr, optim.momentum, optim.clip_norm) == ("sgd", 1e-2, 0.9, 5)
        assert (optim.weight_decay, optim.decay_vectors) == (1e-5, False)
        assert (view.clip_frames, view.fps, view.crop_px) == (125, 29.97, 224)
        build = build_settings(BuildConfig, read_recipe(PIPELINES / name, "build"))
        assert build.audio == AudioSpec(sample_rate_hz=21000, layout="stereo")
        assert (build.video.fps, build.video.short_side_px) == (29.97, 256)


def test_the_published_numbers() -> None:
    """Section 3.6 of the description of the method, and the research version's ablations."""
    expected: dict[str, tuple[object, ...]] = {
        "avid_kinetics.toml": ("avid", 256, 10, 30, 2e-4),
        "cma_kinetics.toml": ("cma", 256, 10, 20, 2e-4),
        "avid_audioset.toml": ("avid", 160, 5, 40, 5e-4),
        "cma_audioset.toml": ("cma", 160, 5, 40, 1e-4),
        "avid_ablation.toml": ("avid", 256, 4, 102, 1e-4),
        "cma_ablation.toml": ("cma", 224, 4, 75, 1e-4),
        "robust_xid_kinetics.toml": ("robust-xid", 224, 10, 40, 1e-4),
    }
    assert expected.keys() == PUBLISHED
    for name, numbers in expected.items():
        config = build_settings(FitConfig, read_recipe(PIPELINES / name, "fit"))
        data, optim = config.data, config.optim
        assert numbers == (
            config.method,
            data.batch_size,
            data.clips_per_sample,
            config.schedule.epochs,
            optim.lr,
        )
        assert (optim.name, optim.betas, optim.weight_decay) == ("adam", (0.9, 0.999), 1e-5)
        audio = build_settings(BuildConfig, read_recipe(PIPELINES / name, "build")).audio
        assert audio == AudioSpec(sample_rate_hz=24000, layout="mono")
        if config.method == "cma":
            criterion = config.cma.criterion
            every = {"cma_kinetics.toml": 5}.get(name, 10)
            assert (criterion.resample_epochs, criterion.num_positives) == (every, 32)
            assert (criterion.num_negatives, criterion.num_negatives_within) == (1024, 64)


def test_the_published_numbers_of_separation() -> None:
    """Section 4.5 of the description of the method: steps of clips, the rate, where it falls."""
    for name, batch_size, objective in (
        ("owens2018_separation.toml", 6, "on-off"),
        ("owens2018_separation_pit.toml", 24, "pit"),
    ):
        config = build_settings(FitConfig, read_recipe(PIPELINES / name, "fit"))
        optim, separation = config.optim, config.separation
        assert (config.method, config.data.batch_size) == ("separation", batch_size)
        assert (optim.name, optim.lr, optim.gamma, optim.clip_norm) == ("adam", 1e-4, 0.1, 10)
        steps = config.schedule.epochs * 104_600 / batch_size
        assert steps == pytest.approx(160_000, rel=0.01)
        assert optim.milestones[0] / config.schedule.epochs == pytest.approx(0.75, rel=0.01)
        assert (separation.objective, separation.output) == (objective, "spectrogram")
        assert separation.use_video == (objective == "on-off")
        build = build_settings(BuildConfig, read_recipe(PIPELINES / name, "build"))
        assert build.audio == AudioSpec(sample_rate_hz=21000, layout="stereo")
        assert separation.view.num_samples(21000) == 44_144
