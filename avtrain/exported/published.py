"""Checkpoints that the authors of a method, or torchvision, gave away -> an export."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avdata import ShardSet, Spec, build_settings
from avtrain.data.samples import dataset_fingerprint
from avtrain.errors import WeightsError
from avtrain.exported.bank_rows import align_banks
from avtrain.exported.checkpoint_file import file_sha256, read_checkpoint_file, tensors_of
from avtrain.exported.folder import (
    NETWORK_START,
    STATISTICS,
    AudioInput,
    BankFacts,
    ExportConfig,
    ExportedModel,
    VideoInput,
)
from avtrain.exported.published_inputs import (
    published_audio_input,
    published_video_input,
    read_audio_statistics,
)
from avtrain.models import AudioVisualChoice, audio_visual_config
from avtrain.models.published import PublishedLayout, PublishedNetworks, read_published

_BANKS = {
    "nce_average.view1_mem": "criterion.video_memory.memory",
    "nce_average.view2_mem": "criterion.audio_memory.memory",
}
_POSITIVES = "nce_average.positive_set"
_NORMALIZER = "criterion.normalizer"
_LICENSES: dict[PublishedLayout, str] = {
    "avid": "that of the file; the weights of the authors are CC BY-NC 4.0, not for commercial use",
    "avid-classifier": "that of the file; the code of the authors is CC BY-NC 4.0",
    "torchvision-r2plus1d": "that of the file; torchvision itself is BSD-3-Clause",
}


class _ModelSetting(Spec):
    """What `--set model...` says."""

    model: AudioVisualChoice


class _InputSettings(Spec):
    """What `--set video...` and `--set audio...` say."""

    video: VideoInput
    audio: AudioInput | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BankSource:
    """Whose rows the banks of a checkpoint are, and whose they shall be."""

    names: Path
    """Text file: the authors' file names in the order of the rows, one a line."""
    shards: ShardSet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Imported:
    """What was read from a checkpoint."""

    exported: ExportedModel
    networks: PublishedNetworks
    notes: tuple[str, ...]
    """What a person should know: what was assumed, and what was left."""


def import_published(
    path: Path,
    *,
    assignments: tuple[str, ...] = (),
    audio_statistics: Path | None = None,
    banks: BankSource | None = None,
    software: Mapping[str, str],
) -> Imported:
    """Networks of a checkpoint; with `banks` its memory banks, by source_index of a shard set.

    Args:
        assignments: `a.b=c` of what shapes do not tell: `model`, `video` and `audio` of the
            export's config.
        audio_statistics: .npz with mean and deviation of each bin.
        software: Versions to note down.

    Raises:
        WeightsError: The file cannot be read safely, is of no known network, or is incomplete.
    """
    content = read_checkpoint_file(path)
    networks = _networks_of(content, path, assignments)
    inputs = _inputs_of(networks, assignments)
    _check_complete(networks, path)
    tensors = {f"{NETWORK_START}{n}": _as_ours(t) for n, t in networks.tensors.items()}
    _check_finite(tensors, path)
    method, notes = _method_of(content, networks), list(networks.assumed)
    audio = inputs.audio
    if audio is not None:
        if audio_statistics is not None:
            mean, std = read_audio_statistics(audio_statistics, num_bins=audio.num_bins)
            tensors |= dict(zip(STATISTICS, (mean, std), strict=True))
        else:
            notes.append(
                "the file holds no audio statistics: give the authors' .npz as --audio-statistics, "
                "or let `avtrain fit --init` take those of its data"
            )
    criterion = tensors_of(content.get("train_criterion"))
    normalizer = _normalizer(criterion)
    if normalizer is not None:
        tensors[_NORMALIZER] = normalizer
    bank = _take_banks(criterion, tensors, banks, path, notes)
    exported = ExportedModel(
        config=ExportConfig(
            method=method,
            model=networks.config,
            parts=networks.parts,
            video=inputs.video,
            audio=audio,
            bank=bank,
            dataset_fingerprint=dataset_fingerprint(banks.shards) if banks else None,
            origin={
                "file": path.name,
                "sha256": file_sha256(path),
                "layout": networks.layout,
                **(
                    {"epoch": str(content["epoch"])}
                    if isinstance(content.get("epoch"), int)
                    else {}
                ),
            },
            license=_LICENSES[networks.layout],
            software=dict(software),
        ),
        tensors=tensors,
        where=str(path),
    )
    return Imported(exported=exported, networks=networks, notes=tuple(notes))


def report_published(path: Path, *, assignments: tuple[str, ...] = ()) -> PublishedNetworks:
    """What would become of every tensor of a checkpoint, faults included.

    Raises:
        WeightsError: The file cannot be read safely, or is of no known network.
    """
    return _networks_of(read_checkpoint_file(path), path, assignments)


