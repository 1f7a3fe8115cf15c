"""Masks of spectrograms: where they lie, and what they hide."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from avtrain.data.augment.spectrum_masks import draw_spans, mask_spectrum


@given(st.integers(0, 2**64), st.integers(0, 4), st.integers(1, 60), st.integers(1, 50))
def test_spans_lie_inside_and_are_no_wider_than_allowed(
    seed: int, num_spans: int, max_width: int, length: int
) -> None:
    spans = draw_spans(
        np.random.default_rng(seed), num_spans=num_spans, max_width=max_width, length=length
    )
    assert spans.shape == (num_spans, 2)
    width = spans[:, 1] - spans[:, 0]
    assert ((width >= 0) & (width <= max_width)).all()
    assert ((spans >= 0) & (spans <= length)).all()


def test_widths_are_uniform_and_then_the_places() -> None:
    spans = draw_spans(np.random.default_rng(0), num_spans=6000, max_width=5, length=20)
    width = spans[:, 1] - spans[:, 0]
    assert stats.chisquare(np.bincount(width, minlength=6)).pvalue > 0.01
    for w in range(6):
        starts = np.bincount(spans[width == w, 0], minlength=20 - w + 1)
        assert len(starts) == 20 - w + 1
        assert stats.chisquare(starts).pvalue > 0.001


def test_what_lies_in_a_span_is_0_and_all_else_stays() -> None:
    rng = np.random.default_rng(0)
    spectrum = torch.randn(5, 30, 12, generator=torch.Generator().manual_seed(0))
    time = np.stack([draw_spans(rng, num_spans=2, max_width=9, length=30) for _ in range(5)])
    band = np.stack([draw_spans(rng, num_spans=1, max_width=4, length=12) for _ in range(5)])
    want = spectrum.clone()
    for clip in range(5):
        for start, end in time[clip]:
            want[clip, start:end] = 0
        for start, end in band[clip]:
            want[clip, :, start:end] = 0
    assert (want == 0).any() and not (want == 0).all()
    got = mask_spectrum(
        spectrum, time_spans=torch.from_numpy(time), band_spans=torch.from_numpy(band)
    )
    assert torch.equal(got, want)


def test_no_spans_change_nothing() -> None:
    spectrum = torch.randn(2, 4, 3)
    none = torch.empty((2, 0, 2), dtype=torch.int32)
    assert torch.equal(mask_spectrum(spectrum, time_spans=none, band_spans=none), spectrum)
