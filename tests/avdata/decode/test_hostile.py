"""Files that are made to read other files or to open connections.

The traps that FFmpeg falls into are shown to work where nothing guards against them.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from avdata.config import LimitsConfig
from avdata.decode.media import open_media
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipsSpec, VideoSpec
from avdata.synthetic.movie import write_movie

SECRET_COLOR = (250, 20, 200)
"""Seen in a picture, it was read out of the secret file."""
SECRET_TEXT = "the-password-is-9c1f4e77"


class Listener:
    """A server on the loopback interface that counts who comes and says nothing."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.num_connections = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.num_connections += 1
            connection.close()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film, a subtitle and a text that nobody listed."""
    folder = tmp_path_factory.mktemp("hostile")
    picture = np.full((48, 64, 3), SECRET_COLOR, np.uint8)
    for name in ("secret.ts", "secret.mp4"):
        write_movie(
            folder / name,
            frames=(picture for _ in range(50)),
            frame_times_s=None,
            fps=Fraction(25),
            sound=None,
            sample_rate_hz=24000,
        )
    (folder / "secret.txt").write_text(SECRET_TEXT * 50)
    write_raw(folder / "secret.raw.mov", SECRET_COLOR)
    return folder


def write_raw(path: Path, color: tuple[int, int, int]) -> None:
    """A movie of raw pictures: two of them differ in the pixels alone."""
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), color, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _atom(data: bytes, path: list[bytes], start: int, end: int) -> tuple[list[int], int, int]:
    """Where the atom at `path` is: offsets of the sizes of all around it, its start, its end."""
    at = start
    while at < end:
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == path[0]:
            if len(path) == 1:
                return [at], at, at + size
            offsets, first, last = _atom(data, path[1:], at + 8, at + size)
            return [at, *offsets], first, last
        at += size
    raise AssertionError(f"no atom {path[0]!r}")


def with_reference(movie: bytes, name: str) -> bytes:
    """`movie` with a data reference (an alias record) that says its pictures lie in file `name`."""
    path = f"volume:{name}".encode()
    path += b"\0" * (len(path) % 2)
    record = (
        bytes(10) + b"\x06" + b"volume".ljust(27, b"\0") + bytes(12)
        + bytes([len(name)]) + name.encode().ljust(63, b"\0") + bytes(16)
        + struct.pack(">HH", 1, 1) + bytes(16)
        + struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)
    )  # fmt: skip
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    where = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"]
    sizes, start, end = _atom(movie, where, 0, len(movie))
    grown = bytearray(movie)
    grown[start + 16 : end] = alias  # after the head and the number of entries
    for offset in sizes:
        size = int.from_bytes(movie[offset : offset + 4], "big") + len(alias) - (end - start - 16)
        grown[offset : offset + 4] = size.to_bytes(4, "big")
    return bytes(grown)


HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{url}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{url}'\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"
 minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>
<AdaptationSet mimeType="video/mp4" contentType="video"><Representation id="0" bandwidth="9000"
 width="64" height="48" codecs="avc1.42c00d"><BaseURL>{url}</BaseURL>
<SegmentList duration="2"><SegmentURL media="{url}"/></SegmentList>
</Representation></AdaptationSet></Period></MPD>
"""
SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s={url}
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
"""
VOBSUB = """# VobSub index file, v7 (do not modify this line!)
size: 64x48
id: en, index: 0
timestamp: 00:00:00:000, filepos: 000000000
"""
SUBTITLE = "1\n00:00:00,000 --> 00:00:02,000\n{url}\n\n"
SUBTITLE_WEB = "WEBVTT\n\n00:00.000 --> 00:02.000\n{url}\n"
SMIL = '<?xml version="1.0"?><ASX version="3.0"><Entry><Ref href="{url}"/></Entry></ASX>'
REAL = "{url}\n"

TEXTS = {
    "hls": HLS,
    "ffconcat": CONCAT,
    "dash": DASH,
    "sdp": SDP,
    "vobsub": VOBSUB,
    "srt": SUBTITLE,
    "webvtt": SUBTITLE_WEB,
    "asx": SMIL,
    "ram": REAL,
}
TARGETS = (
    "secret.ts",
    "file://{folder}/secret.ts",
    "{folder}/secret.mp4",
    "http://127.0.0.1:{port}/a.ts",
)


def refusal(path: Path) -> MediaError:
    with pytest.raises(MediaError) as caught:
        decode_clip(
            path,
            start_s=None,
            end_s=None,
            video=VideoSpec(short_side_px=16),
            audio=None,
            clips=ClipsSpec(),
            limits=LimitsConfig(),
        )
    return caught.value


def plain_color(path: Path, options: dict[str, str]) -> tuple[int, ...]:
    """Mean color of the first picture as plain FFmpeg decodes the file, with `options`."""
    with av.open(str(path), options=options) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return tuple(picture.mean((0, 1)).round().astype(int))


def is_secret(color: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(color, SECRET_COLOR, strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_that_names_other_media_is_refused(
    kind: str, target: str, secret: Path, listener: Listener
) -> None:
    path = secret / f"{kind}.mp4"
    url = target.format(folder=secret, port=listener.port)
    path.write_text(TEXTS[kind].replace("{url}", url))
    (secret / f"{kind}.sub").write_bytes((secret / "secret.ts").read_bytes())
    error = refusal(path)
    assert error.reason in (FailureReason.FORMAT_NOT_ALLOWED, FailureReason.NOT_MEDIA)
    if kind in ("ffconcat", "sdp", "srt", "webvtt"):  # FFmpeg knows them by any name
        assert error.reason == FailureReason.FORMAT_NOT_ALLOWED
        assert "is not an allowed container" in error.message
    assert SECRET_TEXT not in error.message
    assert listener.num_connections == 0


@pytest.mark.parametrize(
    "name", ["list.m3u8", "list.mpd", "list.sdp", "list.ffconcat", "secret.txt"]
)
def test_an_honest_name_is_refused_too(name: str, secret: Path, listener: Listener) -> None:
    path = secret / name
    text = {"list.m3u8": HLS, "list.mpd": DASH, "list.sdp": SDP, "list.ffconcat": CONCAT}
    if name in text:
        path.write_text(text[name].replace("{url}", f"http://127.0.0.1:{listener.port}/a.ts"))
    assert refusal(path).reason in (FailureReason.FORMAT_NOT_ALLOWED, FailureReason.NOT_MEDIA)
    assert listener.num_connections == 0


def test_the_traps_are_real(secret: Path, listener: Listener) -> None:
    """Without the guards these texts do read the secret, and do call the server."""
    concat = secret / "control.mp4"
    concat.write_text(CONCAT.replace("{url}", "secret.ts"))
    assert is_secret(plain_color(concat, {}))
    playlist = secret / "control.m3u8"
    playlist.write_text(HLS.replace("{url}", "secret.ts"))
    assert is_secret(plain_color(playlist, {}))
    concat.write_text(CONCAT.replace("{url}", f"http://127.0.0.1:{listener.port}/a.ts"))
    with pytest.raises((av.FFmpegError, OSError)):
        plain_color(concat, {"safe": "0", "protocol_whitelist": "file,http,tcp"})
    assert listener.num_connections > 0


def test_a_data_reference_is_not_followed(secret: Path) -> None:
    own = (10, 200, 30)
    path = secret / "reference.mp4"
    write_raw(secret / "own.mov", own)
    path.write_bytes(with_reference((secret / "own.mov").read_bytes(), "secret.raw.mov"))
    assert is_secret(plain_color(path, {"enable_drefs": "1"})), "the trap is real"
    with open_media(path) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert all((picture == own).all() for picture in pictures)
    assert refusal(path).reason == FailureReason.OUTSIDE_MEDIA


@pytest.mark.parametrize("name", ["secret_%d.png", "secret_*.png", "concat:secret.ts|secret.ts"])
def test_names_that_stand_for_several_files_are_refused(name: str, secret: Path) -> None:
    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), SECRET_COLOR, np.uint8))
    for i in range(1, 4):
        picture.to_image().save(secret / f"secret_{i}.png")
    assert refusal(secret / name).reason in (
        FailureReason.FORMAT_NOT_ALLOWED,
        FailureReason.NOT_MEDIA,
    )
    if name == "secret_%d.png":
        assert is_secret(plain_color(secret / name, {})), "the trap is real"


def test_addresses_are_no_paths(listener: Listener) -> None:
    for address in (f"http://127.0.0.1:{listener.port}/a.mp4", f"tcp://127.0.0.1:{listener.port}"):
        refusal(Path(address))
        with pytest.raises(MediaError), open_media(Path(address.replace("//", "///"))):
            pass
    assert listener.num_connections == 0


def test_a_build_of_traps_holds_no_byte_of_the_secret(
    secret: Path, listener: Listener, tmp_path: Path
) -> None:
    """All traps in one folder, beside one honest movie, through the command that users call."""
    media = tmp_path / "media"
    media.mkdir()
    for kind, text in TEXTS.items():
        for i, target in enumerate(TARGETS):
            url = target.format(folder=secret, port=listener.port)
            (media / f"{kind}_{i}.mp4").write_text(text.replace("{url}", url))
    honest = np.full((48, 64, 3), (10, 200, 30), np.uint8)
    write_movie(
        media / "honest.mp4",
        frames=(honest for _ in range(50)),
        frame_times_s=None,
        fps=Fraction(25),
        sound=None,
        sample_rate_hz=24000,
    )
    out = tmp_path / "set"
    arguments = ["build", "--source", str(media), "--out", str(out), "--json", "--workers", "0"]
    arguments += ["--set", 'fields=["frames"]']
    done = subprocess.run(
        [sys.executable, "-c", "from avdata.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    rejects = pq.read_table(out / "rejects.parquet").to_pylist()
    assert (summary["ok"], summary["listed"]) == (1, len(rejects) + 1)
    assert len(rejects) == len(TEXTS) * len(TARGETS)
    assert {row["reason"] for row in rejects} <= {"format_not_allowed", "not_media"}
    stored = b"".join(path.read_bytes() for path in out.iterdir())
    assert SECRET_TEXT.encode() not in stored
    for name in ("secret.ts", "secret.mp4"):
        data = (secret / name).read_bytes()
        assert data[2000:2064] not in stored
    assert listener.num_connections == 0
