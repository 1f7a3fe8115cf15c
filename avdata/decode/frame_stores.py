"""Where the frames of a clip go: a JPEG each, or H.264 in short groups of pictures."""

import io
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
import simplejpeg

from avdata.decode.clip import EncodedFrames, PictureVerdicts
from avdata.decode.picture import SMPTE170M, PictureScaler
from avdata.decode.picture_watch import PictureWatch
from avdata.schema import VideoSpec


class ClipFrames(Protocol):
    """Takes decoded pictures in order, gives back the stored frames."""

    scaler: PictureScaler

    def add(self, picture: av.VideoFrame) -> None:
        """The next frame shows a new picture."""
        ...

    def repeat(self) -> None:
        """The next frame shows the same picture again."""
        ...

    def encoded(self, num_frames: int) -> EncodedFrames:
        """The first `num_frames` frames."""
        ...

    def verdicts(self, num_frames: int) -> PictureVerdicts:
        """What was seen in the first `num_frames` frames."""
        ...


class JpegFrames:
    """A JPEG a frame, one behind the other."""

    def __init__(self, scaler: PictureScaler, spec: VideoSpec) -> None:
        self.scaler, self._quality = scaler, spec.quality
        self._watch = PictureWatch(limited_range=False)
        self._jpegs: list[bytes] = []

    def add(self, picture: av.VideoFrame) -> None:
        planes = self.scaler.planes(picture)
        self._watch.add(planes[0])
        self._jpegs.append(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=self._quality))

    def repeat(self) -> None:
        self._watch.repeat()
        self._jpegs.append(self._jpegs[-1])

    def encoded(self, num_frames: int) -> EncodedFrames:
        jpegs = self._jpegs[:num_frames]
        return _indexed(b"".join(jpegs), [0, *np.cumsum([len(jpeg) for jpeg in jpegs]).tolist()])

    def verdicts(self, num_frames: int) -> PictureVerdicts:
        return self._watch.verdicts(num_frames)


class H264Frames:
    """An mp4 of one video track: packet i is frame i, every `gop_frames`-th one a key frame.

    Key frames carry their parameter sets, so that a group can be decoded without the mp4's header.
    """

    def __init__(self, scaler: PictureScaler, spec: VideoSpec, *, fps: float) -> None:
        self.scaler, self._spec = scaler, spec
        self._rate = Fraction(fps).limit_denominator(1001)
        self._watch = PictureWatch(limited_range=True)
        self._last: av.VideoFrame | None = None
        self._file = io.BytesIO()
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._num_frames = 0
        self._packets: list[av.Packet] = []

    def add(self, picture: av.VideoFrame) -> None:
        planes = self.scaler.planes(picture)
        self._watch.add(planes[0])
        height, width = planes[0].shape
        flat = np.concatenate([plane.reshape(-1) for plane in planes])
        self._last = av.VideoFrame.from_ndarray(
            flat.reshape(height * 3 // 2, width), format="yuv420p"
        )
        self._encode()

    def repeat(self) -> None:
        self._watch.repeat()
        self._encode()

    def _encode(self) -> None:
        assert self._last is not None
        if self._stream is None:
            self._open(self._last.width, self._last.height)
            assert self._stream is not None
        frame = self._last
        frame.pts, frame.time_base = self._num_frames, 1 / self._rate
        frame.colorspace, frame.color_range = SMPTE170M, 1
        self._num_frames += 1
        self._packets += self._stream.encode(frame)

    def _open(self, width: int, height: int) -> None:
        spec = self._spec
        # no version strings, no times: equal frames are equal bytes
        self._container = av.open(
            self._file, "w", format="mp4", container_options={"fflags": "+bitexact"}
        )
        gop = spec.gop_frames
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt, self._stream.time_base = "yuv420p", 1 / self._rate
        self._stream.codec_context.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.options = {
            "crf": str(spec.crf),
            "preset": spec.preset,
            "bf": "0",
            "g": str(gop),
            "keyint_min": str(gop),
            "sc_threshold": "0",
            "forced-idr": "1",
            "x264-params": "repeat-headers=1:open-gop=0:colormatrix=smpte170m:range=tv:"
            "rc-lookahead=0:sync-lookahead=0:sliced-threads=0",
        }

    def encoded(self, num_frames: int) -> EncodedFrames:
        assert self._stream is not None and self._container is not None
        self._packets += self._stream.encode(None)
        for packet in self._packets[:num_frames]:
            self._container.mux(packet)
        self._container.close()
        data = self._file.getvalue()
        return _indexed(data, _packet_offsets(data))

    def verdicts(self, num_frames: int) -> PictureVerdicts:
        return self._watch.verdicts(num_frames)


def _packet_offsets(data: bytes) -> list[int]:
    """Where the packets of the one track lie in an mp4, and where the last one ends."""
    with av.open(io.BytesIO(data), "r") as container:
        places = [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]
    offsets = [pos for pos, _ in places] + [places[-1][0] + places[-1][1]]
    ends = [pos + size for pos, size in places]
    assert ends == offsets[1:], "the muxer left gaps between packets"
    return offsets


def _indexed(data: bytes, offsets: list[int]) -> EncodedFrames:
    if offsets[-1] > np.iinfo(np.uint32).max:
        raise ValueError(f"{offsets[-1]} bytes of frames in one sample; at most 4 GiB fit")
    return EncodedFrames(data=data, index=np.array(offsets, np.uint32), offsets=offsets)
