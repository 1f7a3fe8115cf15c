"""A sample as one picture: frames, waveform and log-mel on one time axis.

::

    key                                        title
    labels, duration, sizes                    facts
    [ f0 ][ f1 ][ f2 ][ f3 ][ f4 ][ f5 ]       frames, each centered on its own time
      |     |     |     |     |     |
    ~~~~~~~~^~~~~~~~~~~~~~~~~~~~~~~~~~~~~      waveform, a row a channel
    ################################### |      log-mel, a row a channel, with its color scale
    0     1     2     3     4     5     6 s    time axis
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from avdata.errors import ShardSetError
from avdata.schema import AUDIO_SUFFIX, FRAME_CODECS, LOGMEL_SUFFIX
from avdata.shards.picture_panels import (
    INK,
    QUIET,
    Label,
    LogMelPanel,
    draw_logmel,
    draw_waveform,
)
from avdata.shards.stored_frames import StoredFrames, open_frames
from avdata.shards.stored_sample import StoredSample
from avdata.shards.time_axis import TimeAxis

PLOT_WIDTH_PX = 1440
LEAST_MARGIN_PX = 92
"""Room for the labels left of the panels and the color scale right of them."""
FRAME_HEIGHT_PX = 116
MAX_FRAME_WIDTH_PX = 232
GAP_PX = 6
PANEL_GAP_PX = 14
HEADER_PX = 74
FOOTER_PX = 48
TICK_DISTANCE_PX = 90
MARKER = (214, 64, 69)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleContents:
    """The decoded fields of a sample; None for those it does not have."""

    key: str
    facts: str
    duration_s: float
    fps: float | None
    frames: StoredFrames | None
    audio: np.ndarray | None
    """int16 (c, n)."""
    sample_rate_hz: int | None
    logmel: LogMelPanel | None


def read_sample_contents(sample: StoredSample) -> SampleContents:
    """Everything of a sample that can be drawn.

    Raises:
        ShardSetError: It has no field that can be drawn, or one does not decode.
    """
    meta = sample.read_meta()
    frames = open_frames(sample)
    if not (frames or sample.has(AUDIO_SUFFIX) or sample.has(LOGMEL_SUFFIX)):
        allowed = ", ".join(codec.suffixes[0] for codec in FRAME_CODECS.values())
        raise ShardSetError(
            f"{sample.shard}: sample {sample.key} has members {list(sample.sample.members)}; a "
            f"picture needs frames with their index ({allowed}), {AUDIO_SUFFIX} or {LOGMEL_SUFFIX}"
        )
    fps = (sample.row.frame_fps if sample.row else None) or _number(meta, "fps")
    if not fps:
        frames = None
    audio, rate_hz = sample.read_audio() if sample.has(AUDIO_SUFFIX) else (None, None)
    logmel = sample.read_logmel() if sample.has(LOGMEL_SUFFIX) else None
    start_s, end_s = _number(meta, "decoded_start_s"), _number(meta, "decoded_end_s")
    if start_s is not None and end_s is not None and end_s > start_s:
        duration_s = end_s - start_s
    elif audio is not None and rate_hz:
        duration_s = audio.shape[1] / rate_hz
    elif frames and fps:
        duration_s = frames.count / fps
    else:
        raise ShardSetError(f"{sample.shard}: sample {sample.key} does not say how long it lasts")
    spec = sample.spec.logmel if sample.spec else None
    panel = None
    if logmel is not None:
        # without dataset.json the hop is the one that fills the clip
        column_s = duration_s / max(logmel.shape[1] - 1, 1)
        panel = LogMelPanel(
            values=logmel,
            column_s=spec.hop_samples / spec.sample_rate_hz if spec else column_s,
            spec=spec,
        )
    return SampleContents(
        key=sample.key,
        facts=_facts(meta, frames, fps, audio, rate_hz, logmel, duration_s),
        duration_s=duration_s,
        fps=fps,
        frames=frames,
        audio=audio,
        sample_rate_hz=rate_hz,
        logmel=panel,
    )


def draw_sample(contents: SampleContents) -> Image.Image:
    """RGB picture of a sample."""
    frame_px = _frame_size_px(contents)
    margin_px = max(LEAST_MARGIN_PX, frame_px[0] // 2 + 12)
    axis = TimeAxis(left_px=margin_px, width_px=PLOT_WIDTH_PX, duration_s=contents.duration_s)
    strip_px = frame_px[1] + PANEL_GAP_PX if contents.frames else 0
    wave_px = _rows_px(contents.audio, single_px=84, several_px=56)
    mel = contents.logmel
    mel_px = _rows_px(mel.values if mel else None, single_px=224, several_px=128)
    top_px = HEADER_PX
    picture = Image.new(
        "RGB",
        (axis.right_px + margin_px, top_px + strip_px + wave_px + mel_px + FOOTER_PX),
        "white",
    )
    draw = ImageDraw.Draw(picture)
    draw.text((24, 16), contents.key, INK, font=ImageFont.load_default(size=24))
    _fitted_text(draw, (24, 46), contents.facts, picture.width - 48)
    times_s: list[float] = []
    if contents.frames:
        times_s = _draw_strip(picture, axis, contents, frame_px, top_px)
        top_px += strip_px
    if contents.audio is not None and contents.sample_rate_hz:
        for c, channel in enumerate(contents.audio):
            height_px = wave_px // len(contents.audio) - PANEL_GAP_PX
            name = "sound" if len(contents.audio) == 1 else f"sound {c}"
            label = Label(text=name, top_px=top_px, height_px=height_px)
            draw_waveform(draw, axis, channel, contents.sample_rate_hz, label)
            top_px += height_px + PANEL_GAP_PX
    if mel is not None:
        for c in range(len(mel.values)):
            height_px = mel_px // len(mel.values) - PANEL_GAP_PX
            name = "log-mel" if len(mel.values) == 1 else f"log-mel {c}"
            label = Label(text=name, top_px=top_px, height_px=height_px)
            draw_logmel(picture, axis, mel, c, label)
            top_px += height_px + PANEL_GAP_PX
    _draw_markers(draw, axis, times_s, HEADER_PX + frame_px[1], top_px - PANEL_GAP_PX)
    _draw_time_axis(draw, axis, top_px - PANEL_GAP_PX + 4)
    return picture


def strip_indices(num_frames: int, *, px_per_frame: float, frame_width_px: int) -> list[int]:
    """Frames of a strip: evenly spaced from frame 0 on, as many as fit side by side."""
    stride = max(1, math.ceil((frame_width_px + GAP_PX) / px_per_frame))
    return list(range(0, num_frames, stride))


def _draw_strip(
    picture: Image.Image,
    axis: TimeAxis,
    contents: SampleContents,
    size_px: tuple[int, int],
    top_px: int,
) -> list[float]:
    """Paste frames centered on their times; returns those times."""
    assert contents.frames is not None and contents.fps is not None
    fps, times_s = contents.fps, []
    picked = strip_indices(
        contents.frames.count, px_per_frame=axis.px_per_s / fps, frame_width_px=size_px[0]
    )
    for k, pixels in zip(picked, contents.frames.read(picked), strict=True):
        frame = Image.fromarray(pixels).resize(size_px, Image.Resampling.LANCZOS)
        picture.paste(frame, (axis.x_px(k / fps) - size_px[0] // 2, top_px))
        times_s.append(k / fps)
    return times_s


def _frame_size_px(contents: SampleContents) -> tuple[int, int]:
    """Width and height of a frame in the strip; (0, 0) without frames."""
    if not contents.frames:
        return 0, 0
    height, width = contents.frames.read([0])[0].shape[:2]
    # portrait frames are taller, so that all have about the same area
    scale = min(
        MAX_FRAME_WIDTH_PX / width,
        FRAME_HEIGHT_PX * math.sqrt(max(1.0, height / width)) / height,
    )
    return max(1, round(width * scale)), max(1, round(height * scale))


def _rows_px(values: np.ndarray | None, *, single_px: int, several_px: int) -> int:
    if values is None:
        return 0
    height_px = single_px if len(values) == 1 else several_px
    return len(values) * (height_px + PANEL_GAP_PX)


def _draw_markers(
    draw: ImageDraw.ImageDraw, axis: TimeAxis, times_s: list[float], top_px: int, bottom_px: int
) -> None:
    """A notch under each frame at its time, and dots of it through the panels below."""
    for time_s in times_s:
        x = axis.x_px(time_s)
        draw.polygon([(x - 5, top_px + 9), (x + 5, top_px + 9), (x, top_px + 2)], MARKER)
        for y in range(top_px + 12, bottom_px, 7):
            draw.line([(x, y), (x, min(y + 2, bottom_px))], MARKER)


def _draw_time_axis(draw: ImageDraw.ImageDraw, axis: TimeAxis, top_px: int) -> None:
    font = ImageFont.load_default(size=14)
    draw.line([(axis.left_px, top_px), (axis.right_px, top_px)], INK)
    for time_s in axis.ticks_s(min_distance_px=TICK_DISTANCE_PX):
        x = axis.x_px(time_s)
        draw.line([(x, top_px), (x, top_px + 6)], INK)
        text = axis.tick_text(time_s, min_distance_px=TICK_DISTANCE_PX)
        draw.text((x, top_px + 9), text, INK, font=font, anchor="ma")
    draw.text((axis.right_px + 26, top_px + 9), "s", QUIET, font=font, anchor="la")


def _fitted_text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width_px: int) -> None:
    font = ImageFont.load_default(size=15)
    while draw.textlength(text, font=font) > width_px:
        text = f"{text[: max(len(text) * 9 // 10 - 4, 1)]} ..."
    draw.text(at, text, QUIET, font=font)


def _facts(
    meta: Mapping[str, object],
    frames: StoredFrames | None,
    fps: float | None,
    audio: np.ndarray | None,
    rate_hz: int | None,
    logmel: np.ndarray | None,
    duration_s: float,
) -> str:
    labels = meta.get("labels")
    parts = [", ".join(map(str, labels))] if isinstance(labels, list) and labels else []
    parts.append(f"{duration_s:.3f} s")
    if frames is not None:
        parts.append(f"{frames.count} frames at {fps:g} fps")
    if audio is not None:
        parts.append(f"{audio.shape[0]} ch at {rate_hz} Hz")
    if logmel is not None:
        parts.append(f"log-mel {logmel.shape[1]} x {logmel.shape[2]}")
    offset_s = _number(meta, "av_offset_s")
    if offset_s is not None:
        parts.append(f"sound starts {1000 * offset_s:+.1f} ms after the picture")
    return "   |   ".join(parts)


def _number(meta: Mapping[str, object], name: str) -> float | None:
    value = meta.get(name)
    return float(value) if isinstance(value, int | float) else None
