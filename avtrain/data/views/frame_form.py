"""The form in which a view hands frames to the device, chosen once, when training starts."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch

from avdata import ShardSetError, available_cores
from avtrain.data.jpeg_decode import (
    MAX_MEAN_DIFFERENCE,
    decode_with_threads,
    decode_with_torchvision,
    mean_difference,
    measure_rates,
)
from avtrain.data.samples import SampleStore
from avtrain.data.views.pair_config import VideoViewConfig
from avtrain.errors import DataError

logger = logging.getLogger(__name__)

FrameForm = Literal["cropped", "whole", "jpegs"]
"""Cropped by the loader; whole, for the device to crop; or for it to decode and crop."""

_MIN_FILLED = 0.5
"""Share of the handed pixels that are no padding, below which `auto` crops in the loader."""
_MEASURED_FRAMES = 256


def choose_frame_form(
    shards: SampleStore, video: VideoViewConfig, *, device: torch.device
) -> FrameForm:
    """The form that the settings ask for; where they leave it open, the one that fits best.

    Raises:
        DataError: The settings ask for what the set or the device cannot do.
    """
    crop_on = video.crop_on
    if crop_on == "auto":
        filled = filled_share(shards)
        crop_on = "device" if device.type == "cuda" and filled >= _MIN_FILLED else "loader"
        if device.type == "cuda" and crop_on == "loader":
            logger.info(
                "frames are cropped by the loader: %.0f %% of whole ones would be padding, as "
                "sizes differ; video.crop_on=device has the device do it",
                100 * (1 - filled),
            )
    if video.jpeg_decoder == "device":
        _check_device_decoder(shards, crop_on=crop_on, device=device)
        return "jpegs"
    if crop_on == "loader":
        return "cropped"
    if video.jpeg_decoder == "cpu" or device.type != "cuda" or not _has_jpegs(shards):
        return "whole"
    return measured_form(shards, device=device, num_threads=available_cores())


def filled_share(shards: SampleStore) -> float:
    """Mean share of a picture of the largest height and width that the set's frames fill."""
    heights, widths = frame_sizes(shards)
    place = heights.max(initial=0) * widths.max(initial=0)
    return float(np.mean(heights * widths) / max(place, 1))


def frame_sizes(shards: SampleStore) -> tuple[np.ndarray, np.ndarray]:
    """Heights and widths of the frames of all samples, in pixels."""
    heights, widths = (
        np.asarray(shards.manifest[f"frame_{side}_px"].to_numpy()) for side in ("height", "width")
    )
    return heights, widths


def measured_form(shards: SampleStore, *, device: torch.device, num_threads: int) -> FrameForm:
    """`jpegs` where the device decodes frames of the set faster than the loader's threads."""
    try:
        jpegs = _some_jpegs(shards)
    except ShardSetError as error:  # the loader will tell, and skip or stop as it is set
        logger.info("JPEGs are decoded on the CPU: the first frames cannot be read (%s)", error)
        return "whole"
    encoded = [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in jpegs]
    with ThreadPoolExecutor(num_threads) as pool:

        def on_cpu() -> int:
            return len(decode_with_threads(jpegs, pool))

        def on_device() -> int:
            count = len(decode_with_torchvision(encoded, device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return count

        try:
            theirs = [picture.cpu() for picture in decode_with_torchvision(encoded[:8], device)]
            ours = decode_with_threads(jpegs[:8], pool)
        except (DataError, ValueError) as error:
            logger.info("JPEGs are decoded on the CPU: %s", error)
            return "whole"
        difference = mean_difference(
            [torch.from_numpy(picture).permute(2, 0, 1) for picture in ours], theirs
        )
        if difference > MAX_MEAN_DIFFERENCE:
            logger.warning(
                "JPEGs are decoded on the CPU: pictures that %s decodes differ by %.1f of 255 "
                "levels in the mean, at most %.1f is allowed",
                device,
                difference,
                MAX_MEAN_DIFFERENCE,
            )
            return "whole"
        rates = measure_rates({"cpu": on_cpu, "device": on_device})
    chosen: FrameForm = "jpegs" if rates["device"] > rates["cpu"] else "whole"
    logger.info(
        "JPEGs are decoded on %s: %s decodes %.0f frames/s, %d threads %.0f",
        device if chosen == "jpegs" else "the CPU",
        device,
        rates["device"],
        num_threads,
        rates["cpu"],
    )
    return chosen


def _some_jpegs(shards: SampleStore) -> list[memoryview]:
    """First frames of samples from all over the set."""
    samples = np.unique(
        np.linspace(0, shards.manifest.num_rows - 1, _MEASURED_FRAMES // 8).astype(int)
    )
    counts = shards.manifest["num_frames"].to_numpy()[samples]
    return [
        jpeg
        for sample, count in zip(samples.tolist(), counts.tolist(), strict=True)
        for jpeg in shards.read_jpegs(sample, 0, min(count, 8))
    ]


def _check_device_decoder(shards: SampleStore, *, crop_on: str, device: torch.device) -> None:
    lacks = []
    if device.type != "cuda":
        lacks.append(f"a CUDA device (this is {device.type})")
    if crop_on != "device":
        lacks.append(f"crops made there (video.crop_on={crop_on!r})")
    if not _has_jpegs(shards):
        video = shards.spec.video
        lacks.append(f"stored JPEGs ({shards.location} has {video.codec if video else 'no video'})")
    if lacks:
        raise DataError(
            f"video.jpeg_decoder='device' needs {' and '.join(lacks)}; set it to auto or cpu"
        )


def _has_jpegs(shards: SampleStore) -> bool:
    return shards.spec.video is not None and shards.spec.video.codec == "jpeg"
