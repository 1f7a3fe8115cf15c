"""A small checkpoint in the published layout, and tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avdata import ShardSet, build_settings
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import fit
from avtrain.methods import AVIDConfig
from avtrain.models import audio_visual_config, build_audio_visual

NUM_ROWS = 30
MakeRun = Callable[..., Path]


class _Silent:
    def started(self, step: int, num_steps: int) -> None: ...
    def stepped(self, step: int) -> None: ...
    def logged(self, line: object) -> None: ...


@pytest.fixture(scope="session")
def small_published() -> str:
    """Setting of networks with the names of the published ones, for `--set`."""
    return "model={video={depth=10,width=16},audio={width=16}}"


@pytest.fixture(scope="session")
def published_content(small_published: str) -> dict[str, object]:
    """A checkpoint of 30 instances: names of the published layout, networks as small as "tiny"."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = build_settings(AVIDConfig, {}, (small_published,))
        state = build_audio_visual(audio_visual_config(config.model)).state_dict()

    def bank() -> Tensor:
        rows = torch.randn(NUM_ROWS, 128, generator=generator)
        return torch.nn.functional.normalize(rows, dim=1)

    return {
        "epoch": 3,
        "model": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": {},
        "train_criterion": {
            "nce_average.view1_mem": bank(),
            "nce_average.view2_mem": bank(),
            "criterion.avg_exp_score": torch.tensor(2.5),
        },
    }


@pytest.fixture(scope="session")
def published_file(
    published_content: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That checkpoint as a file."""
    path = tmp_path_factory.mktemp("published") / "small.pth.tar"
    torch.save(published_content, path)
    return path


@pytest.fixture(scope="session")
def published_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its list of files: row r is source (7 r) % 30 of the shard set, which has 0 .. 23."""
    path = tmp_path_factory.mktemp("published") / "names.txt"
    names = [f"source-{7 * row % NUM_ROWS}_0_10000.mp4" for row in range(NUM_ROWS)]
    path.write_text("\n".join(names) + "\n")
    return path


@pytest.fixture(scope="session")
def make_run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Function that trains the tiny run with more settings, once for each, and returns its folder.

    Args of the function: settings as for `--set`, after those of the tiny run; `steps`.
    """
    made: dict[tuple[object, ...], Path] = {}
    base = (
        "seed=3",
        "data.batch_size=6",
        "data.split=train",
        "data.loader_threads=1",
        "avid.model=tiny",
        "avid.criterion.num_negatives=8",
        "avid.video.crop_px=32",
        "avid.video.clip_frames=4",
        "avid.audio.window_s=1.0",
        "avid.audio.frame_rate_hz=50",
        "schedule.max_steps=2",
        "log.tensorboard=false",
    )

    def make(*settings: str) -> Path:
        if settings not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            fit(
                ShardSet(shard_set),
                build_settings(FitConfig, {}, (*base, *settings)),
                run=out,
                resume=False,
                device=torch.device("cpu"),
                progress=_Silent(),
            )
            made[settings] = out
        return made[settings]

    return make
