"""An EXPORT: the folder of networks that were trained here or published by others.

::

    EXPORT/weights.safetensors   networks (`model.*`), audio statistics (`preparation.*`) and, where
                                 asked for, memory banks (`criterion.*`), under the names of a
                                 method's state dict
    EXPORT/config.json           ExportConfig: what the tensors are, and what they take
    EXPORT/README.md             the same for people
"""

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avdata import LogMelSpec, Spec
from avtrain.errors import WeightsError
from avtrain.exported.model_card import model_card
from avtrain.models import AudioVisualConfig, build_audio_visual
from avtrain.models.published import PARTS, Part

EXPORT_VERSION = 1
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
CARD_NAME = "README.md"
NETWORK_START = "model."
STATISTICS = ("preparation.audio_mean", "preparation.audio_std")
CRITERION_START = "criterion."


class VideoInput(Spec):
    """What the video network was trained on."""

    clip_frames: int = Field(ge=1)
    fps: float = Field(gt=0)
    side_px: int = Field(ge=1)
    """Pictures are squares of this side."""
    center_share: float = Field(default=0.875, gt=0, le=1)
    """Of the shorter side of a picture: the centered square that tests look at."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Of red, green and blue in [0, 1]; the input is (x - mean) / std."""


class AudioInput(Spec):
    """What the audio network was trained on."""

    kind: Literal["spectrogram", "logmel"]
    """The published log spectrogram in decibels, or natural logarithm of mel power."""
    sample_rate_hz: int = Field(ge=1)
    window_s: float = Field(gt=0)
    num_frames: int = Field(ge=1)
    num_bins: int = Field(ge=1)
    stride: int = Field(default=1, ge=1)
    """Every so many columns of the log-mel are taken."""
    logmel: LogMelSpec | None = None

    @property
    def num_samples(self) -> int:
        """Length of the waveform of one window."""
        return round(self.window_s * self.sample_rate_hz)


class BankFacts(Spec):
    """Whose rows the memory banks are."""

    num_rows: int
    """By source_index of the shard set of `dataset_fingerprint`."""
    num_random: int = 0
    """Rows of sources that the banks were not trained on."""


class ExportConfig(Spec):
    """`config.json`."""

    format: Literal["avtoolkit-export"] = "avtoolkit-export"
    version: int = EXPORT_VERSION
    method: str
    """Name of the method, as in recipes; "supervised" for classifiers."""
    model: AudioVisualConfig
    parts: tuple[Part, ...] = PARTS
    """Networks that are there; the settings of others mean nothing."""
    video: VideoInput
    audio: AudioInput | None
    """None: there is no audio network."""
    bank: BankFacts | None = None
    dataset_fingerprint: str | None = None
    """Hash of the build and of the samples that were trained on, or that the banks are of."""
    labels: tuple[str, ...] = ()
    """Labels of the training set; they were not used to train."""
    origin: dict[str, str]
    """Where the tensors come from."""
    license: str
    software: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExportedModel:
    """Networks on the CPU with what is known of them."""

    config: ExportConfig
    tensors: dict[str, Tensor]
    """By the names of a method's state dict; with banks only where those were asked for."""
    where: str
    """Name for messages."""

    def __repr__(self) -> str:
        return f"ExportedModel({self.where}, {self.config.method}, {len(self.tensors)} tensors)"

    @property
    def networks(self) -> dict[str, Tensor]:
        """Tensors of the networks, by the names of their own state dict."""
        return {
            name.removeprefix(NETWORK_START): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(NETWORK_START)
        }


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, of this or another version."""
    return (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()


def write_exported(exported: ExportedModel, out: Path) -> None:
    """Write a new export; the folder appears whole or not at all.

    Raises:
        WeightsError: There is something already.
    """
    check_vacant(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        _write_tensors(exported.tensors, partial / WEIGHTS_NAME)
        (partial / CONFIG_NAME).write_text(exported.config.model_dump_json(indent=1) + "\n")
        num_parameters = sum(
            t.numel()
            for n, t in exported.networks.items()
            if not n.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )
        (partial / CARD_NAME).write_text(
            model_card(
                exported.config.model_dump(mode="json"),
                has_statistics=STATISTICS[0] in exported.tensors,
                num_parameters=num_parameters,
            )
        )
        if out.is_dir():
            out.rmdir()  # empty, as was checked
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    path.touch()
    mode = path.stat().st_mode  # safetensors writes files for their owner only
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(mode)


def check_vacant(out: Path) -> None:
    """Refuse a place that is taken.

    Raises:
        WeightsError: There is something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"{out} exists already; give a new folder as --out, or remove it")


def read_exported(folder: Path, *, banks: bool = False) -> ExportedModel:
    """Networks and audio statistics of an export; with `banks` its memory banks, if it has any.

    Nothing is unpickled: the weights are safetensors.

    Raises:
        WeightsError: The folder is no export, or is damaged, or of another version.
    """
    if not is_export(folder):
        seen = "does not exist"
        if folder.is_dir():
            absent = [n for n in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / n).is_file()]
            seen = f"has no {' and no '.join(absent)}"
        elif folder.exists():
            seen = "is not a folder"
        raise WeightsError(
            f"{folder} {seen}; give a folder that `avtrain export` or `avtrain import` wrote"
        )
    config = _read_config(folder / CONFIG_NAME)
    tensors = _read_tensors(folder / WEIGHTS_NAME, banks=banks)
    exported = ExportedModel(config=config, tensors=tensors, where=str(folder))
    _check_tensors(exported, folder)
    return exported


def _read_config(path: Path) -> ExportConfig:
    try:
        data = json.loads(path.read_bytes())
        found = (data.get("format"), data.get("version")) if isinstance(data, dict) else None
        if found != ("avtoolkit-export", EXPORT_VERSION):
            raise WeightsError(
                f"{path} has (format, version) {found}; this avtrain reads ('avtoolkit-export', "
                f"{EXPORT_VERSION}). Use the avtrain release that wrote it, or export again"
            )
        return ExportConfig.model_validate(data)
    except (ValueError, ValidationError) as error:
        raise WeightsError(f"{path} is damaged: {error}; export again") from None


def _read_tensors(path: Path, *, banks: bool) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118
                if banks or not name.startswith(CRITERION_START)
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}); export again") from None


def _check_tensors(exported: ExportedModel, folder: Path) -> None:
    with torch.device("meta"):
        model = build_audio_visual(exported.config.model)
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.partition(".")[0] in exported.config.parts
    }
    seen = {name: tuple(tensor.shape) for name, tensor in exported.networks.items()}
    if seen != expected:
        differ = sorted(n for n in seen.keys() | expected.keys() if seen.get(n) != expected.get(n))
        raise WeightsError(
            f"{folder / WEIGHTS_NAME} does not hold what {CONFIG_NAME} says: {len(differ)} tensors "
            f"differ, the first is {differ[0]}: {seen.get(differ[0])} instead of "
            f"{expected.get(differ[0])}; export again"
        )
