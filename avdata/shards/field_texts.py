"""How the fields of a shard set are stored, in words."""

from avdata.schema import AudioSpec, LogMelSpec, VideoSpec
from avdata.shards.summary import SetSummary

MAX_SIZES = 3
"""Frame sizes that are told; the others are counted."""


def field_texts(summary: SetSummary) -> dict[str, str]:
    """Field -> its rate, codec and sizes."""
    spec = summary.spec
    texts = {"meta": "json"}
    if spec.video:
        texts["frames"] = _video(spec.video, summary.frame_sizes)
    if spec.audio:
        texts["audio"] = _audio(spec.audio)
    if spec.logmel:
        texts["logmel"] = _logmel(spec.logmel)
    return texts


def _video(video: VideoSpec, frame_sizes: dict[str, int]) -> str:
    sizes = [f"{size} ({count})" for size, count in frame_sizes.items()]
    more = f" and {len(sizes) - MAX_SIZES} more sizes" if len(sizes) > MAX_SIZES else ""
    fps = "native fps" if video.fps == "native" else f"{video.fps:g} fps"
    codec = {
        "jpeg": f"jpeg quality {video.quality}",
        "h264": f"h264 crf {video.crf}, key frame every {video.gop_frames}",
        "copy": "packets as in the medium",
    }[video.codec]
    if video.tone_map != "none":
        codec += f", tone-mapped ({video.tone_map})"
    return f"{fps}, {codec}, {video.projection}, {', '.join(sizes[:MAX_SIZES])}{more}"


def _audio(audio: AudioSpec) -> str:
    return f"{audio.sample_rate_hz} Hz, {audio.layout}, flac"


def _logmel(spec: LogMelSpec) -> str:
    if spec.filterbank == "mel":
        bins = f"{spec.num_mels} {spec.mel_scale} mels of {spec.fmin_hz:g} to {spec.fmax_hz:g} Hz"
    else:
        bins = f"{spec.num_mels} {spec.filterbank} bins"
    hop_ms = 1000 * spec.hop_samples / spec.sample_rate_hz
    return (
        f"{bins}, n_fft {spec.n_fft}, window {spec.win_samples}, hop {spec.hop_samples} "
        f"({hop_ms:g} ms)"
    )
