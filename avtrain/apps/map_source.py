"""Which place of a picture goes with the sound: maps of one window, by any method that has them."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from avtrain.apps.video_file import VideoFile
from avtrain.apps.windows import ClipFacts, ClipForm, Window, clip_form
from avtrain.exported.encoder import TrainedAudioEncoder, TrainedVideoEncoder
from avtrain.maps import refined_maps
from avtrain.models import MultisensoryNet, map_geometry
from avtrain.models.similarity_map import similarity_maps


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CellMap:
    """Map of one window."""

    values: np.ndarray
    """float32 (t, h, w), signed: positive speaks for picture and sound together. The cells cover
    the whole picture; in time each takes the same whole number of frames."""
    frames_per_cell: int
    first_center: float
    """Center of the first cell in frames; the first frame lasts from 0 to 1."""


class MapSource(Protocol):
    """What localizes; one implementation for each family of methods."""

    @property
    def has_magnitude(self) -> bool:
        """Strong disagreement is evidence of a source, as strong agreement is."""
        ...

    def form(self, video: VideoFile) -> ClipForm:
        """How a video is cut into windows."""
        ...

    def cells(self, window: Window) -> CellMap:
        """The map of a window."""
        ...


class MapMethod(Protocol):
    """A method whose network gives maps of pictures and sound together."""

    @property
    def clip(self) -> ClipFacts: ...

    def maps(self, frames: Tensor, sound: Tensor) -> Tensor:
        """uint8 (b, t, h, w, 3) and float32 (b, 2, n) -> float32 (b, t', h', w'), signed."""
        ...


class ActivationMaps:
    """Class activation maps of a network that sees and hears at once.

    With `mirrored` they are the mean of those of a window and of its mirror image: steadier places,
    in twice the time. `smoothing_cells` is the standard deviation of a Gaussian over each map.

    Reference: Owens and Efros 2018, section 4.
    """

    has_magnitude = True

    def __init__(
        self,
        method: MapMethod,
        device: torch.device,
        *,
        keeps_aspect: bool,
        mirrored: bool = False,
        smoothing_cells: float = 0.0,
    ) -> None:
        self._method, self._device = method, device
        self._keeps_aspect, self._mirrored = keeps_aspect, mirrored
        self._smoothing_cells = smoothing_cells

    def form(self, video: VideoFile) -> ClipForm:
        """Clips as the method was trained on."""
        return clip_form(self._method.clip, video, keeps_aspect=self._keeps_aspect)

    @torch.inference_mode()
    def cells(self, window: Window) -> CellMap:
        """The network's head at every cell."""
        frames = torch.from_numpy(window.frames)[None].to(self._device)
        sound = torch.from_numpy(window.sound)[None].to(self._device)
        values = refined_maps(
            lambda seen: self._method.maps(seen, sound),
            frames,
            width_dim=-2,
            mirrored=self._mirrored,
            smoothing_cells=self._smoothing_cells,
        )[0]
        t, h, w = window.frames.shape[:3]
        per_cell = -(-t // len(values))
        center = per_cell / 2
        model = getattr(self._method, "model", None)
        if isinstance(model, MultisensoryNet):
            geometry = map_geometry(model.config, num_frames=t, height_px=h, width_px=w)
            per_cell, center = geometry.frame_pitch, geometry.frames[0] + 0.5
        return CellMap(values=values, frames_per_cell=per_cell, first_center=center)


class SimilarityMaps:
    """Cosine between the sound's embedding and that of every place of the picture.

    The video network's head, trained on its features pooled over time and place, is applied to the
    features of each cell before they are pooled.

    Reference: the way of Senocak et al. 2018 and later work, with the heads of Morgado et al. 2021.
    """

    has_magnitude = False

    def __init__(
        self,
        video: TrainedVideoEncoder,
        audio: TrainedAudioEncoder,
        device: torch.device,
    ) -> None:
        self._video, self._audio = video.to(device), audio.to(device)
        self._device = device
        if video.head is None:
            raise ValueError("load the video network with layer='embedding': its head is needed")
        self._head = video.head

    def form(self, video: VideoFile) -> ClipForm:
        """Short clips of pictures in the middle of the longer window of sound."""
        pictures, sound = self._video.inputs, self._audio.inputs
        clip = _PairClip(
            clip_frames=pictures.clip_frames,
            fps=pictures.fps,
            crop_px=pictures.side_px,
            sound_rate_hz=sound.sample_rate_hz,
            num_samples=sound.num_samples,
            lead_s=(sound.window_s - pictures.clip_frames / pictures.fps) / 2,
        )
        form = clip_form(clip, video, keeps_aspect=True)
        return ClipForm(
            clip_frames=form.clip_frames,
            fps=form.fps,
            width_px=form.width_px,
            height_px=form.height_px,
            sound_rate_hz=form.sound_rate_hz,
            num_samples=form.num_samples,
            sound_from_s=-clip.lead_s,
        )

    @torch.inference_mode()
    def cells(self, window: Window) -> CellMap:
        """Cosines in [-1, 1]."""
        mono = torch.from_numpy(window.sound.mean(axis=0))[None]
        heard = self._audio(self._audio.preprocess(mono.to(self._device)))
        pictures = torch.from_numpy(window.frames).to(self._device).permute(3, 0, 1, 2)[None]
        normalized = (pictures.float() / 255 - self._video.mean) / self._video.std
        network: Any = self._video.network
        places = network.features(normalized)["conv5x"]
        values = similarity_maps(places, self._head, heard[:, None])  # (1, 1, t, h, w)
        cells = values[0, 0].cpu().numpy()
        per_cell = -(-len(window.frames) // len(cells))
        return CellMap(values=cells, frames_per_cell=per_cell, first_center=per_cell / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class _PairClip:
    clip_frames: int
    fps: float
    crop_px: int
    sound_rate_hz: int
    num_samples: int
    lead_s: float
