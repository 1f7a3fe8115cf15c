"""What a manifest row says of its sample, as names and sentences."""

from avdata.schema import ManifestRow
from avdata.shards.quantity_text import span_text

EVEN_S = 1e-5
"""Less jitter than this comes from how containers count time."""

SEEN_EXCESS_S = 0.25
"""A cut file that is longer than its span by less than this is as it should be."""


def row_facts(row: ManifestRow) -> list[tuple[str, str]]:
    """Where a sample is from, its times, what the medium was, what is stored, its verdicts."""
    return [*_origin(row), *_times(row), *_native(row), *_stored(row), *_verdicts(row)]


def _origin(row: ManifestRow) -> list[tuple[str, str]]:
    trimmed = ", taken as already cut to the listed span" if row.trimmed else ""
    if row.trimmed and row.excess_s is not None and row.excess_s >= SEEN_EXCESS_S:
        trimmed += f", {row.excess_s:.3f} s longer than it"
    facts = [
        ("media", f"{row.media}{trimmed}"),
        ("source", f"{row.source_id} (index {row.source_index}, its clip {row.clip_index})"),
        ("listed", f"line {row.line_number}, {span_text(row.listed_start_s, row.listed_end_s)}"),
    ]
    if row.split:
        facts.append(("split", row.split))
    return [*facts, *row.kept.items()]


def _times(row: ManifestRow) -> list[tuple[str, str]]:
    decoded = f"{span_text(row.decoded_start_s, row.decoded_end_s)}, {row.duration_s:.4f} s"
    facts = [("decoded", decoded)]
    if row.coverage < 1:
        facts.append(("coverage", f"{100 * row.coverage:.1f} % of the wanted span"))
    if row.padded_start_s or row.padded_end_s:
        padded = f"{row.padded_start_s:.3f} s at the start, {row.padded_end_s:.3f} s at the end"
        facts.append(("padded", padded))
    if row.truncated:
        facts.append(("truncated", "the medium breaks off inside the span"))
    if row.video_start_s is not None:
        facts.append(("video stream", span_text(row.video_start_s, row.video_end_s)))
    if row.audio_start_s is not None:
        facts.append(("audio stream", span_text(row.audio_start_s, row.audio_end_s)))
    if row.av_offset_s is not None:
        facts.append(("sound - picture", f"{1000 * row.av_offset_s:+.2f} ms"))
    return facts


def _native(row: ManifestRow) -> list[tuple[str, str]]:
    facts = []
    if row.video_codec:
        fps = f" at {row.native_fps:.3f} fps" if row.native_fps else ""
        uneven = row.native_jitter_s is not None and row.native_jitter_s >= EVEN_S
        jitter = f", uneven by {1000 * (row.native_jitter_s or 0):.2f} ms" if uneven else ""
        turned = f", turned by {row.rotation_deg} degrees" if row.rotation_deg else ""
        turned += ", mirrored" if row.mirrored else ""
        scan = ", interlaced" if row.interlaced else ""
        wide = row.pixel_aspect is not None and abs(row.pixel_aspect - 1) > 1e-6
        aspect = f", pixels {row.pixel_aspect:.4g} wide" if wide else ""
        size = f"{row.native_width_px}x{row.native_height_px}"
        facts.append(
            ("native video", f"{row.video_codec} {size}{fps}{jitter}{turned}{scan}{aspect}")
        )
    stated = {"matrix": row.color_matrix, "range": row.color_range, "transfer": row.color_transfer}
    if color := ", ".join(f"{name} {value}" for name, value in stated.items() if value):
        facts.append(("color as stated", color))
    if row.audio_codec:
        plural = "s" if row.native_channels != 1 else ""
        named = f" ({row.native_layout})" if row.native_layout else ""
        channels = f"{row.native_channels} channel{plural}{named}"
        facts.append(
            ("native audio", f"{row.audio_codec} {channels} at {row.native_sample_rate_hz} Hz")
        )
    if row.num_bad_packets:
        facts.append(("bad packets", str(row.num_bad_packets)))
    return facts


def _stored(row: ManifestRow) -> list[tuple[str, str]]:
    facts = []
    if row.num_frames:
        fps = f", {row.frame_fps:g} a second" if row.frame_fps else ""
        size = f"{row.frame_width_px}x{row.frame_height_px}"
        facts.append(("frames", f"{row.num_frames} of {size}{fps}"))
    if row.num_audio_samples:
        facts.append(("audio", f"{row.num_audio_samples} samples"))
    if row.num_logmel_columns:
        facts.append(("logmel", f"{row.num_logmel_columns} columns"))
    return facts


def _verdicts(row: ManifestRow) -> list[tuple[str, str]]:
    sound = ["none that can be heard"] if row.sound_missing else []
    if row.silence_fraction is not None:
        sound.append(f"silent {_percent(row.silence_fraction)}")
    if row.clipping_fraction is not None:
        sound.append(f"clipped {_percent(row.clipping_fraction)}")
    if row.dual_mono:
        sound.append("both channels the same")
    picture = []
    if row.still_fraction is not None:
        picture.append(f"still {_percent(row.still_fraction)}")
    if row.black_fraction is not None:
        picture.append(f"black {_percent(row.black_fraction)}")
    facts = [("sound verdict", ", ".join(sound))] if sound else []
    facts += [("picture verdict", ", ".join(picture))] if picture else []
    return [*facts, ("of use", f"{row.effective_duration_s:.2f} s neither silent nor black")]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
