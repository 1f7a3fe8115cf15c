"""First-order ambisonics: sources at known places, and files whose directions are known."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from avdata.decode.ambisonics import WYZX, AmbisonicOrder, foa_form, to_acn_sn3d
from avdata.decode.media import open_media
from avdata.decode.sound import Waveform, laid_out, mix, to_stored
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec
from avdata.shards.codec import decode_audio, encode_audio

FIVE_ONE = ("FL", "FR", "FC", "LFE", "BL", "BR")
FOUR = ("FL", "FR", "FC", "BC")
AMBISONIC = ("AMBI0", "AMBI1", "AMBI2", "AMBI3")


def decoded(path: Path) -> Waveform:
    with open_media(path) as container:
        sound = laid_out(container.decode(audio=0))
    assert sound is not None
    return sound.runs[0]


def stored(wave: Waveform, **audio: object) -> np.ndarray:
    spec = AudioSpec.model_validate({"sample_rate_hz": wave.sample_rate_hz, **audio})
    return to_stored(wave, spec, start_s=wave.start_s, num_samples=len(wave.samples))


def sources() -> tuple[np.ndarray, np.ndarray]:
    """Three noises in three directions: (n, 3), and unit vectors (3, xyz), front left up."""
    directions = np.radians([[30, 10], [-100, -40], [170, 60]])
    azimuth, elevation = directions.T
    unit = np.stack(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ],
        axis=1,
    )
    return np.random.default_rng(0).normal(0, 0.1, (4000, 3)).astype(np.float32), unit


def encoded() -> dict[str, np.ndarray]:
    """The same sound field as W, X, Y and Z of SN3D (Daniel 2000): W 1, X cos cos ..."""
    sound, unit = sources()
    x, y, z = (sound @ unit[:, i].astype(np.float32) for i in range(3))
    return {"w": sound.sum(axis=1), "x": x, "y": y, "z": z}


FORMS: dict[str, tuple[AmbisonicOrder, str, tuple[str, ...]]] = {
    "acn_sn3d": ("acn_sn3d", "w y z x", FOUR),
    "said by the stream": ("auto", "w y z x", AMBISONIC),
    "four channels": ("auto", "w y z x", ("FL", "FR", "BL", "BR")),
    "fuma": ("fuma", "w/ x y z", ("FL", "FR", "BL", "BR")),
    "hosted": ("auto", "x y w 0 z 0", FIVE_ONE),
    "xyz0w0": ("xyz0w0", "x y w 0 z 0", FIVE_ONE),
    "with head-locked stereo": ("auto", "w y z x 0 0", (*AMBISONIC, "FL", "FR")),
    "second order": ("acn_sn3d", "w y z x 0 0 0 0 0", tuple(f"AMBI{i}" for i in range(9))),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_becomes_acn_sn3d(name: str) -> None:
    order, channels, names = FORMS[name]
    field = encoded()
    field |= {"0": np.zeros_like(field["w"]), "w/": field["w"] / 2**0.5}
    samples = np.stack([field[c] for c in channels.split()], axis=1)
    before = samples.copy()
    got = to_acn_sn3d(samples, foa_form(samples, names, order))
    want = np.stack([field[c] for c in "wyzx"], axis=1)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert np.array_equal(samples, before), "arguments are left alone"


def test_the_test_video_sounds_where_its_picture_shows(shared_data: Path) -> None:
    """Its pictures show a piano at the left, a voice at the right and seagulls above, all along."""
    wave = decoded(shared_data / "odd" / "360_equirect_6ch_ground_truth.mp4")
    assert wave.channel_names == FIVE_ONE
    w, y, z, x = stored(wave, layout="foa").astype(np.float64) / 32768
    shares: dict[str, float] = {}
    window = np.hanning(4096)
    starts = range(0, len(w) - 4096, 2048)
    spectra = [
        np.array([np.fft.rfft(c[s : s + 4096] * window) for s in starts]) for c in (w, x, y, z)
    ]
    intensity = np.stack([np.real(np.conj(spectra[0]) * s) for s in spectra[1:]])
    energy = np.abs(spectra[0]) ** 2
    unit = intensity / np.maximum(np.linalg.norm(intensity, axis=0), 1e-12)
    near = np.cos(np.radians(20))
    for direction, place in {"left": (0, 1, 0), "right": (0, -1, 0), "above": (0, 0, 1)}.items():
        at = np.tensordot(place, unit, axes=1) > near
        shares[direction] = energy[at].sum() / energy.sum()
    assert shares["left"] > 0.35
    assert shares["right"] > 0.25
    assert shares["above"] > 0.15
    assert sum(shares.values()) > 0.95

    # piano notes hold their pitch, speech glides: the left beam is the steadier one
    def steadiness(beam: np.ndarray) -> float:
        frames = np.array([np.abs(np.fft.rfft(beam[s : s + 4096] * window))[:200] for s in starts])
        frames = frames[frames.sum(axis=1) > frames.sum(axis=1).max() / 20]
        frames /= np.linalg.norm(frames, axis=1, keepdims=True)
        return float(np.median((frames[4:] * frames[:-4]).sum(axis=1)))

    assert steadiness((w + y - z) / 2) > steadiness((w - y - z) / 2) + 0.1
    # gulls call above 1.5 kHz, the others sound below
    assert centroid_hz(z) > 1.4 * centroid_hz(w - z)


def centroid_hz(sound: np.ndarray, rate_hz: int = 48000) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / rate_hz)).sum() / power.sum())


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("ambisonic_4ch_aac.mp4", "auto"),
        ("ambisonic_4ch_opus_mapping2.webm", "auto"),
        ("ambisonic_bformat_4ch_BF_rec3.ogg", "fuma"),
        ("360_equirect_6ch_ground_truth.mp4", "auto"),
    ],
)
def test_real_files_hold_as_much_direction_as_pressure(
    shared_data: Path, name: str, order: str
) -> None:
    """In SN3D the energies of X, Y and Z together are W's for any sum of distant sources."""
    foa = stored(decoded(shared_data / "odd" / name), layout="foa", ambisonic_order=order)
    assert foa.shape[0] == 4
    w, y, z, x = np.square(foa.astype(np.float64)).sum(axis=1)
    assert 0.6 < (x + y + z) / w < 1.3


