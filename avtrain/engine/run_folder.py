"""A RUN: the folder of one training run.

::

    RUN/run.json                       RunRecord: settings, shard set, versions; its presence
                                       makes the folder a run
    RUN/checkpoints/step-00000100/     the last few checkpoints
    RUN/log.jsonl                      one line a log interval
    RUN/keys.jsonl                     one line a step, with log.keys = true
    RUN/tensorboard/                   the same numbers for TensorBoard
    RUN/profile/                       traces of single steps, with --profile
    RUN/.lock                          held while a command trains
"""

import importlib.metadata
import json
from pathlib import Path

from pydantic import ValidationError

from avdata import LOCK_NAME, DatasetSpec, Spec, atomic_file
from avtrain.engine.config import FitConfig, forbidden_changes
from avtrain.errors import RunError

RUN_VERSION = 1
RECORD_NAME = "run.json"
_SOFTWARE = ("avtoolkit", "torch", "torchvision", "numpy", "simplejpeg")


class RunRecord(Spec):
    """`run.json`: written before the first step."""

    run_version: int = RUN_VERSION
    config: FitConfig
    shards: str
    """Folder or URL of the shard set, as it was when the run started."""
    dataset_fingerprint: str
    """Hash of the build and of the samples in their order."""
    num_samples: int
    """Samples the run trains on."""
    init_sha256: str | None = None
    """Hash of the weights that the run started from."""
    spec: DatasetSpec
    """What the shard set was; how stored frames and sound were made."""
    software: dict[str, str]


_CHOOSE_SAMPLES = ("split", "where")
"""Settings of which another value looks like another shard set."""


def software_versions() -> dict[str, str]:
    """Versions of what shapes a run."""
    versions = {}
    for name in _SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def holds_run(run: Path) -> bool:
    """Whether there is a run in the folder."""
    return (run / RECORD_NAME).exists()


def check_vacant(run: Path) -> None:
    """Refuse a place that a new run cannot take.

    Raises:
        RunError: There is something else than an empty folder.
    """
    if run.exists() and (not run.is_dir() or any(p.name != LOCK_NAME for p in run.iterdir())):
        raise RunError(f"{run} exists and is not a run; give a new folder as --out")


def create_run(run: Path, record: RunRecord) -> None:
    """Write the record of a new run into its folder.

    Raises:
        RunError: There is a run, or something else.
    """
    check_vacant(run)
    with atomic_file(run / RECORD_NAME) as file:
        file.write((record.model_dump_json(indent=1) + "\n").encode())


def read_run(run: Path) -> RunRecord:
    """Record of the run in a folder.

    Raises:
        RunError: There is no run, or its record is damaged or of another version.
    """
    path = run / RECORD_NAME
    try:
        data = json.loads(path.read_bytes())
        version = data.get("run_version") if isinstance(data, dict) else None
        if version != RUN_VERSION:
            raise RunError(
                f"{path} has run version {version!r}; this avtrain reads {RUN_VERSION}. Use the "
                "avtrain release that wrote it"
            )
        return RunRecord.model_validate(data)
    except (FileNotFoundError, NotADirectoryError):
        seen = "has no run.json" if run.is_dir() else "is not a folder"
        raise RunError(
            f"{run} is not a run: it {seen}; give the folder that `avtrain fit --out` wrote"
        ) from None
    except (ValueError, ValidationError) as error:
        raise RunError(f"{path} is damaged: {error}") from None


def check_same_run(old: RunRecord, new: RunRecord, *, run: Path) -> None:
    """Refuse to go on with other data, or with settings that would make another run.

    Args:
        old: What the folder holds.
        new: What was asked for.
        run: The folder, for messages.

    Raises:
        RunError: The text names what differs.
    """
    choices = [
        f"data.{name}: {before!r} -> {after!r}"
        for name in _CHOOSE_SAMPLES
        if (before := getattr(old.config.data, name)) != (after := getattr(new.config.data, name))
    ]
    if old.dataset_fingerprint != new.dataset_fingerprint and not choices:
        raise RunError(
            f"{run} was trained on another shard set ({old.shards}, {old.spec.num_clips} "
            f"clips, fingerprint {old.dataset_fingerprint[:12]}) than {new.shards} (fingerprint "
            f"{new.dataset_fingerprint[:12]}); give that one, or start a new run with another --out"
        )
    if changes := forbidden_changes(old.config, new.config):
        raise RunError(
            f"{run} holds a run with other settings: {'; '.join(changes)}. Only lengths, logs, "
            f"checkpoints, the loader's settings and speed may change in a run: drop these to go "
            f"on with it (--resume takes the run's own settings), or start a new run with "
            f"another --out"
        )
