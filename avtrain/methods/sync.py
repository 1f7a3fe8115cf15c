"""Learning whether pictures and sound are in sync."""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from avdata import DatasetSpec, Spec
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.views.sync import SyncEvalView, SyncTrainView
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig
from avtrain.data.views.sync_places import (
    GridPlaces,
    OffsetGridConfig,
    Places,
    ShiftedPlaces,
)
from avtrain.data.views.sync_reader import SyncReader
from avtrain.data.views.sync_room import samples_with_room
from avtrain.errors import DataError
from avtrain.methods.base import (
    Encoder,
    InitialState,
    Method,
    MethodFacts,
    Modality,
    StepFacts,
    check_fields,
)
from avtrain.methods.clip_facts import ClipFacts
from avtrain.methods.sync_inputs import SyncInputs, network_frames, network_sound, sync_inputs
from avtrain.methods.sync_start import take_up_network
from avtrain.models import MultisensoryChoice, build_multisensory, multisensory_config
from avtrain.objectives import LossOutput, alignment_loss, offset_loss

__all__ = ["NegativesConfig", "Sync", "SyncConfig", "SyncInputs"]


class NegativesConfig(Spec):
    """What is laid under a clip instead of its own sound."""

    easy_share_start: float = Field(default=0.0, ge=0, le=1)
    """Share of clips, at the start, whose other sound is not their own shifted one but that of
    another clip of the batch. 1 at start and end is the random pairing of the paper's ablation."""
    easy_share_end: float = Field(default=0.0, ge=0, le=1)
    """The same from `until_share` of the schedule on; between both it changes evenly."""
    until_share: float = Field(default=0.5, gt=0, le=1)

    def easy_share(self, share: float) -> float:
        """At `share` of the schedule."""
        part = min(share / self.until_share, 1.0)
        return self.easy_share_start + part * (self.easy_share_end - self.easy_share_start)


class SyncConfig(Spec):
    """Settings of the method; the defaults are the released ones."""

    model: MultisensoryChoice = "multisensory"
    """Name of a preset, or a table of the parts."""
    view: SyncViewConfig = SyncViewConfig()
    objective: Literal["binary", "offset"] = "binary"
    """`binary`: in sync or shifted, as published. `offset`: which of the delays of `offsets`."""
    offsets: OffsetGridConfig = OffsetGridConfig()
    negatives: NegativesConfig = NegativesConfig()

    @model_validator(mode="after")
    def _easy_negatives_are_binary(self) -> "SyncConfig":
        easy = max(self.negatives.easy_share_start, self.negatives.easy_share_end)
        if self.objective == "offset" and easy > 0:
            raise ValueError(
                f"negatives.easy_share of {easy} needs objective='binary': the sound of another "
                "clip has no delay; set it to 0"
            )
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Pictures and sound."""
        return frozenset({"frames", "audio"})

    @property
    def needs_init(self) -> str | None:
        """Nothing is needed to start from."""
        return None

    @property
    def num_outputs(self) -> int:
        """Logits that the network's head gives."""
        return 1 if self.objective == "binary" else len(self.offsets.delays_s)

    @property
    def places(self) -> Places:
        """How clips and their sounds are chosen."""
        if self.objective == "binary":
            return ShiftedPlaces(view=self.view)
        return GridPlaces(view=self.view, grid=self.offsets)

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        check_fields(self.requires, spec, method="sync", where=where)
        assert spec.audio is not None and spec.video is not None
        if spec.audio.layout == "foa":
            raise DataError(
                f"method 'sync' needs mono or stereo sound, {where} has layout 'foa'; build it "
                "again with --set audio.layout=stereo"
            )
        if spec.video.fps != "native" and self.view.shown_fps > 1.02 * spec.video.fps:
            raise DataError(
                f"method 'sync' was to see {self.view.shown_fps:g} frames a second, {where} has "
                f"{spec.video.fps:g}; set sync.view.fps={spec.video.fps:g} with a fitting "
                "sync.view.clip_frames, or build it again with --set "
                f"video.fps={self.view.shown_fps:g}"
            )

    def usable_samples(
        self,
        table: SampleTable,
        samples: tuple[int, ...],
        spec: DatasetSpec,
        *,
        where: str,
        notify: Callable[[str], object],
    ) -> tuple[int, ...]:
        """Those of `samples` that are long enough for a clip and its smallest shift.

        Raises:
            DataError: None is.
        """
        assert spec.audio is not None
        found = samples_with_room(
            self.view,
            table,
            samples,
            sample_rate_hz=spec.audio.sample_rate_hz,
            min_starts=self.places.min_starts,
            where=where,
        )
        if found.left_out is not None:
            notify(found.left_out)
        return found.samples

    def build(self, facts: MethodFacts) -> "Sync":
        """The method with new weights, a function of the seed, on the device."""
        return Sync(self, facts)


