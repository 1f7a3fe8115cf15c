"""Decoded frames to one waveform, and to the stored channels and rate."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from avdata.decode.media import open_media
from avdata.decode.sound import (
    Waveform,
    laid_out,
    mix,
    mono_loss_db,
    stored_sound,
    to_stored,
)
from avdata.errors import MediaError
from avdata.schema import AudioSpec

RATE_HZ = 8000


def frame(
    samples: np.ndarray, *, at: int | None = 0, format: str = "fltp", rate_hz: int = RATE_HZ
) -> av.AudioFrame:
    """A frame of samples (c, n) that starts at sample `at` of the media clock."""
    channels = samples.shape[0]
    layout = {1: "mono", 2: "stereo", 6: "5.1", 12: "7.1.4"}[channels]
    array = samples if format.endswith("p") else samples.T.reshape(1, -1)
    out = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), format=format, layout=layout)
    out.sample_rate = rate_hz
    out.time_base = Fraction(1, rate_hz)
    out.pts = at
    return out


def built(frames: Sequence[av.AudioFrame]) -> Waveform:
    sound = laid_out(frames)
    assert sound is not None
    assert len(sound.runs) == 1
    return sound.runs[0]


def ramp(start: int, stop: int, channels: int = 1) -> np.ndarray:
    """Samples that count: any that is lost, doubled or moved shows."""
    return np.tile(np.arange(start, stop, dtype=np.float32) / 2**20, (channels, 1))


@pytest.mark.parametrize(
    ("format", "dtype", "zero", "scale"),
    [
        ("u8", np.uint8, 128, 128),
        ("s16", np.int16, 0, 2**15),
        ("s32", np.int32, 0, 2**31),
        ("flt", np.float32, 0, 1),
        ("dbl", np.float64, 0, 1),
    ],
)
@pytest.mark.parametrize(
    ("planar", "channels"), [("", 1), ("", 2), ("", 12), ("p", 1), ("p", 2), ("p", 6)]
)
def test_every_sample_format_becomes_floats(
    format: str, dtype: type, zero: int, scale: int, planar: str, channels: int
) -> None:
    rng = np.random.default_rng(0)
    want = rng.integers(-100, 100, (channels, 333)) / 128
    wave = built([frame((want * scale + zero).astype(dtype), format=format + planar)])
    assert wave.samples.dtype == np.float32
    assert wave.samples.shape == (333, channels)
    assert len(wave.channel_names) == channels
    assert np.array_equal(wave.samples.T, want)


def test_many_planar_channels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.wv"
    want = np.random.default_rng(0).integers(-9000, 9000, (12, 4000)).astype(np.int16)
    with av.open(str(path), "w", format="wv") as container:
        stream = container.add_stream("wavpack", rate=RATE_HZ, layout="7.1.4", format="s16p")
        packed = frame(want, format="s16")
        for one in av.AudioResampler("s16p", "7.1.4", RATE_HZ).resample(packed):
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    assert {f.format.name for f in frames} == {"s16p"}
    assert np.array_equal(built(frames).samples.T * 32768, want)


def test_frames_in_a_row_are_joined_over_any_length() -> None:
    steps = [0, 1000, 1001, 350_000, 524_288, 524_289, 1_200_000]
    parts = [ramp(a, b, 2) for a, b in pairwise(steps)]
    wave = built([frame(part, at=at) for part, at in zip(parts, steps, strict=False)])
    assert np.array_equal(wave.samples.T, ramp(0, 1_200_000, 2))
    assert (wave.start_s, wave.end_s) == (0, 1_200_000 / RATE_HZ)


def test_gaps_become_silence_and_overlaps_are_cut() -> None:
    """Frames of 12.5 ms; 75 ms are missing before 5,600, and those from 7,000 on come twice."""
    before = [frame(ramp(at, at + 100), at=at) for at in range(4000, 5000, 100)]
    after = [frame(ramp(at, at + 100), at=at) for at in range(5600, 8000, 100)]
    again = [frame(ramp(at, at + 100), at=at) for at in range(7000, 10_000, 100)]
    wave = built([*before, *after, *again])
    want = ramp(4000, 10_000)
    want[:, 1000:1600] = 0
    assert wave.start_s == 0.5
    assert np.array_equal(wave.samples.T, want)


def test_times_that_drift_less_than_twenty_milliseconds_are_rounding() -> None:
    wave = built(
        [frame(ramp(0, 800)), frame(ramp(800, 1600), at=900), frame(ramp(1600, 1700), at=1500)]
    )
    assert np.array_equal(wave.samples.T, ramp(0, 1700))


def test_frames_without_times_follow_the_last_one() -> None:
    wave = built([frame(ramp(0, 100), at=800), frame(ramp(100, 200), at=None)])
    assert wave.start_s == 0.1
    assert np.array_equal(wave.samples.T, ramp(0, 200))
    assert built([frame(ramp(0, 100), at=None)]).start_s == 0


def test_frames_of_another_rate_or_layout_are_a_run_of_their_own() -> None:
    """100 ms at 8 kHz, 50 ms at 16 kHz that start at once, stereo that starts 30 ms late."""
    frames = [frame(ramp(0, 800)), frame(ramp(0, 800), at=1600, rate_hz=16000)]
    frames += [frame(ramp(at, at + 100, 2), at=1440 + at) for at in range(0, 1600, 100)]
    sound = laid_out(frames)
    assert sound is not None
    assert [(run.sample_rate_hz, len(run.channel_names)) for run in sound.runs] == [
        (8000, 1),
        (16000, 1),
        (8000, 2),
    ]
    assert [run.start_s for run in sound.runs] == pytest.approx([0, 0.1, 0.15])
    assert list(sound.gaps_s) == [pytest.approx((0.15, 0.18))]
    assert sound.end_s == pytest.approx(0.38)
    late = np.concatenate([np.zeros((2, 240), np.float32), ramp(0, 1600, 2)], axis=1)
    assert np.array_equal(sound.runs[2].samples.T, late)


def test_each_run_is_stored_at_its_place() -> None:
    """A tone of 440 Hz at 48 kHz, then at 44.1 kHz in stereo: at 24 kHz it goes on."""

    def tone(rate_hz: int, start_s: float, channels: int) -> av.AudioFrame:
        times = start_s + np.arange(2 * rate_hz) / rate_hz
        samples = np.tile(np.sin(2 * np.pi * 440 * times) / 2, (channels, 1))
        return frame(samples.astype(np.float32), at=round(start_s * rate_hz), rate_hz=rate_hz)

    sound = laid_out([tone(48000, 0, 1), tone(44100, 2, 2)])
    assert sound is not None
    got = stored_sound(sound, AudioSpec(), start_s=0.5, num_samples=3 * 24000)[0] / 32768
    want = np.sin(2 * np.pi * 440 * (0.5 + np.arange(3 * 24000) / 24000)) / 2
    seam = slice(round(1.49 * 24000), round(1.51 * 24000))
    off = np.abs(got - want)
    off[seam] = 0  # resamplers start and end there
    assert off[100:-100].max() < 2e-3


@pytest.mark.parametrize("seed", range(20))
def test_times_that_wander_by_a_packet_and_a_half_are_no_gaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    jitter = rng.uniform(-1.5, 1.5, 60) * 200  # packets of 25 ms
    frames = [
        frame(ramp(200 * i, 200 * (i + 1)), at=8000 + 200 * i + round(off))
        for i, off in enumerate(jitter)
    ]
    sound = laid_out(frames)
    assert sound is not None
    assert sound.gaps_s == ()
    assert np.array_equal(sound.runs[0].samples.T, ramp(0, 12000))
    assert sound.start_s == pytest.approx(1, abs=1.5 * 0.025)


@pytest.mark.parametrize("lost", [1, 2, 10])
def test_lost_packets_are_gaps_of_their_length(lost: int) -> None:
    kept = [i for i in range(60) if not 20 <= i < 20 + lost]
    sound = laid_out([frame(ramp(200 * i, 200 * (i + 1)), at=200 * i) for i in kept])
    assert sound is not None
    assert list(sound.gaps_s) == [pytest.approx((0.5, 0.5 + 0.025 * lost))]
    want = ramp(0, 12000)
    want[:, 4000 : 4000 + 200 * lost] = 0
    assert np.array_equal(sound.runs[0].samples.T, want)


def test_sound_is_laid_back_from_the_first_known_time() -> None:
    frames = [frame(ramp(100 * i, 100 * (i + 1)), at=None) for i in range(3)]
    frames += [frame(ramp(100 * i, 100 * (i + 1)), at=8000 + 100 * i) for i in range(3, 6)]
    sound = laid_out(frames)
    assert sound is not None
    assert sound.start_s == 1
    assert np.array_equal(sound.runs[0].samples.T, ramp(0, 600))


def test_a_clock_that_goes_back_is_refused_by_name() -> None:
    frames = [frame(ramp(0, 800), at=8000 + 800 * i) for i in range(20)]
    frames += [frame(ramp(0, 800), at=800 * i) for i in range(20)]
    with pytest.raises(MediaError, match=r"clock of its audio goes back from 3.000 s to 0.000 s"):
        laid_out(frames)


def test_what_a_mono_mix_loses() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 48000)).astype(np.float32) / 8

    def loss(left: np.ndarray, right: np.ndarray) -> float | None:
        return mono_loss_db(np.stack([left, right], axis=1), ("FL", "FR"))

    assert loss(noise[0], noise[0]) == pytest.approx(0, abs=1e-3)
    assert loss(noise[0], noise[1]) == pytest.approx(3.01, abs=0.1)
    assert loss(noise[0], -noise[0]) == 100
    assert loss(0 * noise[0], 0 * noise[0]) == 0
    assert mono_loss_db(noise[:1].T, ("FC",)) is None


def test_the_louder_channel_is_taken_where_channels_cancel() -> None:
    samples = np.random.default_rng(0).standard_normal((2400, 1)).astype(np.float32) / 8
    wave = Waveform(
        samples=np.concatenate([0.5 * samples, -samples, 4 * samples], axis=1),
        channel_names=("FL", "FR", "LFE"),
        sample_rate_hz=24000,
        start_s=0.0,
    )
    got = to_stored(wave, AudioSpec(mono="louder"), start_s=0.0, num_samples=2400)
    assert np.abs(got[0] / 32768 + samples[:, 0]).max() < 1e-4


def test_what_is_no_number_becomes_one() -> None:
    samples = np.array([[0.5, np.nan, np.inf, -np.inf, 1e300, -0.25]])
    wave = built([frame(samples, format="dblp")])
    assert wave.samples[:, 0].tolist() == [0.5, 0, 1, -1, 1, -0.25]


def test_nothing_decoded_is_no_waveform() -> None:
    assert laid_out([]) is None


def test_real_files_equal_a_plain_concatenation(shared_data: Path) -> None:
    """What PyAV's own arrays give, where a file has neither gaps nor overlaps."""
    paths = sorted((shared_data / "clips").iterdir())
    assert len(paths) == 20
    for path in paths:
        heard: list[av.AudioFrame] = []
        parts = []
        with open_media(path) as container:
            for one in container.decode(audio=0):
                heard.append(one)
                array = one.to_ndarray()
                channels = len(one.layout.channels)
                parts.append(array if one.format.is_planar else array.reshape(-1, channels).T)
        wave = built(heard)
        want = np.concatenate(parts, axis=1)
        if want.dtype.kind == "i":
            want = want / np.float32(-float(np.iinfo(want.dtype).min))
        assert np.array_equal(wave.samples.T, want), path.name


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("foa", 4)])
@pytest.mark.parametrize("rate_hz", [16000, 24000, 44100, 48000])
def test_resampling_in_blocks_is_resampling_at_once(
    layout: str, channels: int, rate_hz: int
) -> None:
    """One call of the same resampler is the reference."""
    samples = np.random.default_rng(0).normal(0, 0.4, (150_001, channels)).astype(np.float32)
    names = ("FL", "FR", "FC", "BC")[:channels] if channels > 1 else ("FC",)
    wave = Waveform(samples=samples, channel_names=names, sample_rate_hz=44100, start_s=0.0)
    spec = AudioSpec.model_validate({"layout": layout, "sample_rate_hz": rate_hz})
    count = len(samples) * rate_hz // 44100
    got = to_stored(wave, spec, start_s=0.0, num_samples=count)

    av_layout = {1: "mono", 2: "stereo", 4: "4.0"}[channels]
    whole = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=av_layout)
    whole.sample_rate = 44100
    resampler = av.AudioResampler("s16", av_layout, rate_hz)
    parts = [*resampler.resample(whole), *resampler.resample(None)]
    want = np.concatenate([p.to_ndarray().reshape(-1, channels) for p in parts])[:count].T
    assert got.dtype == np.int16
    assert got.shape == (channels, count)
    # the very last samples are the filter's tail, which is shorter by what it still lacks
    assert np.array_equal(got[:, : want.shape[1]], want)
    assert want.shape[1] >= count - 2


