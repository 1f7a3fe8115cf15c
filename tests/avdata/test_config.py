"""Settings: layers, values and the words of faults."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.config import BuildConfig, build_settings, parse_assignment, read_recipe
from avdata.errors import ConfigError


def test_later_assignments_win_over_recipes_and_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[build.video]\nfps = 8\nquality = 70\n[fit]\nx = 1\n")
    table = read_recipe(recipe, "build")
    config = build_settings(BuildConfig, table, ["video.fps=4", "video.fps=2"])
    assert (config.video.fps, config.video.quality, config.video.short_side_px) == (2, 70, 256)
    assert table == {"video": {"fps": 8, "quality": 70}}
    assert read_recipe(None, "build") == {}
    assert read_recipe(recipe, "eval") == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=1", 1), ("a.b=1e-3", 1e-3), ("a.b=true", True), ('a.b=["x"]', ["x"]),
     ("a.b=word", "word"), ("a.b=two words", "two words"), ("a.b=", None), ("a.b=x=y", "x=y")],
)  # fmt: skip
def test_values_are_toml_or_words(text: str, value: object) -> None:
    assert parse_assignment(text) == (["a", "b"], value)


@given(st.text(max_size=30))
def test_any_text_is_an_assignment_or_a_fault(text: str) -> None:
    name, equals, _ = text.partition("=")
    if equals and all(name.strip().split(".")):
        assert parse_assignment(text)[0] == name.strip().split(".")
    else:
        with pytest.raises(ConfigError, match="must have the form"):
            parse_assignment(text)


def test_every_recipe_of_the_project_is_a_build() -> None:
    recipes = sorted((Path(__file__).parents[2] / "pipelines").glob("*.toml"))
    assert len(recipes) > 15
    for recipe in recipes:
        build_settings(BuildConfig, read_recipe(recipe, "build"))
