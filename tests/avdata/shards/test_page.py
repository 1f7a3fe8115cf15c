"""The page of a set: what is picked, what stands on it, and that no text of a listing is markup."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from avdata.errors import ConfigError, ShardSetError
from avdata.schema import ManifestRow
from avdata.shards import page_media
from avdata.shards.codec import encode_audio
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.page import PageOptions, make_page
from avdata.shards.page_media import read_media, sound_panel
from avdata.shards.page_picks import pick_samples
from avdata.shards.page_sound import NUM_PEAKS, peaks, playable_sound
from avdata.shards.picture_panels import mel_position
from avdata.shards.reader import ShardSet

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>&amp;\'"</style>\u2028'
ROOM_CHARS = 400_000


# ---- picks ----


def test_extremes_and_an_even_pick() -> None:
    values = np.zeros(1000)
    values[123], values[777] = 5.0, -5.0
    table = pa.table({"av_offset_s": values, "coverage": np.ones(1000)})
    picks = pick_samples(table, ["av_offset_s", "coverage"], num_samples=22, seed=0)
    reasons = {pick.position: pick.reasons for pick in picks if pick.reasons}
    assert reasons == {123: ("highest av_offset_s",), 777: ("lowest av_offset_s",)}
    even = [pick.position for pick in picks if not pick.reasons]
    assert len(even) == 20
    # one of each twentieth of the rows
    assert [position // 50 for position in even] == list(range(20))
    assert picks == pick_samples(table, ["av_offset_s", "coverage"], num_samples=22, seed=0)
    assert picks != pick_samples(table, ["av_offset_s", "coverage"], num_samples=22, seed=1)


def test_what_many_clips_have_is_no_extreme() -> None:
    table = pa.table({"silence_fraction": [0.0] * 99 + [1.0], "dual_mono": [True] + [None] * 99})
    picks = pick_samples(table, ["silence_fraction", "dual_mono"], num_samples=10, seed=0)
    reasons = [pick.reasons for pick in picks if pick.reasons]
    assert reasons == [("highest silence_fraction",)]


@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 5))
def test_picks_are_distinct_and_in_order(num_rows: int, num_samples: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, num_rows))
    table = pa.table(dict(zip("abc", values, strict=True)))
    picks = pick_samples(table, ["a", "b", "c"], num_samples=num_samples, seed=seed)
    positions = [pick.position for pick in picks]
    assert len(picks) == min(num_samples, num_rows)
    assert positions == sorted(set(positions))
    assert all(0 <= position < num_rows for position in positions)


# ---- media ----


def rows_of(directory: Path) -> list[ManifestRow]:
    return [ManifestRow(**row) for row in pq.read_table(directory / "manifest.parquet").to_pylist()]


def test_sheet_has_the_frames_at_their_times(tiny_set: Path) -> None:
    shard_set, rows = ShardSet(tiny_set), rows_of(tiny_set)
    for sample, row in enumerate(rows):
        sheet = read_media(shard_set, sample, row, ROOM_CHARS).sheet
        assert sheet is not None
        assert sheet.times_s == tuple(k / 4 for k in range(row.num_frames))
        picture = simplejpeg.decode_jpeg(sheet.jpeg).astype(int)
        width, height = sheet.tile_width_px, sheet.tile_height_px
        assert (width, height) == (32, 16)
        for k, jpeg in enumerate(shard_set.read_jpegs(sample)):
            y, x = k // sheet.tiles_across * height, k % sheet.tiles_across * width
            tile = picture[y : y + height, x : x + width]
            stored = simplejpeg.decode_jpeg(jpeg).astype(int)
            assert np.abs(tile.mean((0, 1)) - stored.mean((0, 1))).max() < 8


def test_little_room_makes_fewer_and_smaller_tiles(tiny_set: Path) -> None:
    # tiny frames stand for large ones: rooms of a few hundred bytes
    shard_set, row = ShardSet(tiny_set), rows_of(tiny_set)[2]
    picture, _, _ = page_media._pictures(shard_set, 2, row, row.duration_s, 200)
    assert len(picture.times_s) < row.num_frames
    assert len(picture.times_s) >= 1


def test_stored_flac_is_played_as_it_is(tiny_set: Path) -> None:
    shard_set, row = ShardSet(tiny_set), rows_of(tiny_set)[0]
    media = read_media(shard_set, 0, row, ROOM_CHARS)
    assert media.sound is not None
    assert (media.sound.mime, media.sound.note) == ("audio/flac", "")
    assert media.sound.data == shard_set.read_bytes(0, "audio")
    assert media.shown_s == row.duration_s


def test_sound_without_room_is_mp3_of_the_same_sound() -> None:
    rate_hz, frequency_hz = 24000, 880.0
    time_s = np.arange(10 * rate_hz) / rate_hz
    noise = np.random.default_rng(0).normal(size=len(time_s))
    sound = 9000 * np.sin(2 * np.pi * frequency_hz * time_s) + 400 * noise
    audio = sound.astype(np.int16)[None]
    stored = encode_audio(audio, rate_hz)
    short, shown_s = playable_sound(stored, audio, rate_hz, 100_000)
    assert (short.mime, shown_s) == ("audio/mpeg", 10.0)
    assert 0.9 * 80_000 < len(short.data) < 1.1 * 80_000
    decoded, decoded_hz = soundfile.read(io.BytesIO(short.data))
    assert decoded_hz == rate_hz
    spectrum = np.abs(np.fft.rfft(decoded[rate_hz : 2 * rate_hz]))
    assert abs(int(spectrum.argmax()) - frequency_hz) <= 1
    assert "64 kbit/s" in short.note


def test_long_sound_is_cut_to_its_room() -> None:
    rate_hz = 24000
    audio = np.random.default_rng(0).integers(-9000, 9000, (1, 60 * rate_hz)).astype(np.int16)
    short, shown_s = playable_sound(encode_audio(audio, rate_hz), audio, rate_hz, 80_000)
    assert shown_s == pytest.approx(10.0)
    assert len(short.data) < 1.1 * 80_000
    # rates that MP3 does not know
    audio = audio[:, : 96000 * 4]
    short, shown_s = playable_sound(encode_audio(audio, 96000), audio, 96000, 80_000)
    assert short.mime == "audio/flac"
    assert len(short.data) < 1.1 * 80_000
    assert soundfile.info(io.BytesIO(short.data)).duration == pytest.approx(shown_s, abs=0.01)


def test_ambisonics_play_their_first_channel_and_wav_becomes_flac() -> None:
    audio = np.stack([np.full(8000, 100 * (c + 1), np.int16) for c in range(4)])
    sound, _ = playable_sound(encode_audio(audio, 8000), audio, 8000, 10**6)
    samples, _ = soundfile.read(io.BytesIO(sound.data), dtype="int16", always_2d=True)
    assert samples.shape == (8000, 1)
    assert (samples == 100).all()
    assert sound.note == "channel 0 of 4"
    wav = io.BytesIO()
    soundfile.write(wav, audio[:2].T, 8000, format="WAV")
    sound, _ = playable_sound(wav.getvalue(), audio[:2], 8000, 10**6)
    samples, _ = soundfile.read(io.BytesIO(sound.data), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(samples.T, audio[:2])


def test_peaks_are_where_the_sound_is() -> None:
    channel = np.zeros(6000, np.int16)
    channel[3000], channel[4505] = 16000, -8000
    pairs = np.frombuffer(peaks(channel, 16000), np.int8).reshape(NUM_PEAKS, 2)
    assert np.flatnonzero(pairs.any(1)).tolist() == [300, 450]
    assert pairs[300].tolist() == [0, 127]
    assert pairs[450].tolist() == [-64, 0]
    assert len(peaks(channel[:7], 5)) == 2 * NUM_PEAKS
    assert not any(peaks(np.zeros(0, np.int16), 0))


def test_spectrogram_of_the_sound_where_no_logmel_is_stored() -> None:
    rate_hz, tone_hz = 16000, 2000
    audio = np.zeros((1, rate_hz), np.int16)
    time_s = np.arange(rate_hz // 2) / rate_hz
    audio[0, rate_hz // 2 :] = 8000 * np.sin(2 * np.pi * tone_hz * time_s)
    panel = sound_panel(audio, rate_hz)
    assert panel.values.shape == (1, 101, 513)
    assert panel.values[0, :46].max() < panel.values[0, 75].max() - 10
    # 15.625 Hz a bin
    assert int(panel.values[0, 75].argmax()) == 128
    assert panel.spec is not None
    assert mel_position(tone_hz, panel.spec) == pytest.approx(128)


def test_damaged_frames_name_the_sample(tiny_set: Path) -> None:
    row = rows_of(tiny_set)[0]
    tar = tiny_set / row.shard
    data = bytearray(tar.read_bytes())
    start = row.frames_offset_bytes
    data[start : start + row.frames_bytes] = bytes(row.frames_bytes)
    tar.write_bytes(data)
    with pytest.raises(ShardSetError, match=r"sample clip_0 does not decode .*avdata verify"):
        read_media(ShardSet(tiny_set), 0, row, ROOM_CHARS)


def zero(directory: Path, row: ManifestRow, field: str) -> None:
    tar = directory / row.shard
    data = bytearray(tar.read_bytes())
    start, size = getattr(row, f"{field}_offset_bytes"), getattr(row, f"{field}_bytes")
    data[start : start + size] = bytes(size)
    tar.write_bytes(data)


def remove(directory: Path, row: ManifestRow, field: str) -> None:
    (directory / row.shard).unlink()


def state_no_size(directory: Path, row: ManifestRow, field: str) -> None:
    table = pq.read_table(directory / "manifest.parquet")
    rows = table.to_pylist()
    next(one for one in rows if one["key"] == row.key)["frame_width_px"] = 0
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(changed, directory / "manifest.parquet")


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (zero, "frames"),
        (zero, "audio"),
        (zero, "logmel"),
        (remove, ""),
        (state_no_size, ""),
    ],
)
def test_a_damaged_sample_is_a_tile_and_the_others_are_shown(
    damage: Callable[[Path, ManifestRow, str], None], field: str, tiny_set: Path
) -> None:
    row = rows_of(tiny_set)[2]
    damage(tiny_set, row, field)
    seen = []
    page = make_page(ShardSet(tiny_set), PageOptions(), on_sample=lambda: seen.append(1))
    assert (page.num_samples, page.damaged, len(seen)) == (3, ("clip_2",), 3)
    elements = Elements(page.html)
    assert sum(tag == "img" for tag, _ in elements.tags) == 2
    tile = next(a for tag, a in elements.tags if a.get("class") == "no-picture")
    assert f"`avdata verify {tiny_set}`" in (tile["title"] or "")
    assert ">does not decode</span>" in page.html
    shown = [json.loads(t) for a, t in elements.scripts if (a.get("id") or "").startswith("media-")]
    assert [bool(media["fault"]) for media in shown] == [False, False, True]
    assert shown[2]["sheet"] is None and shown[2]["sound"] is None


def test_rows_are_read_a_row_group_at_a_time(
    tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 samples out of 5 row groups: the wide columns of each group are read once."""
    spec = json.loads((tiny_set / "dataset.json").read_text())
    (tiny_set / "dataset.json").write_text(json.dumps({**spec, "num_clips": 60}))
    table = pq.read_table(tiny_set / "manifest.parquet")
    rows = [{**table.to_pylist()[i % 3], "source_index": i} for i in range(60)]
    table = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(table, tiny_set / "manifest.parquet", row_group_size=12)
    read = []
    for name in ("read_row_group", "read_row_groups"):
        original = getattr(pq.ParquetFile, name)

        def counted(self: pq.ParquetFile, at: object, *, _original: Callable = original, **words):
            read.append(at if "columns" not in words else None)
            return _original(self, at, **words)

        monkeypatch.setattr(pq.ParquetFile, name, counted)
    page = make_page(ShardSet(tiny_set), PageOptions(num_samples=30))
    assert page.num_samples == 30
    assert sorted(at for at in read if isinstance(at, int)) == [0, 1, 2, 3, 4]
    positions = [59, 0, 13, 12, 0]
    found = ManifestRows(tiny_set, table["shard"]).take(positions)
    assert [row["source_index"] for row in found] == positions


