"""Make the clips of the build benchmark out of real footage.

    python benchmarks/make_media.py SOURCES MEDIA [--clips 20]

Ten seconds each, 30 fps, H.264 (x264 medium, crf 23, groups of 250, B-frames) with AAC stereo: what
a web download looks like; `--clips` of 640x360 and as many of 1280x720. SOURCES holds movies with
sound, of any length (shorter ones are looped) and about the wanted height; every clip pans and
zooms over its source in its own way, so that no two are alike. With `--codecs` also ten seconds at
640x360 in VP9, AV1 and HEVC, at a variable rate, and ten minutes to cut clips from.
"""

import argparse
import json
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg

SECONDS = 10
SIZES = {"360": (640, 360), "720": (1280, 720)}
MIN_SHARE_OF_HEIGHT = 0.65
CODECS = {
    "vp9": (
        "webm",
        ["-c:v", "libvpx-vp9", "-b:v", "900k", "-deadline", "realtime", "-cpu-used", "6"],
    ),
    "av1": ("mp4", ["-c:v", "libsvtav1", "-preset", "10", "-crf", "35"]),
    "hevc": (
        "mp4",
        ["-c:v", "libx265", "-preset", "fast", "-crf", "26", "-x265-params", "log-level=error"],
    ),
}
H264 = ["-c:v", "libx264", "-preset", "medium", "-crf", "23", "-g", "250"]
SOUND = ["-ar", "44100", "-ac", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("media", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--codecs", action="store_true")
    args = parser.parse_args()
    args.media.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        sources = usable(args.sources, MIN_SHARE_OF_HEIGHT * height)
        for i in range(args.clips):
            source = sources[i % len(sources)]
            out = args.media / f"{size}_{i:03d}_{source.stem}.mp4"
            encode(source, out, width, height, turn=i, codec=[*H264, "-c:a", "aac", "-b:a", "128k"])
    if args.codecs:
        make_other_codecs(args.sources, args.media)
    files = sorted(args.media.iterdir())
    megabytes = sum(f.stat().st_size for f in files) / 1e6
    print(json.dumps({"files": len(files), "megabytes": round(megabytes, 1)}))


def usable(folder: Path, min_height: float) -> list[Path]:
    """Movies of `folder` with sound and at least `min_height` lines, sorted by name."""
    found = []
    for path in sorted(folder.iterdir()):
        try:
            with av.open(str(path)) as container:
                if container.streams.audio and container.streams.video[0].height >= min_height:
                    found.append(path)
        except (av.FFmpegError, IndexError):
            continue
    if not found:
        raise SystemExit(f"{folder} has no movie with sound and {min_height:.0f} lines or more")
    return found


def make_other_codecs(folder: Path, media: Path) -> None:
    width, height = SIZES["360"]
    sources = usable(folder, MIN_SHARE_OF_HEIGHT * height)
    for name, (suffix, codec) in CODECS.items():
        audio = ["-c:a", "libopus", "-ar", "48000"] if suffix == "webm" else ["-c:a", "aac"]
        for i in range(4):
            source = sources[i % len(sources)]
            out = media / f"{name}_{i:03d}.{suffix}"
            encode(source, out, width, height, turn=i, codec=[*codec, *audio])
    for i in range(4):
        out = media / f"vfr_{i:03d}.mp4"
        drop = "select='gt(random(1),0.3)',"
        codec = ["-fps_mode", "vfr", *H264, "-c:a", "aac"]
        encode(sources[i % len(sources)], out, width, height, turn=i, codec=codec, before=drop)
    codec = [*H264[:2], "-preset", "veryfast", "-g", "250", "-c:a", "aac"]
    encode(sources[0], media / "long_000.mp4", width, height, turn=1, codec=codec, seconds=600)


def encode(
    source: Path,
    out: Path,
    width: int,
    height: int,
    *,
    turn: int,
    codec: list[str],
    before: str = "",
    seconds: int = SECONDS,
) -> None:
    """Write `out` unless it is there."""
    if out.exists():
        return
    share, fx, fy = 0.95 - 0.05 * (turn % 7), 0.3 + 0.07 * (turn % 5), 0.9 - 0.06 * (turn % 6)
    pan = f"crop=iw*{share}:ih*{share}:(iw-ow)*(0.5+0.5*sin(t*{fx})):(ih-oh)*(0.5+0.5*cos(t*{fy}))"
    cover = f"scale={width}:{height}:force_original_aspect_ratio=increase:flags=lanczos"
    fit = f"{cover},crop={width}:{height},setsar=1,format=yuv420p"
    matrix = "bt709" if height >= 720 else "smpte170m"
    partial = out.with_name(f"partial-{out.name}")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    command += ["-stream_loop", "-1", "-i", str(source), "-t", str(seconds)]
    command += ["-map", "0:v:0", "-map", "0:a:0", "-vf", f"{pan},fps=30,{before}{fit}"]
    command += ["-colorspace", matrix, "-color_primaries", matrix, "-color_trc", matrix]
    subprocess.run([*command, *SOUND, *codec, str(partial)], check=True)
    partial.rename(out)


if __name__ == "__main__":
    main()
