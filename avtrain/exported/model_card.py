"""The README.md of an export."""

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "video_model": "video network",
    "audio_model": "audio network",
    "video_proj": "video head",
    "audio_proj": "audio head",
}


def model_card(config: Mapping[str, Any], *, has_statistics: bool, num_parameters: int) -> str:
    """Markdown: what the networks are, what they take, how to use them.

    Args:
        config: `config.json`.
        has_statistics: The audio statistics are in the weights.
    """
    video, audio = config["video"], config["audio"]
    parts = ", ".join(_NAMES[part] for part in config["parts"])
    lines = [
        f"# {config['method']}: {parts}",
        "",
        f"{num_parameters / 1e6:.1f} M parameters. License: {config['license']}",
        "",
        "| input | shape | made of |",
        "|---|---|---|",
        f"| video | b, 3, {video['clip_frames']}, {video['side_px']}, {video['side_px']} | "
        f"{video['fps']:g} frames a second, RGB in [0, 1] less {video['mean']} over "
        f"{video['std']} |",
    ]
    if audio is not None:
        what = "log spectrogram in dB" if audio["kind"] == "spectrogram" else "log-mel"
        norm = (
            "mean and deviation of each bin taken out"
            if has_statistics
            else "mean and deviation of each bin must be taken out; they are not in the weights"
        )
        lines.append(
            f"| audio | b, 1, {audio['num_frames']}, {audio['num_bins']} | {audio['window_s']:g} s "
            f"at {audio['sample_rate_hz']} Hz, mono, as {what}, {norm} |"
        )
    lines += [
        "",
        "```python",
        "import avtrain",
        "",
        'video = avtrain.load_encoder("THIS FOLDER", modality="video")',
        "features = video(video.preprocess(frames))  # frames: uint8 (b, t, h, w, 3)",
    ]
    if "audio_model" in config["parts"]:
        lines += [
            'audio = avtrain.load_encoder("THIS FOLDER", modality="audio")',
            "features = audio(audio.preprocess(waveform))  # waveform: (b, n) in [-1, 1]",
        ]
    lines += ["```", "", "| origin | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in config["origin"].items()]
    if config["bank"] is not None:
        bank = config["bank"]
        lines += [
            "",
            f"The memory banks are with it: {bank['num_rows']} rows by source_index of the shard "
            f"set with fingerprint {config['dataset_fingerprint'][:12]}, {bank['num_random']} of "
            "them random.",
        ]
    return "\n".join(lines) + "\n"