def _networks_of(
    content: Mapping[str, object], path: Path, assignments: tuple[str, ...]
) -> PublishedNetworks:
    state = _state_of(content, path)
    chosen = [text for text in assignments if _names_model(text)]
    try:
        if not chosen:
            return read_published(state)
        told: dict[str, object] = {}
        if chosen[0].partition("=")[0].strip() != "model":  # a part of what shapes tell
            told = {"model": read_published(state).config.model_dump(mode="json")}
        config = audio_visual_config(build_settings(_ModelSetting, told, chosen).model)
        return read_published(state, config=config)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def _inputs_of(networks: PublishedNetworks, assignments: tuple[str, ...]) -> _InputSettings:
    audio = published_audio_input(networks)
    told: dict[str, object] = {
        "video": published_video_input(networks.config).model_dump(),
        "audio": audio.model_dump() if audio else None,
    }
    chosen = [text for text in assignments if not _names_model(text)]
    return build_settings(_InputSettings, told, chosen)


def _names_model(assignment: str) -> bool:
    return assignment.partition("=")[0].partition(".")[0].strip() == "model"


def _state_of(content: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """The state dict of the networks, wherever a checkpoint keeps it."""
    for name in ("model", "state_dict"):
        if name in content:
            state = tensors_of(content[name])
            if not state:
                raise WeightsError(f"{path}: its entry {name!r} is no state dict of tensors")
            return state
    state = tensors_of(content)
    if not state:
        entries = ", ".join(repr(str(name)) for name in list(content)[:6])
        raise WeightsError(
            f"{path} has entries {entries} and no state dict; known are 'model', 'state_dict', or "
            "the tensors themselves"
        )
    return state


def _check_complete(networks: PublishedNetworks, path: Path) -> None:
    if not networks.faults:
        return
    told = [
        f"{line.name} is {line.status}"
        if line.status != "shape"
        else f"{line.name} is {line.shape} and must be {line.expected}"
        for line in networks.faults[:3]
    ]
    more = f" and {len(networks.faults) - 3} more" if len(networks.faults) > 3 else ""
    raise WeightsError(
        f"{path} does not fit the network that it is taken for ({networks.layout}): "
        f"{'; '.join(told)}{more}; --report-only prints all lines, --set model.PART.NAME=VALUE "
        "says what the network is"
    )


def _as_ours(tensor: Tensor) -> Tensor:
    return tensor.float().contiguous() if tensor.is_floating_point() else tensor.contiguous()


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    broken = [n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{path}: {len(broken)} tensors hold values that are not finite, the first is "
            f"{broken[0]}; take an earlier checkpoint"
        )


def _method_of(content: Mapping[str, object], networks: PublishedNetworks) -> str:
    if networks.layout != "avid":
        return "supervised"
    return "cma" if _POSITIVES in tensors_of(content.get("train_criterion")) else "avid"


def _normalizer(criterion: Mapping[str, Tensor]) -> Tensor | None:
    """Mean of all entries of `avg_exp_score`, which are scalars or hold one value each."""
    values = [
        float(tensor.reshape(-1)[0])
        for name, tensor in criterion.items()
        if "avg_exp_score" in name and tensor.numel() == 1
    ]
    values = [value for value in values if value > 0]  # -1 is unset
    return torch.tensor(sum(values) / len(values)) if values else None


def _take_banks(
    criterion: Mapping[str, Tensor],
    tensors: dict[str, Tensor],
    source: BankSource | None,
    path: Path,
    notes: list[str],
) -> BankFacts | None:
    if source is None:
        rows = criterion.get("nce_average.view1_mem")
        if rows is not None and rows.ndim == 2:
            notes.append(
                f"the memory banks ({rows.shape[0]} rows) were left: their rows mean nothing "
                "without the authors' list of files; give it as --bank-list, and your shard set as "
                "--manifest"
            )
        return None
    theirs = {ours: criterion.get(name) for name, ours in _BANKS.items()}
    if any(bank is None or bank.ndim != 2 for bank in theirs.values()):
        raise WeightsError(
            f"{path} has no memory banks ({', '.join(_BANKS)} of train_criterion); import it "
            "without --bank-list"
        )
    aligned = align_banks(
        {name: bank for name, bank in theirs.items() if bank is not None},
        names=source.names,
        shards=source.shards,
    )
    tensors |= aligned.banks
    notes.append(
        f"banks: {aligned.num_matched} of the {aligned.num_sources} sources of "
        f"{source.shards.location} have a row of their own, the others a random one"
    )
    return BankFacts(
        num_rows=aligned.num_rows,
        num_random=aligned.num_rows - aligned.num_matched,
    )
