"""Results kept beside the run that they are of: `RUN/eval/TASK-SET-0123abcd.json`."""

import hashlib
import json
import logging
import re
from pathlib import Path

from pydantic import ValidationError

from avdata import ShardSet, Spec, atomic_file
from avtrain.data.samples import dataset_fingerprint
from avtrain.errors import RunError
from avtrain.evaluate.config import EvalConfig
from avtrain.evaluate.result import EvalResult, TaskName
from avtrain.evaluate.tasks import EvalOptions
from avtrain.methods import Modality

logger = logging.getLogger(__name__)

RESULTS_NAME = "eval"
RESULT_VERSION = 1


class ResultRecord(Spec):
    """One file: the numbers, and all that they depend on."""

    version: int = RESULT_VERSION
    run: str
    """Name of the run's folder."""
    step: int | None
    """Steps that it was trained; None for an exported folder."""
    random: bool
    """Of new weights: a baseline."""
    weights: str
    """Hash of networks and input statistics."""
    task: TaskName
    encoder: Modality | None
    shards: tuple[str, ...]
    shards_fingerprint: str
    split: str | None
    train_split: str
    folds_asked: tuple[str, ...]
    where: str | None
    windows: int
    settings: dict[str, object]
    """Settings of the task."""
    metrics: dict[str, float]
    chance: dict[str, float]
    num_samples: int
    folds: dict[str, dict[str, float]]
    notes: tuple[str, ...]
    seconds: float

    @property
    def set_name(self) -> str:
        """The sets as people call them."""
        return "+".join(_short_name(where) for where in self.shards)

    @property
    def file_name(self) -> str:
        """One name for one question: the same again takes the place of the earlier answer."""
        encoder = f"-{self.encoder}" if self.encoder else ""
        kind = "-random" if self.random else ""
        asked = [self.shards_fingerprint, self.split, self.train_split, self.folds_asked]
        digest = hashlib.sha256(json.dumps([*asked, self.where]).encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9_.+-]", "_", self.set_name)[:80]
        return f"{self.task}{encoder}-{name}{kind}-{digest}.json"


def make_record(
    result: EvalResult,
    sets: list[ShardSet],
    options: EvalOptions,
    *,
    run: Path,
    step: int | None,
    is_random: bool,
    weights: str,
    seconds: float,
) -> ResultRecord:
    """The record of a result."""
    fingerprints = "\0".join(dataset_fingerprint(shards) for shards in sets)
    return ResultRecord(
        run=run.resolve().name,
        step=step,
        random=is_random,
        weights=weights,
        task=result.task,
        encoder=result.encoder,
        shards=tuple(str(shards.location) for shards in sets),
        shards_fingerprint=hashlib.sha256(fingerprints.encode()).hexdigest(),
        split=options.split,
        train_split=options.train_split,
        folds_asked=options.folds,
        where=options.where,
        windows=options.embed.num_windows,
        settings=task_settings(options.config, result.task),
        metrics=result.metrics,
        chance=result.chance,
        num_samples=result.num_samples,
        folds=result.folds,
        notes=result.notes,
        seconds=round(seconds, 3),
    )


def task_settings(config: EvalConfig, task: TaskName) -> dict[str, object]:
    """What of the settings a task goes by."""
    own = getattr(config, task, None)
    return {"seed": config.seed, **(own.model_dump(mode="json") if own is not None else {})}


def write_result(run: Path, record: ResultRecord) -> Path | None:
    """File of a result beside its run; None where that cannot be written."""
    path = run / RESULTS_NAME / record.file_name
    try:
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as file:
            file.write((record.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        logger.warning("the result is not kept: %s cannot be written (%s)", path, error.strerror)
        return None
    return path


def read_results(run: Path) -> list[ResultRecord]:
    """All results kept beside a run, by file name.

    Raises:
        RunError: The folder has none, or one is damaged.
    """
    records = []
    for path in sorted((run / RESULTS_NAME).glob("*.json")):
        try:
            records.append(ResultRecord.model_validate_json(path.read_bytes()))
        except (ValidationError, OSError) as error:
            raise RunError(
                f"{path} is damaged ({str(error).splitlines()[0]}); delete it and evaluate again"
            ) from None
    if not records:
        raise RunError(
            f"{run} has no results; measure it with `avtrain eval {run} SHARDS --task knn`"
        )
    return records


def _short_name(where: str) -> str:
    return where.rstrip("/").rpartition("/")[2] or where
