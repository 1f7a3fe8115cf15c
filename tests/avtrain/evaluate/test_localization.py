"""Localization end to end: a network whose map is brightness, on a set of one bright bar a clip.

The clips of the set have a bar of 40 x 48 px in a picture of 88 x 64, see `_Clip._jpeg` of the
conftest; its left end is (3 * frame + 5 * clip) % 48.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avdata import ShardSet
from avtrain.errors import DataError, RunError
from avtrain.evaluate.config import EvalConfig, LocalizationEvalConfig
from avtrain.evaluate.embed import EmbedOptions
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.localization import localization, set_maps
from avtrain.evaluate.options import EvalOptions
from avtrain.evaluate.result import EvalResult
from avtrain.methods import Method, MethodFacts, SyncConfig
from avtrain.models import FusedFeatures

CPU = torch.device("cpu")
SIDE_PX, WIDTH_PX, FPS = 64, 88, 16


class Brightness(nn.Module):
    """Its map is the mean brightness of 2 frames and 4 x 4 pixels while there is sound, else 0.

    `sign` -1 makes it speak against what is bright.
    """

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign

    def video_stem(self, frames: Tensor) -> Tensor:
        gray = (frames.amax(dim=1, keepdim=True) + 1) / 2
        return F.avg_pool3d(gray, (2, 4, 4))

    def fuse(self, stem: Tensor, sound: Tensor) -> FusedFeatures:
        loud = (sound.abs().amax(dim=(1, 2)) > 0.01).float()[:, None, None, None, None]
        scale2 = self.sign * stem * loud
        return FusedFeatures(scale0=stem, scale1=stem, scale2=scale2)

    def activation_map(self, scale2: Tensor) -> Tensor:
        return scale2


def frozen_of(shards: ShardSet, network: nn.Module) -> FrozenEncoders[Any]:
    config = SyncConfig.model_validate(
        {
            "view": {
                "clip_frames": 16, "fps": FPS, "min_shift_s": 0.5,
                "short_side_px": 64, "crop_px": 64,
            },
            "model": {"width": 4, "blocks_per_stage": 1},
        }
    )  # fmt: skip
    facts = MethodFacts(spec=shards.spec, where="set", trained_sources=None, seed=0, device=CPU)
    method = config.build(facts).eval()
    method.model = network
    return FrozenEncoders(method=method, device=CPU)


def left_px(clip: int, time_s: float) -> int:
    return (3 * int(time_s * FPS) + 5 * clip) % 48


def write_boxes(path: Path, *, clips: range, times_s: tuple[float, ...], far: bool = False) -> Path:
    """Boxes of the bar, and with `far` one of silence where the bar is not."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "time_s", "x0", "y0", "x1", "y1", "sounds"])
        for clip in clips:
            for time_s in times_s:
                left = left_px(clip, time_s)
                box = [left / WIDTH_PX, 8 / SIDE_PX, (left + 40) / WIDTH_PX, 56 / SIDE_PX]
                writer.writerow([f"clip-{clip:03d}", time_s, *box, 1])
                if far:
                    writer.writerow([f"clip-{clip:03d}", time_s, 0, 0, 1, 0.1, 0])
    return path