def test_b_format_taken_for_acn_has_too_little_pressure(shared_data: Path) -> None:
    wave = decoded(shared_data / "odd" / "ambisonic_bformat_4ch_BF_rec3.ogg")
    w, y, z, x = np.square(stored(wave, layout="foa").astype(np.float64)).sum(axis=1)
    assert (x + y + z) / w > 2


def test_streams_that_say_so_keep_their_channels(shared_data: Path) -> None:
    wave = decoded(shared_data / "odd" / "ambisonic_4ch_opus_mapping2.webm")
    assert wave.channel_names == AMBISONIC
    got = stored(wave, layout="foa")
    np.testing.assert_allclose(got.T / 32768, wave.samples, atol=2 / 32768)


def test_mono_is_w_and_stereo_two_cardioids() -> None:
    field = encoded()
    wyzx = np.stack([field[c] for c in "wyzx"], axis=1)
    assert np.array_equal(mix(wyzx, AMBISONIC, "mono", "acn_sn3d")[:, 0], field["w"])
    left, right = mix(wyzx, AMBISONIC, "stereo", "acn_sn3d").T
    np.testing.assert_allclose(left, (field["w"] + field["y"]) / 2, atol=1e-6)
    np.testing.assert_allclose(right, (field["w"] - field["y"]) / 2, atol=1e-6)
    b_format = np.stack([field[c] for c in "wxyz"], axis=1)
    np.testing.assert_allclose(
        mix(b_format, FOUR, "stereo", "fuma"), mix(b_format[:, [0, 2, 3, 1]] * [2**0.5, 1, 1, 1],
        FOUR, "stereo", "acn_sn3d"), atol=1e-6,
    )  # fmt: skip


def test_a_source_at_the_left_is_heard_at_the_left_only() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 9600).astype(np.float32)
    silence = np.zeros_like(sound)
    wave = Waveform(
        samples=np.stack([sound, sound, silence, silence], axis=1),
        channel_names=AMBISONIC,
        sample_rate_hz=48000,
        start_s=0.0,
    )
    left, right = stored(wave, layout="stereo")
    assert np.abs(left).max() > 5000
    assert np.abs(right).max() <= 1


