"""Settings of a build: `[build]` of a recipe and `--set path=value`, checked and immutable."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from avdata.errors import ConfigError
from avdata.schema import FIELDS, AudioSpec, ClipsSpec, FieldName, LogMelSpec, Spec, VideoSpec


class ShardsConfig(Spec):
    """How samples are grouped into files."""

    clips_per_shard: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = "auto"
    """Listed clips a shard: the unit of work and of recovery. ``auto`` goes by the length of the
    listing: 8 to 256, so that a short one keeps several cores at work."""

    def size(self, num_listed: int) -> int:
        """Listed clips a shard of a listing with `num_listed` rows."""
        if self.clips_per_shard == "auto":
            return min(max(num_listed // 32, 8), 256)
        return self.clips_per_shard


class LimitsConfig(Spec):
    """What one medium may ask of the machine."""

    max_pixels: int = Field(default=8192 * 4320, ge=1)
    max_duration_s: float = Field(default=600.0, gt=0)
    """Of a clip, not of the medium it is cut from."""
    max_channels: int = Field(default=16, ge=1)
    max_streams: int = Field(default=64, ge=1)
    max_decoded_bytes: int = Field(default=200_000_000_000, ge=1)
    """Of a clip: all pictures and sound that would be decoded for it."""
    max_bad_packet_fraction: float = Field(default=0.25, ge=0, le=1)
    """Share of packets that may fail to decode or bring out damaged frames, of each stream."""
    max_missing_fraction: float = Field(default=0.25, ge=0, le=1)
    """Share of a clip that may be missing inside it: frames that do not decode, gaps in the
    audio."""
    clip_timeout_s: float = Field(default=300.0, gt=0)
    """A clip that takes longer is given up, and the process that works on it ended."""
    worker_memory_bytes: int = Field(default=4_000_000_000, ge=300_000_000)
    """A process that holds more is ended; its clip is rejected as out_of_memory."""
    crash_attempts: int = Field(default=2, ge=1)
    """How often a clip may end a process, by a crash or by memory, until it is rejected."""
    timeout_attempts: int = Field(default=1, ge=1)
    """How often a clip may pass its time until it is rejected."""


LIMITS_OF_THE_MACHINE = frozenset(
    {"clip_timeout_s", "worker_memory_bytes", "crash_attempts", "timeout_attempts"}
)
"""These decide which clips are given up, not what is stored: they are not in the build's hash."""


LOGMEL_PRESETS: dict[str, dict[str, object]] = {
    # What the fields of LogMelSpec say anyway.
    "default": {},
    # Log spectrogram of the full models of Morgado et al. 2021 (AVID, CMA), section 4.1 and the
    # released configurations: 24 kHz, FFT of 1024, 100 Hz, bin 0 and 256 means of pairs.
    "avid": {
        "sample_rate_hz": 24000,
        "n_fft": 1024,
        "win_samples": 1024,
        "hop_samples": 240,
        "filterbank": "avid",
        "num_mels": 257,
        "log_floor": 1e-10,
    },
    # The same of their small models: FFT of 512, 50 Hz.
    "avid_small": {
        "sample_rate_hz": 24000,
        "n_fft": 512,
        "win_samples": 512,
        "hop_samples": 480,
        "filterbank": "avid",
        "num_mels": 129,
        "log_floor": 1e-10,
    },
    # Frames and bands of the Audio Spectrogram Transformer (Gong et al. 2021, section 2.1; its
    # code takes Kaldi's fbank: 20 Hz to Nyquist, floor 2^-23). Not taken over: Kaldi's
    # pre-emphasis, removal of the mean, edges that are not reflected.
    "ast": {
        "sample_rate_hz": 16000,
        "n_fft": 512,
        "win_samples": 400,
        "hop_samples": 160,
        "filterbank": "mel",
        "mel_scale": "htk",
        "num_mels": 128,
        "fmin_hz": 20.0,
        "fmax_hz": 8000.0,
        "log_floor": 2.0**-23,
    },
    # Frames and bands of VGGish (Hershey et al. 2017, section 3.1; vggish_params.py of its
    # release). VGGish takes log(magnitude + 0.01), this log(max(power, 0.01^2)).
    "vggish": {
        "sample_rate_hz": 16000,
        "n_fft": 512,
        "win_samples": 400,
        "hop_samples": 160,
        "filterbank": "mel",
        "mel_scale": "htk",
        "num_mels": 64,
        "fmin_hz": 125.0,
        "fmax_hz": 7500.0,
        "log_floor": 1e-4,
    },
}
"""Settings of the published features, by the name that `logmel.preset` takes."""


def expand_logmel_preset(table: dict[str, object]) -> dict[str, object]:
    """Settings of LogMelSpec with `preset` written out; what `table` names beside it wins.

    Raises:
        ValueError: There is no such preset.
    """
    name = table.get("preset")
    explicit = {key: value for key, value in table.items() if key != "preset"}
    if name is None:
        return explicit
    if not isinstance(name, str) or name not in LOGMEL_PRESETS:
        raise ValueError(
            f"logmel.preset={name!r} is unknown; there are {', '.join(LOGMEL_PRESETS)}"
        )
    return {**LOGMEL_PRESETS[name], **explicit}


