"""Stretches of time and bands of frequency taken out of spectrograms.

Letters: b clips, m masks, s spectrogram frames, f bins.
"""

import numpy as np
import torch
from torch import Tensor


def draw_spans(
    rng: np.random.Generator, *, num_spans: int, max_width: int, length: int
) -> np.ndarray:
    """Half-open spans in [0, length), int (m, 2); widths uniform in [0, max_width], then places.

    Reference: Park et al. 2019, section 2.
    """
    if not num_spans:  # as in most runs
        return np.empty((0, 2), np.int64)
    most = min(max_width, length)
    draws = rng.random((num_spans, 2))
    width = np.floor(draws[:, 0] * (most + 1)).astype(np.int64)
    start = np.floor(draws[:, 1] * (length - width + 1)).astype(np.int64)
    return np.stack([start, start + width], axis=1)


def mask_spectrum(spectrum: Tensor, *, time_spans: Tensor, band_spans: Tensor) -> Tensor:
    """Spectrograms (b, s, f) with 0 in the spans (b, m, 2) of time and of frequency."""
    hidden = _inside(time_spans, spectrum.shape[1])[:, :, None]
    hidden = hidden | _inside(band_spans, spectrum.shape[2])[:, None, :]
    return spectrum.masked_fill(hidden, 0)


def _inside(spans: Tensor, length: int) -> Tensor:
    """Which of `length` places lie in one of the spans (b, m, 2), bool (b, length)."""
    place = torch.arange(length, device=spans.device)
    start, end = spans[..., 0, None], spans[..., 1, None]
    return ((place >= start) & (place < end)).any(dim=1)
