"""`avtrain localize`, `separate` and `sync` as a person runs them, with networks of one step."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from flash_and_beep import MOVIES, make
from movie_differences import added, differences, lag_s
from PIL import Image
from plain_decode import play
from pretend_cuda import PretendCuda

from avdata import LimitsConfig, media_facts, stream_pictures
from avtrain.cli import main

pytestmark = pytest.mark.usefixtures("one_torch_thread")
MakeShardSet = Callable[..., Path]
COMMON = (
    "schedule.max_steps=1",
    "data.batch_size=4",
    "data.loader_threads=1",
    "log.tensorboard=false",
    "compute.threads=1",
)
FUSED = "{width = 4, blocks_per_stage = 1, space_strides = [2, 1, 2, 2, 1], norm_decay = 0.9}"
METHODS: dict[str, tuple[str, ...]] = {
    "sync": (
        f"sync.model={FUSED}",
        "sync.view.clip_frames=16",
        "sync.view.fps=16",
        "sync.view.crop_px=32",
        "sync.view.min_shift_s=0.3",
    ),
    "separation": (
        f"separation.model={FUSED}",
        "separation.view.clip_frames=16",
        "separation.view.fps=16",
        "separation.view.crop_px=32",
        "separation.unet.width=4",
        "separation.unet.num_levels=5",
        "separation.spectrogram.window_samples=128",
        "separation.spectrogram.hop_samples=64",
        "separation.spectrogram.fft_samples=128",
        "separation.spectrogram.num_frames=112",
    ),
    "avid": (
        "avid.model=tiny",
        "avid.criterion.num_negatives=4",
        "avid.video.crop_px=32",
        "avid.audio.frame_rate_hz=50",
    ),
}


METHODS["blind"] = (
    *METHODS["separation"],
    "method=separation",
    "separation.use_video=false",
    "separation.objective=pit",
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def answer(*arguments: object) -> dict[str, Any]:
    done = invoke(*arguments, "--json")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def runs(make_shard_set: MakeShardSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of one step of each method, and one that was only begun."""
    folder = tmp_path_factory.mktemp("runs")
    heard = make_shard_set(
        num_clips=8, fields=("frames", "audio"), sample_rate_hz=8000, durations_s=(2.0,)
    )
    pairs = make_shard_set(num_clips=8, durations_s=(3.0,))
    found = {}
    for method, settings in METHODS.items():
        found[method] = folder / method
        texts = [part for text in (*COMMON, *settings) for part in ("--set", text)]
        shards = pairs if method == "avid" else heard
        named = () if method == "blind" else ("--method", method)
        done = invoke("fit", shards, "--out", found[method], *named, "--device", "cpu", *texts)
        assert done.exit_code == 0, done.output
    return found


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 s of flashes and beeps, 96x64, at 29.97 fps, with sound from 0.4 s on."""
    name = "B-frames, 29.97 fps, late audio"
    return make(tmp_path_factory.mktemp("media") / "movie", MOVIES[name])


def _num_pictures(path: Path) -> int:
    return sum(1 for _ in stream_pictures(path, LimitsConfig(), width_px=2, height_px=2))


def _same_length(out: Path, video: Path) -> None:
    given, made = media_facts(video, LimitsConfig()), media_facts(out, LimitsConfig())
    assert given.duration_s is not None and made.duration_s is not None
    assert made.duration_s == pytest.approx(given.duration_s, abs=1 / 29.97)
    assert _num_pictures(out) == _num_pictures(video)


@pytest.mark.parametrize("method", ["sync", "avid"])
def test_localize(method: str, runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    out, png = tmp_path / "out.mp4", tmp_path / "out.png"
    found = answer(
        "localize", runs[method], movie, "-o", out, "--png", png, "--min-positive", 0, "--signed"
    )
    _same_length(out, movie)
    assert {stretch["reason"] for stretch in found["withheld"]} <= {"silence"}
    assert found["shown_share"] > 0.5  # between the beeps there is silence
    assert found["end_s"] == pytest.approx(5.0, abs=0.04)
    spans = [(w["start_s"], w["end_s"]) for w in found["windows"]]
    assert spans[0][0] == 0 and all(b[0] < a[1] for a, b in pairwise(spans))
    for peak in found["peaks"]:
        assert 0 <= peak["x_px"] <= 96 and 0 <= peak["y_px"] <= 64 and peak["strength"] > 0
    assert found["png"] == (str(png) if found["peaks"] else None)
    assert png.exists() == bool(found["peaks"])


def test_localize_takes_an_export(runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    exported = tmp_path / "export"
    assert invoke("export", runs["avid"], "--out", exported).exit_code == 0
    found = [
        answer("localize", source, movie, "-o", tmp_path / "out.mp4", "--min-positive", 0)
        for source in (runs["avid"], exported)
    ]
    scores = [[window["score"] for window in one["windows"]] for one in found]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


def test_localize_says_why_there_is_no_map(
    runs: dict[str, Path], movie: Path, tmp_path: Path
) -> None:
    out, png = tmp_path / "out.mp4", tmp_path / "out.png"
    done = invoke("localize", runs["sync"], movie, "-o", out, "--png", png, "--min-positive", 1)
    assert done.exit_code == 0
    assert "0% of 5.00 s have a map" in done.output
    assert "sound does not go with the picture" in done.output
    assert f"no strong moment: {png} is not written" in done.output
    _same_length(out, movie)


def test_separate(runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    found = answer("separate", runs["separation"], movie, "-o", out)
    names = {"mixture.wav", "spectrograms.png", "metrics.json"}
    names |= {f"{part}.{kind}" for part in ("on-screen", "off-screen") for kind in ("wav", "mp4")}
    assert {path.name for path in out.iterdir()} == names
    for part in ("on-screen", "off-screen"):
        _same_length(out / f"{part}.mp4", movie)
    sounds = {p.stem: soundfile.read(p)[0] for p in out.glob("*.wav")}
    rest = sounds["mixture"] - sounds["on-screen"] - sounds["off-screen"]
    assert np.abs(rest).max() < 3e-4  # 16 bits
    assert found["mixture_error_db"] < -80 and found["sample_rate_hz"] == 8000
    assert found["num_channels"] == 1  # as the movie
    assert found["duration_s"] == pytest.approx(5.0, abs=0.03)
    assert json.loads((out / "metrics.json").read_text()) == {
        key: value for key, value in found.items() if key != "out"
    }
    with Image.open(out / "spectrograms.png") as picture:
        assert picture.width > 1000 and picture.height > 600


def test_separate_says_that_a_network_without_pictures_has_no_order(
    runs: dict[str, Path], movie: Path, tmp_path: Path
) -> None:
    assert answer("separate", runs["separation"], movie, "-o", tmp_path / "sees")["has_order"]
    done = invoke("separate", runs["blind"], movie, "-o", tmp_path / "blind", "--no-movies")
    assert done.exit_code == 0, done.output
    assert "does not know what is seen: which part is which means nothing" in done.output
    assert not json.loads((tmp_path / "blind" / "metrics.json").read_text())["has_order"]


def test_separate_by_halves_and_boxes(runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    half = answer("separate", runs["separation"], movie, "-o", tmp_path / "half", "--mask", "l")
    assert half["mask"] == "l"
    (_, pixels), *_ = stream_pictures(
        tmp_path / "half" / "on-screen.mp4", LimitsConfig(), width_px=96, height_px=64
    )
    np.testing.assert_allclose(pixels[:, :44].mean(), 128, atol=3)
    boxes = ("--box", "0,0,40,64", "--box", "50,0,40,64")
    both = answer(
        "separate", runs["separation"], movie, "-o", tmp_path / "both", *boxes, "--no-movies"
    )
    assert [t["name"] for t in both["tracks"]] == ["mixture", "person-1", "person-2", "rest"]
    assert {p.name for p in (tmp_path / "both").glob("*.wav")} == {
        "mixture.wav",
        "person-1.wav",
        "person-2.wav",
        "rest.wav",
    }
    assert both["movies"] == []


def test_sync(runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed.mkv"
    arguments = ("sync", runs["sync"], movie, "--max-offset", 0.4)
    found = answer(*arguments)
    assert found["tried_s"] == pytest.approx([-0.4, 0.4])
    assert -0.5 <= found["offset_s"] <= 0.5 and 0 <= found["confidence"] <= 1
    assert len(found["windows"]) == 5 and found["out"] is None
    done = invoke(*arguments, "-o", out)
    assert done.exit_code == (0 if found["sure"] else 1)
    assert out.exists() == found["sure"]
    if not found["sure"]:
        assert "not sure" in done.output and "is not written; --force writes it" in done.output
    forced = answer(*arguments, "-o", out, "--force")
    assert forced["copied"] == {"pictures": True, "sound": True}
    assert _num_pictures(out) == _num_pictures(movie)


WRONG = {
    "localize with separation": (
        ("localize", "separation", "movie", "-o", "out.mp4"),
        "separation is of method 'separation', which cannot do this; give a run of `sync`",
    ),
    "separate with sync": (
        ("separate", "sync", "movie", "-o", "out"),
        "which cannot do this; give a run of separation",
    ),
    "sync with avid": (("sync", "avid", "movie"), "which cannot do this; give a run of sync"),
    "no run": (("sync", "nowhere", "movie"), "nowhere"),
    "no video": (("sync", "sync", "nothing.mp4"), "nothing.mp4 is missing; give one video file"),
    "no folder": (
        ("localize", "sync", "movie", "-o", "no/out.mp4"),
        "there is no folder .*no for --out .*out.mp4; make it first",
    ),
    "suffix": (
        ("localize", "sync", "movie", "-o", "out.avi"),
        "the name must end with .mp4; change it",
    ),
    "png suffix": (
        ("localize", "sync", "movie", "-o", "out.mp4", "--png", "out.jpg"),
        "--png .*out.jpg: the name must end with .png",
    ),
    "fixed suffix": (
        ("sync", "sync", "movie", "-o", "out.webm"),
        "the name must end with .mkv or .mov or .mp4",
    ),
    "onto itself": (
        ("localize", "sync", "movie", "-o", "movie"),
        "is the video itself; give another name",
    ),
    "folder in the way": (
        ("localize", "sync", "movie", "-o", "folder.mp4"),
        "folder.mp4 is a folder; give a file name",
    ),
    "file in the way": (
        ("separate", "separation", "movie", "-o", "file"),
        "file is a file; give a folder",
    ),
    "no parent": (
        ("separate", "separation", "movie", "-o", "no/parts"),
        "there is no folder .*no for --out",
    ),
    "over the video": (
        ("separate", "separation", "movie", "-o", "."),
        "holds the video, which results could replace; give another folder",
    ),
    "an export": (
        ("sync", "export", "movie"),
        "is an export, which holds no such network; give a run of sync",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case: str, runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    arguments, text = WRONG[case]
    shutil.copy(movie, tmp_path / "video.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    if case == "an export":
        assert invoke("export", runs["avid"], "--out", tmp_path / "export").exit_code == 0
    command, run, video, *rest = arguments
    places = [tmp_path / "video.mp4" if x == "movie" else x for x in (video, *rest)]
    texts = [x if str(x).startswith("-") else tmp_path / x for x in places]
    done = invoke(command, runs.get(run, tmp_path / run), *texts)
    assert done.exit_code == 2, done.output
    message = " ".join(done.output.split())
    assert "avtrain: error:" in message and re.search(text, message), message
    assert not list(tmp_path.glob("*.partial*"))


ODD = {
    "no_audio_nasa_13013.mp4": "has no sound, [a-z ]+ needs pictures and sound; give a video",
    "no_video_nasa_13013.mp4": "has no pictures, [a-z ]+ needs pictures and sound",
    "audio_5_1_opus.opus": "has no pictures",
    "no_audio_rails_video.mp4": "has no sound",
    "zero_bytes.webm": r"cannot be used: .* \((not_media|format_not_allowed)\)",
    "not_media_3gpp.mp4": r"cannot be used: cannot be opened",
    "encrypted_cenc.mp4": r"none of its pictures decodes \(video_undecodable\)",
    "corrupt_bug604067.webm": r"none of its sound decodes \(audio_undecodable\)",
    "corrupt_fuzz_1181719.mp4": r"none of its pictures decodes",
    "corrupt_huge_frame_vp9.webm": r"pictures of 12336x12336",
}


@pytest.mark.parametrize("app", ["localize", "separate", "sync"])
@pytest.mark.parametrize("name", ODD)
def test_odd_files_get_a_clear_answer(
    name: str, app: str, runs: dict[str, Path], shared_data: Path, tmp_path: Path
) -> None:
    run, out = ("separation", "parts") if app == "separate" else ("sync", "out.mp4")
    done = invoke(app, runs[run], shared_data / "odd" / name, "-o", tmp_path / out)
    assert done.exit_code == 2, done.output
    assert name in done.output and re.search(ODD[name], " ".join(done.output.split()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PLAYED = (
    "clips/AVSBench_p04SYXuBSQ.mp4",  # 7 fps
    "clips/realshort.mp4",
    "odd/av1_10bit_opus.webm",
    "odd/sar_4_3_bipbop.mp4",
    "odd/mpeg2_ac3_start_1s.mpg",
    "odd/360_equirect_6ch_ground_truth.mp4",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYED)
def test_every_app_plays_odd_files(
    name: str, runs: dict[str, Path], shared_data: Path, tmp_path: Path
) -> None:
    video = shared_data / name
    overlay, parts, fixed = tmp_path / "out.mp4", tmp_path / "parts", tmp_path / "fixed.mkv"
    answer("localize", runs["sync"], video, "-o", overlay)
    answer("separate", runs["separation"], video, "-o", parts)
    found = answer("sync", runs["sync"], video, "-o", fixed, "--force", "--max-offset", 0.2)
    given = play(video)
    seen, rest = (play(parts / f"{part}.mp4") for part in ("on-screen", "off-screen"))
    for made in (play(overlay), seen, rest):
        assert not differences(given, made, earlier_s=0.0)
    moved = play(fixed)
    assert not differences(given, moved, earlier_s=found["offset_s"])
    for made, earlier_s in (
        (play(overlay), 0.0),
        (added([seen, rest]), 0.0),
        (moved, found["offset_s"]),
    ):
        assert lag_s(given, made, earlier_s=earlier_s) == pytest.approx(0.0, abs=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_answers(runs: dict[str, Path], movie: Path, tmp_path: Path) -> None:
    for method in ("sync", "avid"):
        arguments = ("localize", runs[method], movie, "-o", tmp_path / "out.mp4")
        both = [answer(*arguments, "--device", device) for device in ("cpu", "cuda")]
        scores = [[window["score"] for window in one["windows"]] for one in both]
        np.testing.assert_allclose(scores[0], scores[1], atol=2e-2)
    parts = [
        answer("separate", runs["separation"], movie, "-o", tmp_path / device, "--device", device)
        for device in ("cpu", "cuda")
    ]
    levels = [[track["level_db"] for track in one["tracks"]] for one in parts]
    np.testing.assert_allclose(levels[0], levels[1], atol=0.2)


def test_a_pretended_gpu_gives_the_same_answers(
    runs: dict[str, Path], movie: Path, tmp_path: Path, pretended_cuda: PretendCuda
) -> None:
    for method in ("sync", "avid"):
        arguments = ("localize", runs[method], movie, "-o", tmp_path / "out.mp4")
        both = [answer(*arguments, "--device", device) for device in ("cpu", "cuda")]
        scores = [[window["score"] for window in one["windows"]] for one in both]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    for device in ("cpu", "cuda"):
        answer("separate", runs["separation"], movie, "-o", tmp_path / device, "--device", device)
    both = [answer("sync", runs["sync"], movie, "--device", device) for device in ("cpu", "cuda")]
    assert both[0]["offset_s"] == pytest.approx(both[1]["offset_s"])
    assert pretended_cuda.storages