def measure(
    shard_set: Path, boxes: Path | None, network: nn.Module, *, batch_size: int = 4, **options: Any
) -> EvalResult:
    shards = ShardSet(shard_set)
    config = EvalConfig(
        localization=LocalizationEvalConfig(boxes=None if boxes is None else str(boxes))
    )
    return localization(
        frozen_of(shards, network),
        shards,
        EvalOptions(
            config=config,
            embed=EmbedOptions(batch_size=batch_size, loader_threads=2),
            **options,
        ),
    )


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def test_a_map_of_brightness_finds_the_bright_bar(shard_set: Path, tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "b.csv", clips=range(24), times_s=(1.05, 2.3), far=True)
    result = measure(shard_set, boxes, Brightness())
    assert result.num_samples == 8  # of split test
    assert result.metrics.keys() == result.chance.keys()
    found, chance = result.metrics, result.chance
    for form in ("", "signed/"):
        assert found[f"{form}pointing"] == 1
        assert found[f"{form}pointing/silent"] == 0
        # the bar moves by 3 of 88 pixels a frame, and a map is of 2 frames
        assert found[f"{form}adaptive/ciou"] == 1
        assert found[f"{form}adaptive/auc"] > 0.75
        assert found[f"{form}ciou"] == 1  # the bar is a third of the picture
        assert found[f"{form}auc"] == pytest.approx(0.67, abs=0.05)
        assert (found[f"{form}silent/ap"], found[f"{form}silent/max_f1"]) == (1, 1)
        # other sound is as loud: the map is the same, and the strength tells nothing
        assert found[f"{form}other/ap"] == pytest.approx(0.5)
        assert found[f"{form}other/max_f1"] == pytest.approx(2 / 3)
        # 16 of 48 moments are there to be found, 16 silent ones are told apart, 16 others not
        assert found[f"{form}located/ap"] == pytest.approx(0.5)
        assert found[f"{form}located/max_f1"] == pytest.approx(2 / 3)
    assert chance["pointing"] == pytest.approx(40 * 48 / (88 * 64), abs=0.01)
    assert chance["silent/ap"] == 0.5
    assert chance["silent/max_f1"] == pytest.approx(2 / 3)
    assert result.notes[0] == "16 moments of 8 samples in 16 clips"


def test_disagreement_is_evidence_in_magnitude_alone(shard_set: Path, tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "b.csv", clips=range(24), times_s=(1.05,))
    found = measure(shard_set, boxes, Brightness(sign=-1)).metrics
    assert found["pointing"] == 1
    assert found["signed/pointing"] == 0
    assert found["silent/ap"] == 1
    assert found["signed/silent/ap"] <= 0.5
    assert found["signed/silent/max_f1"] == pytest.approx(2 / 3)
    assert "pointing/silent" not in found


def test_numbers_are_the_same_for_any_batch(shard_set: Path, tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "b.csv", clips=range(24), times_s=(1.05, 2.3))
    one, other = (measure(shard_set, boxes, Brightness(), batch_size=n).metrics for n in (1, 16))
    assert one == pytest.approx(other)


def test_small_boxes_are_said(shard_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text("key,x0,y0,x1,y1\nclip-002,0.1,0.1,0.2,0.2\n")
    result = measure(shard_set, path, Brightness())
    assert "the boxes of 1 of 1 moments cover less than a quarter" in " ".join(result.notes)
    assert "7 of 8 samples have no box" in result.notes
    assert "1 moments have no other sound: there is no other source" in result.notes
    assert "other/ap" not in result.metrics


def test_what_is_missing_is_said(shard_set: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs boxes around what sounds: give --boxes FILE"):
        measure(shard_set, None, Brightness())
    path = tmp_path / "b.csv"
    path.write_text("key,x0,y0,x1,y1\nclip-999,0.1,0.1,0.2,0.2\n")
    with pytest.raises(DataError, match="no moment of the boxes lies in one of 8 samples"):
        measure(shard_set, path, Brightness())

    with pytest.raises(RunError, match="Method has none; evaluate a run of sync, or of a method"):
        set_maps(
            FrozenEncoders(method=Method(), device=CPU),
            ShardSet(shard_set),
            LocalizationEvalConfig(),
        )

    class Broken(Brightness):
        def activation_map(self, scale2: Tensor) -> Tensor:
            return scale2 / 0

    boxes = write_boxes(tmp_path / "b.csv", clips=range(24), times_s=(1.05,))
    with pytest.raises(RunError, match="map of sample clip-002 is not finite"):
        measure(shard_set, boxes, Broken())
