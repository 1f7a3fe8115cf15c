"""What an evaluation measures: the networks of a run, or of an exported folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from avdata import AudioSpec, DatasetSpec, VideoSpec
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.engine.load import load_method
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.exported import ExportedModel, is_export, read_exported
from avtrain.methods import MethodFacts, Modality
from avtrain.methods.pair_method import PairMethod, PairMethodConfig

_STATISTICS = "preparation.audio_mean"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluatedNetworks:
    """Networks with what names their results."""

    frozen: FrozenEncoders
    step: int | None
    """Steps that the run was trained; None for an exported folder."""
    is_random: bool
    """The weights are new: a baseline."""


def load_networks(folder: Path, device: torch.device, *, is_random: bool) -> EvaluatedNetworks:
    """Networks of the last checkpoint of a run, or of an export, in evaluation mode.

    Args:
        folder: A run, or what `avtrain export` or `avtrain import` wrote.
        device: Where they work.
        is_random: With new weights, drawn by the run's seed, in place of the trained ones. The
            statistics that the inputs are normalized with stay those of the run.

    Raises:
        RunError: The folder is neither, or the run has no checkpoint yet.
        WeightsError: The export is damaged.
    """
    if is_export(folder):
        return _from_export(read_exported(folder), device, is_random=is_random)
    loaded = load_method(folder, device)
    method = loaded.method
    if is_random:
        record = loaded.record
        facts = MethodFacts(
            spec=record.spec,
            where=record.shards,
            trained_sources=None,
            seed=record.config.seed,
            device=device,
        )
        method = record.config.method_config.build(facts)
        if isinstance(method, PairMethod) and isinstance(loaded.method, PairMethod):
            method.preparation.load_state_dict(loaded.method.preparation.state_dict())
    frozen = FrozenEncoders(method=method.eval(), device=device, trained=loaded.record.spec)
    return EvaluatedNetworks(
        frozen=frozen, step=0 if is_random else loaded.step, is_random=is_random
    )


def _from_export(
    exported: ExportedModel, device: torch.device, *, is_random: bool
) -> EvaluatedNetworks:
    spec = _input_spec(exported)
    config = _view_config(exported)
    facts = MethodFacts(
        spec=spec, where=exported.where, trained_sources=None, seed=0, device=device
    )
    method = PairMethod(config, facts)
    given = {
        name: tensor
        for name, tensor in exported.tensors.items()
        if name.startswith("preparation.") or not is_random
    }
    method.load_state_dict(given, strict=False)  # its tensors were checked; parts may be missing
    modalities: tuple[Modality, ...] = ("video", "audio")
    frozen = FrozenEncoders(
        method=method.to(device).eval(),
        device=device,
        trained=spec,
        absent=frozenset(
            modality for modality in modalities if f"{modality}_model" not in exported.config.parts
        ),
        has_audio_statistics=_STATISTICS in exported.tensors,
    )
    return EvaluatedNetworks(frozen=frozen, step=None, is_random=is_random)


def _input_spec(exported: ExportedModel) -> DatasetSpec:
    """A shard set as the networks take it."""
    audio = exported.config.audio
    by_sound = audio is None or audio.kind == "spectrogram"
    return DatasetSpec.without_samples(
        ("frames", "audio") if by_sound else ("frames", "logmel"),
        video=VideoSpec(),
        audio=AudioSpec(sample_rate_hz=audio.sample_rate_hz if audio else 24000),
        logmel=audio.logmel if audio else None,
        name=exported.where,
    )


def _view_config(exported: ExportedModel) -> PairMethodConfig:
    config = exported.config
    video = VideoViewConfig(
        clip_frames=config.video.clip_frames, fps=config.video.fps, crop_px=config.video.side_px
    )
    audio = AudioViewConfig(input="spectrogram")
    if config.audio is not None:
        settings: dict[str, object] = {
            "input": config.audio.kind,
            "window_s": config.audio.window_s,
            "frame_rate_hz": round(config.audio.num_frames / config.audio.window_s),
        }
        if config.audio.kind == "spectrogram":
            settings["num_bins"] = config.audio.num_bins
        audio = AudioViewConfig.model_validate(settings)
    return PairMethodConfig(model=config.model, video=video, audio=audio)
