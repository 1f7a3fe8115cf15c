"""What published networks were trained on, which their tensors do not tell.

Reference: Morgado et al. 2021, section 4.1, and the released configurations; torchvision's
`R2Plus1D_18_Weights`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avtrain.errors import WeightsError
from avtrain.exported.folder import AudioInput, VideoInput
from avtrain.models import AudioVisualConfig, R2Plus1DConfig
from avtrain.models.published import PublishedNetworks

_PUBLISHED_RATE_HZ = 24000


def published_video_input(config: AudioVisualConfig) -> VideoInput:
    """Frames that networks of these shapes were trained on."""
    if not isinstance(config.video, R2Plus1DConfig):  # as torchvision trained it
        return VideoInput(
            clip_frames=16,
            fps=15.0,
            side_px=112,
            mean=(0.43216, 0.394666, 0.37645),
            std=(0.22803, 0.22145, 0.216989),
        )
    return VideoInput(clip_frames=8, fps=16.0, side_px=224 if config.video.stem_pool else 112)


def published_audio_input(networks: PublishedNetworks) -> AudioInput | None:
    """Sound that networks of these shapes were trained on; None without an audio network."""
    if "audio_model" not in networks.parts:
        return None
    small = networks.config.audio.first_block_stride == 1
    return AudioInput(
        kind="spectrogram",
        sample_rate_hz=_PUBLISHED_RATE_HZ,
        window_s=2.0,
        num_frames=100 if small else 200,
        num_bins=129 if small else 257,
    )


def read_audio_statistics(path: Path, *, num_bins: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each bin, float32 (f,), of an .npz with arrays `mean` and `std`.

    Raises:
        WeightsError: The file cannot be read, or its arrays have another length.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, std = (
                np.asarray(arrays[name], np.float32).reshape(-1) for name in ("mean", "std")
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise WeightsError(
            f"{path} is no .npz with arrays `mean` and `std` ({str(error).partition(chr(10))[0]}); "
            "give the file of audio statistics that the weights were trained with"
        ) from None
    if mean.shape != (num_bins,) or std.shape != (num_bins,):
        raise WeightsError(
            f"{path} has {len(mean)} means and {len(std)} deviations, the network was trained on "
            f"{num_bins} bins; published files have 257 for the full and 129 for the small models, "
            "whatever their names say"
        )
    return torch.from_numpy(mean), torch.from_numpy(std)
