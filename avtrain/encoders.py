"""Trained networks in one line, out of a run or an export."""

from pathlib import Path
from typing import Literal, overload

import torch

from avdata import DatasetSpec
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.engine.load import load_method
from avtrain.engine.run_folder import RECORD_NAME, software_versions
from avtrain.errors import WeightsError
from avtrain.exported import (
    AudioInput,
    BankFacts,
    ExportConfig,
    ExportedModel,
    VideoInput,
    read_exported,
)
from avtrain.exported.encoder import (
    Layer,
    TrainedAudioEncoder,
    TrainedPair,
    TrainedVideoEncoder,
    audio_encoder,
    video_encoder,
)
from avtrain.exported.folder import CRITERION_START, NETWORK_START, STATISTICS
from avtrain.methods.pair_inputs import spectrogram_spec
from avtrain.methods.pair_method import PairMethodConfig
from avtrain.models import audio_visual_config


@overload
def load_encoder(
    source: Path | str, *, modality: Literal["video"] = "video", layer: Layer = "pool"
) -> TrainedVideoEncoder: ...
@overload
def load_encoder(
    source: Path | str, *, modality: Literal["audio"], layer: Layer = "pool"
) -> TrainedAudioEncoder: ...
@overload
def load_encoder(
    source: Path | str, *, modality: Literal["both"], layer: Layer = "pool"
) -> TrainedPair: ...
def load_encoder(
    source: Path | str,
    *,
    modality: Literal["video", "audio", "both"] = "video",
    layer: Layer = "pool",
) -> TrainedVideoEncoder | TrainedAudioEncoder | TrainedPair:
    """A trained network as a module on the CPU, in evaluation mode, with what prepares its input.

    ::

        video = avtrain.load_encoder("EXPORT")
        features = video(video.preprocess(frames))      # uint8 (b, t, h, w, 3) -> (b, d)
        audio = avtrain.load_encoder("EXPORT", modality="audio")
        features = audio(audio.preprocess(waveform))    # (b, n) in [-1, 1] -> (b, d)

    Args:
        source: A run, or a folder that `avtrain export` or `avtrain import` wrote.
        modality: Which network; "both" is a module of two.
        layer: `pool` is what transfers; `embedding`, the head's output, not normalized, is what
            compares video with audio; `conv1` .. `conv5x` are maps.

    Raises:
        WeightsError: There are no weights, or they do not have what is asked for.
    """
    folder = Path(source)
    is_run = (folder / RECORD_NAME).is_file()
    exported = export_run(folder) if is_run else read_exported(folder)
    if modality == "video":
        return video_encoder(exported, layer)
    if modality == "audio":
        return audio_encoder(exported, layer)
    if modality == "both":
        return TrainedPair(video_encoder(exported, layer), audio_encoder(exported, layer))
    raise ValueError(f"{modality=} is unknown; there are 'video', 'audio' and 'both'")


def export_run(run: Path, *, banks: bool = False) -> ExportedModel:
    """Networks of a run as of its last checkpoint; with `banks` its memory banks.

    Raises:
        RunError: There is no run, or it has no checkpoint yet.
        WeightsError: Its method has other networks than a video and an audio one.
    """
    loaded = load_method(run, torch.device("cpu"))
    record = loaded.record
    config = record.config.method_config
    if not isinstance(config, PairMethodConfig):
        raise WeightsError(
            f"{run} is of method {record.config.method!r}, which has no pair of networks to "
            "export; choose a run of a method over pairs"
        )
    state = loaded.method.state_dict()
    kept = {n: t for n, t in state.items() if n.startswith(NETWORK_START) or n in STATISTICS}
    criterion = {n: t for n, t in state.items() if n.startswith(CRITERION_START)}
    if banks:
        kept |= criterion
    return ExportedModel(
        config=ExportConfig(
            method=record.config.method,
            model=audio_visual_config(config.model),
            video=_video_input(config.video),
            audio=_audio_input(config.audio, record.spec),
            bank=BankFacts(num_rows=record.spec.num_sources) if banks and criterion else None,
            dataset_fingerprint=record.dataset_fingerprint,
            labels=record.spec.labels,
            origin={
                "run": run.resolve().name,
                "step": str(loaded.step),
                "shards": record.shards.rstrip("/").rpartition("/")[2],
                "samples": str(record.num_samples),
            },
            license="yours to choose; the clips that it was trained on have their own",
            software={**software_versions(), **record.software},
        ),
        tensors=kept,
        where=str(run),
    )


def _video_input(view: VideoViewConfig) -> VideoInput:
    return VideoInput(clip_frames=view.clip_frames, fps=view.fps, side_px=view.crop_px)


def _audio_input(view: AudioViewConfig, spec: DatasetSpec) -> AudioInput:
    if view.input == "spectrogram":
        spectrogram = spectrogram_spec(view)
        return AudioInput(
            kind="spectrogram",
            sample_rate_hz=spectrogram.sample_rate_hz,
            window_s=view.window_s,
            num_frames=view.num_frames,
            num_bins=spectrogram.num_bins,
        )
    logmel = spec.logmel
    assert logmel is not None
    return AudioInput(
        kind="logmel",
        sample_rate_hz=logmel.sample_rate_hz,
        window_s=view.window_s,
        num_frames=view.num_frames,
        num_bins=logmel.num_mels,
        stride=round(logmel.sample_rate_hz / logmel.hop_samples / view.frame_rate_hz),
        logmel=logmel,
    )