# ---- the page ----


class Elements(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            facts, text = self.scripts[-1]
            self.scripts[-1] = facts, text + data


def poison(directory: Path) -> None:
    """Put markup into every text that comes from a listing or a medium."""
    for name in ("manifest.parquet", "rejects.parquet"):
        table = pq.read_table(directory / name)
        texts = {"source_id", "split", "media", "message", "path", "video_codec", "native_layout"}
        for column in texts & set(table.column_names):
            place = table.column_names.index(column)
            values = [f"{EVIL} {i}" for i in range(table.num_rows)]
            table = table.set_column(place, table.schema.field(column), pa.array(values))
        labels = pa.array([[EVIL]] * table.num_rows, pa.list_(pa.string()))
        place = table.column_names.index("labels")
        table = table.set_column(place, table.schema.field("labels"), labels)
        pq.write_table(table, directory / name)
    spec = json.loads((directory / "dataset.json").read_text())
    spec |= {"listing_name": EVIL, "labels": [EVIL], "software": {"av": EVIL}}
    (directory / "dataset.json").write_text(json.dumps(spec))


def test_texts_are_never_markup(tiny_set: Path) -> None:
    clean = Elements(make_page(ShardSet(tiny_set), PageOptions()).html)
    poison(tiny_set)
    text = make_page(ShardSet(tiny_set), PageOptions()).html
    page = Elements(text)
    # not one element or attribute more than of a harmless set, but for a label and a message less
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in clean.tags}
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes or tag == "iframe"]
    running = [text for facts, text in page.scripts if facts.get("type") != "application/json"]
    assert len(running) == 1
    assert len(page.scripts) == len(clean.scripts)
    facts = json.loads(next(t for a, t in page.scripts if a.get("id") == "page-facts"))
    assert facts["samples"][0]["label"] == EVIL
    media = json.loads(next(t for a, t in page.scripts if a.get("id") == "media-0"))
    assert media["labels"] == [EVIL]


