"""The stored log-mel against its twin on the device, a naive one in float64, and known answers."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from avdata.config import LOGMEL_PRESETS, BuildConfig, build_settings
from avdata.decode.media import open_media
from avdata.decode.sound import laid_out, to_stored
from avdata.errors import ConfigError
from avdata.features.device_logmel import log_mel
from avdata.features.log_spectrogram import LogSpectrogramSpec, limit_range, log_spectrogram
from avdata.features.logmel import (
    check_mel_bands,
    empty_bands_note,
    empty_mel_bands,
    stored_log_mel,
)
from avdata.schema import AudioSpec, LogMelSpec

LINEAR = LogMelSpec(filterbank="linear", num_mels=513)
AVID = LogMelSpec(**LOGMEL_PRESETS["avid"])
SPECS = {
    "default": LogMelSpec(),
    "slaney": LogMelSpec(mel_scale="slaney", fmin_hz=50, fmax_hz=11000, num_mels=80),
    "short window": LogMelSpec(n_fft=512, win_samples=401, hop_samples=160, num_mels=40),
    "linear": LINEAR,
    "avid": AVID,
    "avid_small": LogMelSpec(**LOGMEL_PRESETS["avid_small"]),
}


def assert_one_step(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to one step of float16 (nearer to 0 than 1: the step at 1).

    Single bins that lie 87 dB and more below their frame's loudest are left out: there the
    rounding of float32 FFTs shows, and two of them differ. Mel bands are sums: none is left out.
    """
    step = np.spacing(np.maximum(np.abs(want), 1).astype(np.float16)).astype(np.float32)
    apart = np.abs(got.astype(np.float32) - want.astype(np.float16).astype(np.float32)) > step
    assert not (apart & (want > want.max(axis=2, keepdims=True) - 20)).any()
    assert apart.mean() < (1e-2 if got.shape[2] in (129, 257, 513) else 1e-9)