def test_settings_name_the_form_of_unmarked_media_for_mono_and_stereo_too() -> None:
    field = encoded()
    silence = np.zeros_like(field["w"])
    hosted = Waveform(
        samples=np.stack([field[c] if c != "0" else silence for c in "xyw0z0"], axis=1),
        channel_names=FIVE_ONE,
        sample_rate_hz=24000,
        start_s=0.0,
    )
    mono = stored(hosted, ambisonic_order="xyz0w0")[0]
    np.testing.assert_allclose(mono / 32768, field["w"], atol=2 / 32768)
    assert not np.allclose(stored(hosted)[0], mono), "unmarked channels are loudspeakers"


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000, 88200, 96000, 192000])
@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("foa", 4)])
def test_any_layout_and_rate_is_flac(rate_hz: int, layout: str, channels: int) -> None:
    field = encoded()
    wave = Waveform(
        samples=np.stack([field[c] for c in "wyzx"], axis=1),
        channel_names=AMBISONIC,
        sample_rate_hz=48000,
        start_s=0.0,
    )
    spec = AudioSpec.model_validate({"sample_rate_hz": rate_hz, "layout": layout})
    samples = to_stored(wave, spec, start_s=0.0, num_samples=rate_hz // 20)
    data = encode_audio(samples, rate_hz)
    assert data.startswith(b"fLaC")
    back, back_hz = decode_audio(data)
    assert back_hz == rate_hz
    assert back.shape == (channels, rate_hz // 20)
    assert np.array_equal(back, samples)


def test_w_of_fuma_saturates_and_says_how_much(caplog: pytest.LogCaptureFixture) -> None:
    samples = np.zeros((1000, 4), np.float32)
    samples[:, 0] = 0.5
    samples[:10, 0] = 0.9
    wave = Waveform(samples=samples, channel_names=FOUR, sample_rate_hz=24000, start_s=0.0)
    with caplog.at_level(logging.WARNING):
        w = stored(wave, layout="foa", ambisonic_order="fuma")[0]
    assert (w[:10] == 32767).all()
    assert abs(int(w[500]) - round(0.5 * 2**0.5 * 32768)) <= 1
    assert "passes full scale by up to 2.1 dB in SN3D: 0.01 of its samples saturate" in caplog.text


def refused(samples: np.ndarray, names: tuple[str, ...], order: AmbisonicOrder = "auto") -> str:
    with pytest.raises(MediaError) as caught:
        foa_form(samples, names, order)
    assert caught.value.reason == FailureReason.UNSUPPORTED_AUDIO_LAYOUT
    assert "are no first-order ambisonics; audio.layout='foa' takes" in caught.value.message
    assert "use audio.layout='mono' or 'stereo'" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("names", [("FC",), ("FL", "FR"), FIVE_ONE[:5], (*FIVE_ONE, "SL", "SR")])
def test_other_numbers_of_channels_are_refused(names: tuple[str, ...]) -> None:
    message = refused(np.ones((100, len(names)), np.float32), names)
    assert f"{len(names)} channels ({' '.join(names)}; " in message


def test_loudspeakers_are_refused(shared_data: Path) -> None:
    for path in ("odd/audio_5_1_opus.opus", "clips/bbb_5.1.mp4"):
        wave = decoded(shared_data / path)
        assert "BR not silent: loudspeakers" in refused(wave.samples, wave.channel_names)
    stereo_in_5_1 = np.zeros((1000, 6), np.float32)
    stereo_in_5_1[:, :2] = np.random.default_rng(0).normal(0, 0.1, (1000, 2))
    assert "FC too quiet for the W of the others" in refused(stereo_in_5_1, FIVE_ONE)


def test_a_form_that_does_not_fit_the_channels_is_refused() -> None:
    assert "audio.ambisonic_order='fuma'" in refused(np.ones((9, 6), np.float32), FIVE_ONE, "fuma")
    assert "'xyz0w0'" in refused(np.ones((9, 4), np.float32), FOUR, "xyz0w0")
    refused(np.ones((9, 1), np.float32), ("AMBI0",))


def test_silence_is_ambisonics_of_any_form() -> None:
    silence = np.zeros((1000, 6), np.float32)
    assert foa_form(silence, FIVE_ONE, "auto") == "xyz0w0"
    assert not to_acn_sn3d(silence, "xyz0w0").any()
    assert foa_form(silence[:0], FIVE_ONE, "auto") == "xyz0w0"


def test_ffmpeg_still_orders_five_one_as_the_table_says() -> None:
    assert [channel.name for channel in av.AudioLayout("5.1").channels] == list(FIVE_ONE)
    assert [FIVE_ONE[i] for i in WYZX["xyz0w0"]] == ["FC", "FR", "BL", "FL"]
