"""Recipes and changes of settings."""

from pathlib import Path

import pytest

from avdata import ConfigError, build_settings, read_recipe
from avtrain.engine.config import MAY_CHANGE, FitConfig, forbidden_changes
from avtrain.methods import METHODS

RECIPES = sorted((Path(__file__).resolve().parents[3] / "pipelines").glob("*.toml"))


def test_there_are_recipes() -> None:
    assert {"avid_kinetics.toml", "quickstart.toml"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_has_valid_settings(path: Path) -> None:
    assert build_settings(FitConfig, read_recipe(path, "fit")).method in METHODS


def test_the_defaults_are_the_released_kinetics_configuration() -> None:
    config = FitConfig()
    optim = config.optim
    assert (optim.name, optim.lr, optim.weight_decay) == ("adam", 2e-4, 1e-5)
    assert (optim.betas, optim.schedule, optim.decay_vectors) == ((0.9, 0.999), "constant", True)
    assert config.avid.criterion.model_dump(exclude={"banks"}) == {
        "mode": "cross",
        "temperature": 0.07,
        "num_negatives": 1024,
        "momentum": 0.5,
    }
    recipe = build_settings(
        FitConfig, read_recipe(next(p for p in RECIPES if "kinetics" in p.name), "fit")
    )
    assert recipe.avid.video == config.avid.video
    assert recipe.avid.audio.num_frames == 200
    assert recipe.avid.audio.num_bins == 257


def test_unknown_settings_name_the_allowed_ones() -> None:
    with pytest.raises(ConfigError, match=r"avid.video.crop: unknown setting; allowed here: clip"):
        build_settings(FitConfig, {}, ["avid.video.crop=3"])


def test_only_lengths_logs_and_the_loader_may_change() -> None:
    old = FitConfig()
    free = ["schedule.epochs=3", "log.keys=true", "data.loader_threads=9", "checkpoint.keep=9"]
    free += ["compute.compile=true", "compute.precision=bf16"]
    assert {text.split(".")[0] for text in free} == {name.split(".")[0] for name in MAY_CHANGE}
    assert forbidden_changes(old, build_settings(FitConfig, {}, free)) == []
    new = build_settings(FitConfig, {}, ["seed=1", "data.batch_size=8", "avid.model=tiny"])
    assert forbidden_changes(old, new) == [
        "avid.model: 'avid-r2plus1d-18' -> 'tiny'",
        "data.batch_size: 32 -> 8",
        "seed: 0 -> 1",
    ]