def noise(num_channels: int = 1, num_samples: int = 30000, peak: int = 12000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(-peak, peak, (num_channels, num_samples)).astype(np.int16)


def naive(channel: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """One channel (n,), frame by frame, in float64; no filters."""
    padded = np.pad(channel / 32768, spec.n_fft // 2, mode="reflect")
    left = (spec.n_fft - spec.win_samples) // 2
    window = np.zeros(spec.n_fft)
    phase = 2 * np.pi * np.arange(spec.win_samples) / spec.win_samples
    window[left : left + spec.win_samples] = 0.5 - 0.5 * np.cos(phase)
    starts = range(0, len(channel) + 1, spec.hop_samples)
    return np.array([np.abs(np.fft.rfft(padded[s : s + spec.n_fft] * window)) ** 2 for s in starts])


@pytest.mark.parametrize("name", SPECS)
def test_equals_the_twin_on_the_device(name: str) -> None:
    spec = SPECS[name]
    samples = noise(num_channels=2)
    samples[1] //= 500
    got = stored_log_mel(samples, spec)
    want = log_mel(torch.from_numpy(samples.astype(np.float32) / 32768), spec).numpy()
    assert got.dtype == np.float16
    assert got.shape == want.shape == (2, spec.num_columns(30000), spec.num_mels)
    assert_one_step(got, want)


def test_equals_the_twin_on_real_clips(shared_data: Path) -> None:
    paths = sorted((shared_data / "clips").iterdir())
    assert len(paths) == 20
    audio = AudioSpec(layout="stereo")
    for path in paths:
        with open_media(path) as container:
            sound = laid_out(container.decode(audio=0))
        assert sound is not None
        wave = sound.runs[0]
        seconds = min(wave.end_s - wave.start_s, 4)
        samples = to_stored(
            wave, audio, start_s=wave.start_s, num_samples=round(seconds * audio.sample_rate_hz)
        )
        waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
        for spec in (LogMelSpec(), AVID, LINEAR):
            got, want = stored_log_mel(samples, spec), log_mel(waveform, spec).numpy()
            assert_one_step(got, want)


@pytest.mark.parametrize("name", ["default", "slaney", "short window"])
def test_equals_a_naive_one_with_torchaudios_filters(name: str) -> None:
    spec = SPECS[name]
    samples = noise(num_samples=5000)
    filters = torchaudio.functional.melscale_fbanks(
        n_freqs=spec.n_fft // 2 + 1,
        f_min=spec.fmin_hz,
        f_max=spec.fmax_hz,
        n_mels=spec.num_mels,
        sample_rate=spec.sample_rate_hz,
        mel_scale=spec.mel_scale,
    )
    mel = naive(samples[0], spec) @ filters.double().numpy()
    want = np.log(np.maximum(mel, spec.log_floor))
    np.testing.assert_allclose(stored_log_mel(samples, spec)[0], want, atol=0.01)


def test_linear_keeps_all_bins_and_avid_their_pairs() -> None:
    samples = noise(num_samples=5000)
    power = naive(samples[0], LINEAR)
    linear = stored_log_mel(samples, LINEAR)[0]
    np.testing.assert_allclose(linear, np.log(power), atol=0.02)
    pairs = [power[:, 0]] + [(power[:, i] + power[:, i + 1]) / 2 for i in range(1, 512, 2)]
    avid = stored_log_mel(samples, AVID)[0]
    assert avid.shape[1] == 257
    np.testing.assert_allclose(avid, np.log(np.stack(pairs, axis=1)), atol=0.02)


def test_a_tone_peaks_in_its_bin_and_silence_is_the_floor() -> None:
    time = np.arange(24000) / 24000
    tone = (20000 * np.sin(2 * np.pi * 3000 * time)).astype(np.int16)  # FFT bin 128
    samples = np.stack([tone, np.zeros_like(tone)])
    assert (stored_log_mel(samples, LINEAR)[0, 3:-3].argmax(axis=1) == 128).all()
    assert (stored_log_mel(samples, AVID)[0, 3:-3].argmax(axis=1) == 64).all()
    assert (stored_log_mel(samples, AVID)[1] == np.float16(np.log(1e-10))).all()


def test_a_whole_clip_of_avid_is_the_published_spectrogram() -> None:
    rng = np.random.default_rng(1)
    fading = rng.normal(0, 3000, 48000) * np.linspace(1, 0, 48000) ** 6
    fading[40000:] = 0  # silence: 100 dB below the loudest bounds it, not the power floor
    samples = np.stack([fading, rng.normal(0, 3000, 48000)]).astype(np.int16)
    stored = torch.from_numpy(stored_log_mel(samples, AVID))
    got = limit_range(stored[:, :200]) * (10 / np.log(10))
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
    want = log_spectrogram(waveform, spec=LogSpectrogramSpec())
    assert got.shape == want.shape == (2, 200, 257)
    # half a step of float16 between -32 and -16 is 0.034 dB
    torch.testing.assert_close(got, want, atol=0.06, rtol=0)
    assert got[0].max() - got[0].min() <= 100.001


def test_a_window_inside_a_clip_differs_only_at_its_edges() -> None:
    samples = noise(num_samples=96000)
    start = 100 * AVID.hop_samples
    window = torch.from_numpy(samples[:, start : start + 48000].astype(np.float32) / 32768)
    want = log_spectrogram(window, spec=LogSpectrogramSpec())
    stored = torch.from_numpy(stored_log_mel(samples, AVID))[:, 100:300]
    got = limit_range(stored) * (10 / np.log(10))
    # an FFT of 1024 reaches over 512 samples: 2.1 frames at either end
    torch.testing.assert_close(got[:, 3:-3], want[:, 3:-3], atol=0.06, rtol=0)


def test_bytes_do_not_depend_on_threads_and_torch_is_not_imported() -> None:
    program = (
        "import hashlib, sys, numpy as np\n"
        "from avdata.features.logmel import stored_log_mel\n"
        "from avdata.schema import LogMelSpec\n"
        "x = np.random.default_rng(0).integers(-9000, 9000, (2, 60000)).astype(np.int16)\n"
        "specs = [LogMelSpec(), LogMelSpec(filterbank='avid', num_mels=257)]\n"
        "data = b''.join(stored_log_mel(x, spec).tobytes() for spec in specs)\n"
        "print(hashlib.sha256(data).hexdigest(), 'torch' in sys.modules)\n"
    )
    seen = []
    for threads in ("1", "2"):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **dict.fromkeys(names, threads)},
            capture_output=True,
            text=True,
            check=True,
        )
        seen.append(done.stdout.split())
    assert seen[0] == seen[1]
    assert seen[0][1] == "False"


def test_a_worker_keeps_to_one_thread() -> None:
    program = (
        "import numpy, json\n"
        "from threadpoolctl import threadpool_info\n"
        "from avdata.features.logmel import use_one_thread\n"
        "use_one_thread()\n"
        "print(json.dumps([pool['num_threads'] for pool in threadpool_info()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    threads = json.loads(done.stdout)
    assert threads and set(threads) == {1}


def test_sound_too_short_to_reflect_is_refused() -> None:
    message = "waveform of 512 samples; n_fft=1024 needs more than 512"
    with pytest.raises(ValueError, match=message):
        stored_log_mel(np.zeros((1, 512), np.int16), LogMelSpec())
    with pytest.raises(ValueError, match=message):
        log_mel(torch.zeros(1, 512), LogMelSpec())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filterbank": "linear"}, "n_fft=1024 has 513 bins: set num_mels=513, not 128"),
        ({"filterbank": "avid"}, "n_fft=1024 has 257 bins: set num_mels=257, not 128"),
        ({"filterbank": "avid", "n_fft": 1026}, "n_fft=1026 must be a multiple of 4"),
        ({"n_fft": 1025}, "n_fft=1025 must be even"),
        ({"fmax_hz": 20000}, "half the sample rate"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        LogMelSpec.model_validate(settings)


def test_mel_settings_do_not_bind_a_filterbank_without_mels() -> None:
    spec = LogMelSpec(
        filterbank="linear", sample_rate_hz=8000, n_fft=256, win_samples=256, num_mels=129
    )
    assert stored_log_mel(noise(num_samples=8000), spec).shape == (1, 8000 // 240 + 1, 129)


@pytest.mark.parametrize("name", LOGMEL_PRESETS)
def test_every_preset_is_a_build_and_is_written_out(name: str) -> None:
    rate = LOGMEL_PRESETS[name].get("sample_rate_hz", 24000)
    config = build_settings(
        BuildConfig, {}, [f"logmel.preset={name}", f"audio.sample_rate_hz={rate}"]
    )
    assert config.logmel == LogMelSpec.model_validate(LOGMEL_PRESETS[name])
    assert "preset" not in config.model_dump()["logmel"]
    assert BuildConfig.model_validate(config.model_dump()) == config
    log = stored_log_mel(noise(num_samples=4000), config.logmel)
    assert log.shape[2] == config.logmel.num_mels
    heard = log.astype(np.float32) > np.log(config.logmel.log_floor) + 1
    assert heard.any(axis=(0, 1)).mean() > 0.85  # AST's lowest bands are narrower than a bin


@given(
    num_mels=st.integers(1, 300),
    n_fft=st.sampled_from([256, 512, 1000, 1024, 2048]),
    low=st.floats(0, 900),
    width=st.floats(50, 10000),
    scale=st.sampled_from(["htk", "slaney"]),
)
def test_empty_bands_are_those_of_torchaudios_filters(
    num_mels: int, n_fft: int, low: float, width: float, scale: str
) -> None:
    spec = LogMelSpec.model_validate(
        {
            "num_mels": num_mels,
            "n_fft": n_fft,
            "win_samples": n_fft,
            "fmin_hz": low,
            "fmax_hz": low + width,
            "mel_scale": scale,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so as well
        filters = torchaudio.functional.melscale_fbanks(
            n_freqs=n_fft // 2 + 1,
            f_min=low,
            f_max=low + width,
            n_mels=num_mels,
            sample_rate=24000,
            mel_scale=scale,
        )
    # float32: where a bin is at the corner of a band, its weight is rounding
    weights = filters.numpy().max(axis=0)
    empty = np.isin(np.arange(num_mels), empty_mel_bands(spec))
    clear = (weights == 0) | (weights > 0.01)
    assert (empty == (weights == 0))[clear].all()


def test_settings_that_leave_bands_empty_are_said_or_refused() -> None:
    spec = LogMelSpec(num_mels=256, n_fft=512, win_samples=512)
    with pytest.raises(ConfigError) as refused:
        check_mel_bands(spec)
    assert str(refused.value) == (
        "logmel: 38 of 256 mel bands hold no bin of the FFT (bands 0, 1, 2, 3, 6 ...) and will be "
        "log_floor in every clip; logmel.num_mels=88 or logmel.n_fft=2048 leaves none empty. At "
        "most 10 % of the bands may be empty"
    )
    for changes in ({"num_mels": 88}, {"n_fft": 2048}):
        assert empty_bands_note(spec.model_copy(update=changes)) is None
    for changes in ({"num_mels": 89}, {"n_fft": 1024}):
        assert empty_bands_note(spec.model_copy(update=changes)) is not None
    silent = stored_log_mel(noise(num_samples=4000), spec).astype(np.float32).max(axis=(0, 1))
    floor = np.float32(np.float16(np.log(spec.log_floor)))
    assert np.flatnonzero(silent == floor).tolist() == list(empty_mel_bands(spec))


@pytest.mark.parametrize("name", LOGMEL_PRESETS)
def test_no_preset_is_refused(name: str) -> None:
    spec = LogMelSpec.model_validate(LOGMEL_PRESETS[name])
    check_mel_bands(spec)
    assert len(empty_mel_bands(spec)) == (1 if name == "ast" else 0)


def test_settings_beside_a_preset_win() -> None:
    table: dict[str, object] = {"logmel": {"preset": "avid", "hop_samples": 480}}
    config = build_settings(BuildConfig, table, ["logmel.log_floor=1e-9"])
    assert config.logmel == AVID.model_copy(update={"hop_samples": 480, "log_floor": 1e-9})
    assert build_settings(BuildConfig, table, ["logmel.preset="]).logmel.num_mels == 128


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"logmel.preset='yamnet' is unknown; there are default, avid, avid_small"
    ):
        build_settings(BuildConfig, {}, ["logmel.preset=yamnet"])


def test_a_preset_of_another_rate_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"logmel.sample_rate_hz=16000 must equal"):
        build_settings(BuildConfig, {}, ["logmel.preset=ast"])