class FieldsConfig(Spec):
    """What is stored of a clip: base of the settings of builds and of derived sets."""

    fields: tuple[FieldName, ...]

    @model_validator(mode="before")
    @classmethod
    def _logmel_preset(cls, data: object) -> object:
        """`logmel.preset` names a whole set of log-mel settings."""
        if not isinstance(data, dict) or not isinstance(data.get("logmel"), dict):
            return data
        return {**data, "logmel": expand_logmel_preset(data["logmel"])}

    @model_validator(mode="after")
    def _each_field_once(self) -> "FieldsConfig":
        if not self.fields or len(set(self.fields)) != len(self.fields):
            raise ValueError(f"fields={list(self.fields)} must name each field once, at least one")
        return self


class BuildConfig(FieldsConfig):
    """Everything that shapes the bytes of a shard set, but for the listing."""

    fields: tuple[FieldName, ...] = ("frames", "audio", "logmel")
    clips: ClipsSpec = ClipsSpec()
    video: VideoSpec = VideoSpec()
    audio: AudioSpec = AudioSpec()
    logmel: LogMelSpec = LogMelSpec()
    shards: ShardsConfig = ShardsConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="before")
    @classmethod
    def _frames_is_video(cls, data: object) -> object:
        """`frames.codec` is another name of `video.codec`, and so on."""
        if not isinstance(data, dict) or not isinstance(data.get("frames"), dict):
            return data
        video = data.get("video", {})
        return {
            **{name: value for name, value in data.items() if name != "frames"},
            "video": {**video, **data["frames"]} if isinstance(video, dict) else video,
        }

    @model_validator(mode="after")
    def _consistent(self) -> "BuildConfig":
        if "logmel" in self.fields and self.logmel.sample_rate_hz != self.audio.sample_rate_hz:
            raise ValueError(
                f"logmel.sample_rate_hz={self.logmel.sample_rate_hz} must equal "
                f"audio.sample_rate_hz={self.audio.sample_rate_hz}: log-mel is made of the stored "
                "sound, set both"
            )
        return self

    @property
    def needs_video(self) -> bool:
        return any(FIELDS[name].needs_video for name in self.fields)

    @property
    def needs_audio(self) -> bool:
        return any(FIELDS[name].needs_audio for name in self.fields)


Settings = TypeVar("Settings", bound=BaseModel)


def read_recipe(path: Path | None, section: str) -> dict[str, object]:
    """Table `section` of a recipe file; empty when there is no file or no such table.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"recipe {path}: {error.strerror}; give an existing TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} is not TOML: {error}") from None
    allowed = {"about", "build", "fit", "eval"}
    unknown = sorted(tables.keys() - allowed)
    if unknown:
        raise ConfigError(f"recipe {path} has tables {unknown}; allowed are {sorted(allowed)}")
    table = tables.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"recipe {path}: [{section}] must be a table")
    return table


def parse_assignment(text: str) -> tuple[list[str], object]:
    """`a.b=c` as (["a", "b"], c); c is read as TOML, and as a plain string where that fails.

    `a.b=` is None: the setting is taken away where it may be missing.

    Raises:
        ConfigError: There is no `=` or an empty name.
    """
    path, equals, value = text.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {text!r} must have the form a.b=value, as in video.fps=8")
    if not value.strip():
        return names, None
    try:
        return names, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return names, value.strip()


def build_settings(
    model: type[Settings], table: dict[str, object], assignments: Iterable[str] = ()
) -> Settings:
    """`table` with `assignments` (`a.b=c`, later ones win) laid over it, checked by `model`.

    Raises:
        ConfigError: An unknown name or a value out of range; the text says which are allowed.
    """
    merged = _copy(table)
    for text in assignments:
        names, value = parse_assignment(text)
        at = merged
        for name in names[:-1]:
            nested = at.setdefault(name, {})
            if not isinstance(nested, dict):
                raise ConfigError(f"--set {text!r}: {name} is a value, not a group of settings")
            at = nested
        at[names[-1]] = value
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(model, error)) from None


def _copy(table: dict[str, object]) -> dict[str, object]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in table.items()}


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            group = _group(model, fault["loc"][:-1])
            allowed = f"; allowed here: {', '.join(group.model_fields)}" if group else ""
            lines.append(f"{where}: unknown setting{allowed}")
        else:
            seen = "" if isinstance(fault["input"], dict) else f" (seen: {fault['input']!r})"
            lines.append(f"{where or model.__name__}: {fault['msg']}{seen}")
    return "settings are not valid: " + "; ".join(lines)


def _group(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    for name in path:
        field = model.model_fields.get(str(name))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model