def test_a_part_of_a_waveform_starts_where_it_is_asked_to() -> None:
    samples = ramp(0, 48000).T * 16
    wave = Waveform(samples=samples, channel_names=("FC",), sample_rate_hz=24000, start_s=2.0)
    got = to_stored(wave, AudioSpec(), start_s=2.5, num_samples=4800)
    np.testing.assert_allclose(got[0] / 32768, samples[12000:16800, 0], atol=1.01 / 65536)
    late = to_stored(wave, AudioSpec(), start_s=3.9, num_samples=4800)
    assert not late[:, 2400:].any(), "silence stands for what is not there"
    assert not to_stored(wave, AudioSpec(), start_s=9.0, num_samples=100).any()


def test_samples_beyond_full_scale_saturate() -> None:
    samples = np.array([[1.5], [-1.5], [0.5]], np.float32)
    wave = Waveform(samples=samples, channel_names=("FC",), sample_rate_hz=24000, start_s=0.0)
    got = to_stored(wave, AudioSpec(), start_s=0.0, num_samples=3)
    assert got.tolist() == [[32767, -32768, 16384]]


def test_loudspeakers_are_mixed_by_their_side_and_lfe_is_left_out() -> None:
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")
    one_each = np.eye(6, dtype=np.float32)
    half = 0.5**0.5
    stereo = mix(one_each, names, "stereo")
    total = 1 + half + 1
    want = np.array([[1, 0], [0, 1], [half, half], [0, 0], [1, 0], [0, 1]]) / total
    np.testing.assert_allclose(stereo, want, atol=1e-6)
    np.testing.assert_allclose(mix(one_each, names, "mono")[:, 0], want.sum(axis=1) / 2, atol=1e-6)
    assert np.array_equal(mix(one_each[:, :1], ("FC",), "stereo"), np.repeat(one_each[:, :1], 2, 1))
    np.testing.assert_allclose(mix(one_each[:, :2], ("?", "?"), "mono")[:2], 0.5)
