"""JPEG frames that stay encoded until they are on the device, and which decoder is faster there.

Letters: b clips, t frames, h w pixels.

The path through CUDA (nvJPEG, by way of torchvision) has never been run by its authors, who had no
GPU when they wrote it: what is tested is all around it, with torchvision's decoder on the CPU.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from avtrain.errors import DataError

MAX_MEAN_DIFFERENCE = 4.0
"""Levels of 255 by which two decoders may differ in the mean: they smooth color differently."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JpegFrames:
    """Encoded frames of b clips, in the place of a tensor of pictures."""

    jpegs: list[list[Tensor]]
    """uint8 (bytes,) on the CPU, t in each of b lists."""
    height: int
    width: int
    """Of the pictures that `to` makes: none is larger."""

    def __repr__(self) -> str:
        return f"JpegFrames({len(self.jpegs)} clips, {self.height}x{self.width})"

    def put(self, clip: int, jpegs: Sequence[bytes | memoryview]) -> None:
        """Take up the frames of a clip."""
        self.jpegs[clip] = [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in jpegs]

    def select(self, clips: Sequence[int]) -> "JpegFrames":
        """Frames of only these clips."""
        return JpegFrames(
            jpegs=[self.jpegs[clip] for clip in clips], height=self.height, width=self.width
        )

    def to(self, device: torch.device) -> Tensor:
        """Pictures on the device, uint8 (b, t, h, w, 3), zeros beside smaller ones.

        Raises:
            DataError: One does not decode.
        """
        flat = [jpeg for clip in self.jpegs for jpeg in clip]
        pictures = decode_with_torchvision(flat, device)
        shape = (len(self.jpegs), -1, self.height, self.width, 3)
        size = (3, self.height, self.width)
        if all(picture.shape == size for picture in pictures):
            return torch.stack(pictures).permute(0, 2, 3, 1).contiguous().reshape(shape)
        out = torch.zeros((len(flat), self.height, self.width, 3), dtype=torch.uint8, device=device)
        for place, picture in zip(out, pictures, strict=True):
            place[: picture.shape[1], : picture.shape[2]] = picture.permute(1, 2, 0)
        return out.reshape(shape)


def decode_with_torchvision(jpegs: list[Tensor], device: torch.device) -> list[Tensor]:
    """Pictures uint8 (3, h, w) on the device.

    Raises:
        DataError: One does not decode.
    """
    try:
        return list(decode_jpeg(jpegs, mode=ImageReadMode.RGB, device=device))
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"a frame does not decode on {device} ({first}); set video.jpeg_decoder=cpu, which "
            "names the sample"
        ) from None


def decode_with_threads(
    jpegs: Sequence[bytes | memoryview], pool: ThreadPoolExecutor
) -> list[np.ndarray]:
    """Pictures uint8 (h, w, 3), as the loader's threads decode them."""
    return list(pool.map(lambda jpeg: simplejpeg.decode_jpeg(jpeg, colorspace="RGB"), jpegs))


def measure_rates(
    decoders: Mapping[str, Callable[[], int]],
    *,
    rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Pictures a second of each decoder, the median of rounds in turn.

    Args:
        decoders: Functions that decode and wait until it is done; how many pictures they decoded.
        rounds: After one that warms up.
        clock: Seconds.
    """
    rates: dict[str, list[float]] = {name: [] for name in decoders}
    for turn in range(rounds + 1):
        for name, decode in decoders.items():
            start_s = clock()
            count = decode()
            if turn:
                rates[name].append(count / max(clock() - start_s, 1e-9))
    return {name: statistics.median(seen) for name, seen in rates.items()}


def mean_difference(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Mean distance of colors in levels of 255; infinite where sizes differ."""
    if any(a.shape != b.shape for a, b in zip(some, others, strict=True)):
        return float("inf")
    distances = [(a.float() - b.float()).abs().mean() for a, b in zip(some, others, strict=True)]
    return float(torch.stack(distances).mean())
