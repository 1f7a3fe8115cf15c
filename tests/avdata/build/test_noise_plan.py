"""Which clips get noise: laws that hold for every set and share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.build.noise_plan import ClipFacts, NoiseConfig, NoisePlan, plan_noise
from avdata.errors import ConfigError


def clips(
    sources: list[int], lengths: list[int] | None = None, splits: list[str | None] | None = None
) -> ClipFacts:
    length = np.array(lengths or [100] * len(sources))
    return ClipFacts(
        source_index=np.array(sources),
        split=splits or ["train"] * len(sources),
        sound_length=np.stack([length, length // 10], axis=1),
    )


def plan(facts: ClipFacts, **settings: object) -> NoisePlan:
    return plan_noise(facts, NoiseConfig.model_validate(settings), where="SET")


@given(
    sources=st.lists(st.integers(0, 12), min_size=2, max_size=60),
    lengths=st.data(),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32),
)
def test_every_sound_stays_of_its_length_and_leaves_its_source(
    sources: list[int], lengths: st.DataObject, share: float, seed: int
) -> None:
    long = lengths.draw(
        st.lists(st.sampled_from([100, 200]), min_size=len(sources), max_size=len(sources))
    )
    facts = clips(sources, long)
    try:
        found = plan(facts, swap_audio=share, duplicate=0.5, seed=seed)
    except ConfigError:  # there is nothing to exchange; the text is checked below
        return
    assert sorted(found.sound_of) == list(range(len(sources)))  # a permutation: none is lost
    moved = np.flatnonzero(found.sound_of != np.arange(len(sources)))
    assert len(moved) <= round(share * len(sources))
    assert (facts.sound_length[moved] == facts.sound_length[found.sound_of[moved]]).all()
    assert (facts.source_index[moved] != facts.source_index[found.sound_of[moved]]).all()
    assert len(set(found.twins.tolist())) == len(found.twins) == round(0.5 * len(sources))


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_the_share_is_exact_where_all_are_of_one_length(share: float) -> None:
    found = plan(clips(list(range(100))), swap_audio=share, duplicate=share)
    assert found.num_swapped == len(found.twins) == round(100 * share)


def test_only_the_split_gets_noise() -> None:
    facts = clips(list(range(40)), splits=["train", "test"] * 20)
    found = plan(facts, swap_audio=1.0, duplicate=1.0)
    assert (found.sound_of[1::2] == np.arange(1, 40, 2)).all()
    assert found.num_swapped == 20
    assert found.twins.tolist() == list(range(0, 40, 2))
    assert plan(facts, swap_audio=1.0, split=None).num_swapped == 40


def test_the_seed_draws_and_one_noise_does_not_move_the_other() -> None:
    facts = clips(list(range(200)))
    both = plan(facts, swap_audio=0.3, duplicate=0.5, seed=3)
    assert (both.sound_of == plan(facts, swap_audio=0.3, seed=3).sound_of).all()
    assert (both.twins == plan(facts, swap_audio=0.1, duplicate=0.5, seed=3).twins).all()
    assert (both.sound_of != plan(facts, swap_audio=0.3, seed=4).sound_of).any()


def test_a_sound_comes_from_anywhere_and_not_from_the_neighbor_in_the_list() -> None:
    """Listings are sorted by class often: neighbors would be clips of one class."""
    found = plan(clips(list(range(3000))), swap_audio=1.0)
    distance = np.abs(found.sound_of - np.arange(3000))
    assert 900 < distance.mean() < 1100  # of two random places: a third of the length


@pytest.mark.parametrize(
    ("facts", "settings", "text"),
    [
        (clips([0, 1]), {}, "swap_audio and duplicate are both 0"),
        (clips([0, 1], splits=["a", "b"]), {"swap_audio": 0.5}, r"its splits are \['a', 'b'\]"),
        (clips([0, 0]), {"swap_audio": 1.0}, "no sound can be exchanged among the 2 clips"),
        (clips([0, 1], [5, 6]), {"swap_audio": 1.0}, "only sounds of the same length and of diff"),
    ],
)
def test_what_cannot_be(facts: ClipFacts, settings: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        plan(facts, **settings)