def test_only_the_own_script_may_run_and_nothing_is_fetched(tiny_set: Path) -> None:
    text = make_page(ShardSet(tiny_set), PageOptions()).html
    page = Elements(text)
    (script,) = [t for a, t in page.scripts if a.get("type") != "application/json"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert f"script-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")
    addresses = [a[name] or "" for _, a in page.tags for name in ("src", "href") if name in a]
    assert len(addresses) >= 6
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    assert not re.findall(r"url\(|@import", text)


def test_page_tells_the_set(tiny_set: Path) -> None:
    page = make_page(ShardSet(tiny_set), PageOptions())
    assert (page.num_clips, page.num_chosen, page.num_samples) == (3, 3, 3)
    for part in (
        "clips of 6 listed",
        "<code>missing_file</code>",
        "line 4</span> no file for source 3",
        'data-column="duration_s"',
        'aria-label="histogram of duration_s:',
        "The same in all clips:",
        'alt="frame from the middle of clip_0, cat"',
    ):
        assert part in page.html, part


def test_pictures_have_texts_and_controls_have_names(tiny_set: Path) -> None:
    page = Elements(make_page(ShardSet(tiny_set), PageOptions()).html)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3
    assert all(attributes.get("alt") for attributes in pictures)
    sliders = [a for tag, a in page.tags if tag == "input" and a.get("type") == "range"]
    assert sliders
    assert all(attributes.get("aria-label") for attributes in sliders)
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("fields", [("frames",), ("audio",), ("logmel",), ("frames", "logmel")])
def test_any_fields(
    fields: tuple[str, ...], tmp_path: Path, make_tiny_set: Callable[..., Path]
) -> None:
    page = Elements(
        make_page(ShardSet(make_tiny_set(tmp_path / "set", fields)), PageOptions()).html
    )
    media = json.loads(next(t for a, t in page.scripts if a.get("id") == "media-0"))
    assert bool(media["sheet"]) == ("frames" in fields)
    assert bool(media["sound"]) == bool(media["peaks"]) == ("audio" in fields)
    assert bool(media["spectrograms"]) == bool({"logmel", "audio"} & set(fields))
    assert sum(tag == "img" for tag, _ in page.tags) == 3


def test_where_and_number_of_samples(tiny_set: Path) -> None:
    page = make_page(ShardSet(tiny_set), PageOptions(where="duration_s > 0.6", num_samples=1))
    assert (page.num_clips, page.num_chosen, page.num_samples) == (3, 2, 1)
    assert "where duration_s &gt; 0.6" in page.html
    with pytest.raises(ShardSetError, match=r"leaves none of 3 clips: duration_s > 9 keeps 0"):
        make_page(ShardSet(tiny_set), PageOptions(where="duration_s > 9"))
    with pytest.raises(ConfigError, match="durations"):
        make_page(ShardSet(tiny_set), PageOptions(where="durations > 9"))


def test_one_seed_one_page(tiny_set: Path) -> None:
    first, second = (
        make_page(ShardSet(tiny_set), replace(PageOptions(), num_samples=2)).html for _ in range(2)
    )
    assert first == second