class Sync(Method[SyncBatch, SyncInputs]):
    """One network sees pictures and hears sound, and tells whether they belong together in time.

    Reference: Owens & Efros 2018, "Audio-Visual Scene Analysis with Self-Supervised Multisensory
    Features", section 3; the released configuration. `objective = "offset"` is the task of
    Synchformer (Iashin et al. 2024); easy negatives first are from AVTS (Korbar et al. 2018).

    Each clip is seen twice in a step, in sync and shifted. A coin for each clip tells in which of
    two passes which comes, so that statistics of a batch do not give the answer away; the part of
    the network that only sees pictures works once.

    Departures:
        - Frames were stored with their aspect and are made square when they are cropped.
        - A clip's sound has 87,588 samples, as in the released tests; the released reader cuts one
          less.
        - The second stage starts from all of the first one's tensors.
        - Samples may be of any length with room for the smallest shift.
        - Weight decay is on convolutions alone with `optim.decay_vectors = false`.
    """

    num_calibration_clips = 0

    def __init__(self, config: SyncConfig, facts: MethodFacts) -> None:
        super().__init__()
        assert facts.spec.audio is not None
        self.config = config
        self.easy_share = config.negatives.easy_share(0.0)
        view, rate_hz = config.view, facts.spec.audio.sample_rate_hz
        self.clip = ClipFacts(
            clip_frames=view.num_shown,
            fps=view.shown_fps,
            crop_px=view.crop_px,
            sound_rate_hz=rate_hz,
            num_samples=view.num_sound_samples(rate_hz),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(facts.seed)
            self.model = build_multisensory(
                multisensory_config(config.model).model_copy(
                    update={"num_outputs": config.num_outputs}
                )
            )
        self.to(facts.device)

    def train_view(
        self, shards: SampleStore, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> SyncTrainView:
        """One random clip an item."""
        reader = SyncReader(shards, table, self.config.view)
        return SyncTrainView(reader, self.config.places, seed=seed, pin_memory=pin_memory)

    def eval_view(
        self, shards: SampleStore, table: SampleTable, *, num_windows: int, pin_memory: bool
    ) -> SyncEvalView:
        """Clips of each item that are the same every time, with their sounds."""
        return SyncEvalView(
            SyncReader(shards, table, self.config.view),
            self.config.places,
            seed=0,
            num_clips=num_windows,
            pin_memory=pin_memory,
        )

    def calibrate(self, batches: Iterable[SyncBatch]) -> None:
        """Nothing is estimated before training."""

    def prepare(self, batch: SyncBatch, device: torch.device) -> SyncInputs:
        """Crops and ranges on the device."""
        return sync_inputs(batch, device, self.config.view)

    def pictures(self, frames: Tensor) -> Tensor:
        """uint8 frames (b, t, h, w, 3) as the network takes them, float32 (b, 3, t, h, w)."""
        return network_frames(frames, self.config.view)

    def waves(self, sound: Tensor) -> Tensor:
        """Sound (..., 2, n), int16 or float in [-1, 1], as the network takes it, float32."""
        return network_sound(sound, self.config.view)

    def before_step(self, at: StepFacts) -> None:
        """The share of easy negatives follows the schedule."""
        self.easy_share = self.config.negatives.easy_share(at.share)

    def loss(self, inputs: SyncInputs, *, generator: torch.Generator) -> LossOutput:
        """Two passes, in sync and shifted in random order; or one pass, which tells the delay."""
        stem = self.model.video_stem(inputs.frames)
        if self.config.objective == "offset":
            logits = self._logits(stem, inputs.sound[:, 0], generator=generator)
            return offset_loss(logits, self.delay_index(inputs.delay_s[:, 0]))
        num_clips, device = len(stem), stem.device
        in_sync, other = inputs.sound[:, 0], inputs.sound[:, 1]
        if num_clips > 1:
            easy = torch.rand(num_clips, generator=generator, device=device) < self.easy_share
            # a window of the next clip: there is no such thing as its own time to it
            other = torch.where(easy[:, None, None], other.roll(1, dims=0), other)
        first = torch.rand(num_clips, generator=generator, device=device) < 0.5
        is_first = first[:, None, None]
        passes = (torch.where(is_first, in_sync, other), torch.where(is_first, other, in_sync))
        of_passes = [self._logits(stem, sound, generator=generator)[:, 0] for sound in passes]
        return alignment_loss(torch.stack(of_passes), first)

    def scores(self, frames: Tensor, sound: Tensor) -> Tensor:
        """How much clips look in sync, float32 (b,): log-odds, above 0 for "in sync".

        With `objective = "offset"` the odds are of a delay of 0 against all others.

        Args:
            frames: uint8 (b, t, h, w, 3), as in `clip`.
            sound: int16, or float in [-1, 1], (b, 2, n).
        """
        return self.log_odds(
            self._logits(self.model.video_stem(self.pictures(frames)), self.waves(sound))
        )

    def maps(self, frames: Tensor, sound: Tensor) -> Tensor:
        """Where pictures and sound are in sync, and where not, float32 (b, t, h, w), signed.

        The mean of a map is the clip's score, but for `objective = "offset"`, where each cell has
        its own odds.
        """
        stem = self.model.video_stem(self.pictures(frames))
        cells = self.model.activation_map(self.model.fuse(stem, self.waves(sound)).scale2)
        return self.log_odds(cells.float().movedim(1, -1))

    def log_odds(self, logits: Tensor) -> Tensor:
        """Logits (..., k) of the head as log-odds of "in sync", float32 (...)."""
        logits = logits.float()
        if self.config.objective == "binary":
            return logits[..., 0]
        middle = logits.shape[-1] // 2
        others = torch.cat([logits[..., :middle], logits[..., middle + 1 :]], dim=-1)
        return logits[..., middle] - others.logsumexp(dim=-1)

    def window_logits(self, inputs: SyncInputs) -> Tensor:
        """Logits of each window of each clip, float32 (b, k, outputs); the stem works once."""
        stem = self.model.video_stem(inputs.frames)
        windows = inputs.sound.unbind(dim=1)
        return torch.stack([self._logits(stem, sound) for sound in windows], dim=1)

    def window_maps(self, inputs: SyncInputs) -> Tensor:
        """Maps of each window of each clip, float32 (b, k, t, h, w), signed, as `maps` gives."""
        stem = self.model.video_stem(inputs.frames)
        fused = (self.model.fuse(stem, sound).scale2 for sound in inputs.sound.unbind(dim=1))
        cells = [self.model.activation_map(scale2).float() for scale2 in fused]
        return torch.stack([self.log_odds(of_window.movedim(1, -1)) for of_window in cells], dim=1)

    def delay_index(self, delay_s: Tensor) -> Tensor:
        """Position of the nearest delay of the grid, int64."""
        grid = self.config.offsets
        return ((delay_s + grid.max_s) / grid.step_s).round().long()

    def networks(self) -> nn.Module:
        """The fused network."""
        return self.model

    def start_from(self, initial: InitialState) -> None:
        """Take up the network of another run of the same topology; its head where that fits.

        Raises:
            RunError: The state is of another kind, or of another network.
        """
        take_up_network(self, initial)

    def encoders(self) -> dict[Modality, Encoder[SyncInputs]]:
        """The fused features of pictures and their sound, under "video"."""
        model = self.model

        def features(inputs: SyncInputs) -> Tensor:
            fused = model.fuse(model.video_stem(inputs.frames), inputs.sound[:, 0])
            return fused.scale2.float().mean(dim=(2, 3, 4))

        return {"video": Encoder(features=features, project=lambda rows: rows)}

    def _logits(
        self, stem: Tensor, sound: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.model.logits(self.model.fuse(stem, sound, generator=generator).scale2)
