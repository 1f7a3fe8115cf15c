"""Which files are taken for ambisonics, and what the manifest says of it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from avdata.cli import main
from avdata.config import LimitsConfig
from avdata.decode.clip import AudioFacts
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec

RATE_HZ = 48000


def write(path: Path, codec: str, layout: str, **options: str) -> Path:
    """A second of noise in `layout`, the first channel loudest."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout=layout, options=options)
        channels = len(stream.codec_context.layout.channels)
        noise = np.random.default_rng(0).normal(0, 0.05, (channels, RATE_HZ)).astype(np.float32)
        noise[1:] /= 3
        for start in range(0, RATE_HZ, 960):
            part = np.ascontiguousarray(noise[:, start : start + 960].T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def facts(path: Path, **audio: object) -> AudioFacts:
    spec = AudioSpec.model_validate({"layout": "foa", **audio})
    clip = decode_clip(
        path,
        start_s=None,
        end_s=None,
        video=None,
        audio=spec,
        clips=ClipsSpec(),
        limits=LimitsConfig(),
    )
    assert clip.audio is not None and clip.samples is not None
    assert clip.samples.shape[0] == spec.num_channels
    return clip.audio


@pytest.mark.parametrize(
    ("name", "codec", "layout", "options"),
    [
        ("family2.webm", "libopus", "ambisonic 1", {"mapping_family": "2"}),
        ("family255.webm", "libopus", "quad", {"mapping_family": "255"}),
        ("ambix.mp4", "aac", "4.0", {}),
        ("ambix.flac", "flac", "quad", {}),
        ("ambix.wav", "pcm_s16le", "4.0", {}),
    ],
)
def test_four_channels_without_another_word_are_ambisonics(
    name: str, codec: str, layout: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / name, codec, layout, **options)
    assert facts(path).ambisonic_form == "acn_sn3d"
    assert facts(path, ambisonic_order="fuma").ambisonic_form == "fuma"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("family1.webm", "libopus", {"mapping_family": "1"}),
        ("family1.opus", "libopus", {"mapping_family": "1"}),
        ("family1.mp4", "libopus", {"mapping_family": "1"}),
        ("family1.mkv", "libopus", {"mapping_family": "1"}),
        ("dolby.mp4", "ac3", {}),
        ("dolby.mkv", "eac3", {}),
    ],
)
@pytest.mark.parametrize("layout", ["quad", "5.1"])
def test_streams_that_name_loudspeakers_are_no_ambisonics(
    name: str, codec: str, options: dict[str, str], layout: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, codec, layout, **options)
    with pytest.raises(MediaError, match="the stream states that they are loudspeakers") as error:
        facts(path)
    assert error.value.reason == FailureReason.UNSUPPORTED_AUDIO_LAYOUT
    assert "or name the form by audio.ambisonic_order if the stream states it wrongly" in str(
        error.value
    )
    order = {"quad": "acn_sn3d", "5.1": "xyz0w0"}[layout]
    assert facts(path, ambisonic_order=order).ambisonic_form == order
    assert facts(path, layout="stereo").ambisonic_form is None


@pytest.mark.parametrize(
    ("name", "audio", "form"),
    [
        ("ambisonic_4ch_aac.mp4", {}, "acn_sn3d"),
        ("ambisonic_4ch_opus_mapping2.webm", {}, "acn_sn3d"),
        ("ambisonic_bformat_4ch_BF_rec3.ogg", {"ambisonic_order": "fuma"}, "fuma"),
        ("360_equirect_6ch_ground_truth.mp4", {}, "xyz0w0"),
        ("ambisonic_4ch_opus_mapping2.webm", {"layout": "mono"}, "acn_sn3d"),
        ("ambisonic_4ch_aac.mp4", {"layout": "mono"}, None),
        ("audio_5_1_opus.opus", {"layout": "stereo"}, None),
    ],
)
def test_real_files(shared_data: Path, name: str, audio: dict[str, str], form: str | None) -> None:
    assert facts(shared_data / "odd" / name, **audio).ambisonic_form == form


def test_surround_as_opus_is_rejected(shared_data: Path) -> None:
    with pytest.raises(MediaError, match="loudspeakers"):
        facts(shared_data / "odd" / "audio_5_1_opus.opus")


def test_the_form_is_a_column_of_the_manifest(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write(media / "ambix.mp4", "aac", "4.0")
    write(media / "speakers.webm", "libopus", "quad", mapping_family="1")
    words = ["build", "--source", media, "--out", tmp_path / "out", "--workers", 0]
    words += ["--set", 'fields=["audio"]', "--set", "audio.layout=foa"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [(row["media"], row["ambisonic_form"]) for row in rows] == [("ambix.mp4", "acn_sn3d")]
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert [row["reason"] for row in rejects] == ["unsupported_audio_layout"]
