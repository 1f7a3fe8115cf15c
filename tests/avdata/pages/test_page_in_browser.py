"""The page of a set in a real browser: it filters, sorts, opens, plays, and has no error.

AV_SCREENSHOTS names a folder to which it saves what it sees.
"""

import base64
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.shards.codec import encode_audio
from avdata.shards.page import PageOptions, make_page
from avdata.shards.page_sound import playable_sound
from avdata.shards.reader import ShardSet

EVIL = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'>"
VISIBLE = "document.querySelectorAll('#grid > .card:not([hidden])').length"
ORDER = (
    "[...document.querySelectorAll('#grid > .card:not([hidden]) button')]"
    ".map((b) => facts.samples[b.dataset.sample].key).join()"
)


def change(directory: Path, **columns: list) -> None:
    path = directory / "manifest.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.column_names.index(name)
        field = table.schema.field(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    pq.write_table(table, path)


@pytest.fixture
def page(tiny_set: Path, tmp_path: Path) -> Path:
    change(
        tiny_set,
        labels=[["cat", EVIL], ["dog"], []],
        split=["train", "test", "train"],
        silence_fraction=[0.0, 0.95, None],
        dual_mono=[True, False, None],
    )
    path = tmp_path / "page.html"
    path.write_text(make_page(ShardSet(tiny_set), PageOptions()).html)
    return path


def keep(browser, name: str) -> None:
    if folder := os.environ.get("AV_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"{name}.png", whole=name.startswith("page"))


def slide(column: str, handle: int, value: int) -> str:
    """Move a handle of a column as a hand would: value, then the event."""
    return (
        "(() => { const input = document.querySelectorAll("
        f"'[data-column={column}] input')[{handle}];"
        f"input.value = {value}; input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    )


def choose(selector: str, value: str) -> str:
    return (
        f"(() => {{ const list = document.querySelector({json.dumps(selector)});"
        f"list.value = {json.dumps(value)};"
        "list.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_filters_change_what_is_seen(browser, page: Path) -> None:
    browser.look()
    browser.open(page)
    assert browser.evaluate(VISIBLE) == 3
    browser.click("#find")
    browser.type_text("DOG")
    assert browser.evaluate(VISIBLE) == 1
    assert browser.evaluate("byId('count').textContent") == "1 of 3 shown"
    browser.click("#reset")
    assert browser.evaluate(VISIBLE) == 3
    # from 0.5 on; the clip without a value goes too
    browser.evaluate(slide("silence_fraction", 0, 10))
    assert browser.evaluate(ORDER) == "clip_1"
    condition = "byId('condition').textContent"
    assert "--where 'silence_fraction >= 0.5'" in browser.evaluate(condition)
    browser.evaluate(slide("silence_fraction", 1, 19))
    assert browser.evaluate(VISIBLE) == 0
    assert browser.evaluate("byId('nothing').hidden") is False
    assert "silence_fraction >= 0.5 and silence_fraction < 0.95" in browser.evaluate(condition)
    browser.click("#reset")
    browser.evaluate(choose("[data-column=dual_mono] select", "no"))
    assert browser.evaluate(ORDER) == "clip_1"
    browser.click("#reset")
    browser.evaluate(choose("#split", "train"))
    assert browser.evaluate(ORDER) == "clip_0,clip_2"
    assert 'split == "train"' in browser.evaluate(condition)
    browser.click("#reset")
    browser.evaluate(choose("#sort", "duration_s"))
    browser.click("#direction")
    assert browser.evaluate(ORDER) == "clip_2,clip_1,clip_0"
    browser.evaluate(choose("#sort", "silence_fraction"))
    # what has no value comes last, in either direction
    assert browser.evaluate(ORDER) == "clip_1,clip_0,clip_2"
    assert browser.faults == []
    assert browser.requests == []


def test_conditions_of_the_page_are_conditions_of_the_filter(browser, page: Path) -> None:
    from avdata.manifest import MANIFEST_SCHEMA
    from avdata.shards.row_filter import RowFilter

    browser.open(page)
    browser.evaluate(slide("silence_fraction", 0, 3))
    browser.evaluate(slide("duration_s", 1, 9))
    browser.evaluate(choose("[data-column=dual_mono] select", "no"))
    browser.evaluate(choose("#split", "test"))
    text = browser.evaluate("byId('condition').querySelector('code').textContent")
    condition = text.removeprefix("--where '").removesuffix("'")
    columns = set(RowFilter(condition, MANIFEST_SCHEMA).columns)
    assert columns == {"silence_fraction", "duration_s", "dual_mono", "split"}


def test_a_sample_opens_and_plays(browser, page: Path) -> None:
    browser.look()
    browser.open(page)
    keep(browser, "page")
    browser.click("#grid > .card:nth-child(3) button")
    assert browser.evaluate("dialog.open")
    assert browser.evaluate("byId('detail-key').textContent") == "clip_2"
    browser.wait_for("audio.currentTime > 0.2")
    assert browser.evaluate("audio.error === null")
    assert browser.evaluate("audio.duration") == pytest.approx(1.0, abs=0.01)
    # the cursor runs with the sound, over the picture
    assert browser.wait_for("parseFloat(byId('cursor').style.left) >= 20")  # it is drawn later
    assert browser.evaluate("parseFloat(byId('cursor').style.left)") <= 100
    keep(browser, "detail")
    browser.wait_for("audio.ended")
    assert browser.wait_for("byId('play').textContent === 'Play'")
    # a click on the timeline moves the sound to that time
    box = browser.evaluate(
        "(() => { const b = byId('timeline').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    where = {"x": box[0] + 0.25 * box[2], "y": box[1] + 0.5 * box[3], "button": "left"}
    browser.call("Input.dispatchMouseEvent", type="mousePressed", clickCount=1, **where)
    browser.call("Input.dispatchMouseEvent", type="mouseReleased", clickCount=1, **where)
    assert browser.evaluate("audio.currentTime") == pytest.approx(0.25, abs=0.01)
    # all panels share the time axis
    edges = browser.evaluate(
        "['strip', 'waves', 'spectrograms', 'axis'].map((id) => {"
        "const b = byId(id).getBoundingClientRect(); return [b.left, b.right]; })"
    )
    assert len({tuple(edge) for edge in edges}) == 1
    assert browser.evaluate("getComputedStyle(byId('detail-key')).display") == "block"
    assert browser.faults == []
    assert browser.requests == []


def test_keys(browser, page: Path) -> None:
    browser.open(page)
    browser.click("#grid > .card:nth-child(1) button")
    browser.wait_for("dialog.open && audio.duration")
    browser.evaluate("pause()")
    browser.press("Home", 36)
    browser.press("ArrowRight", 39)
    assert browser.evaluate("audio.currentTime") == pytest.approx(0.25, abs=0.01)
    browser.press("PageDown", 34)
    assert browser.evaluate("byId('detail-key').textContent") == "clip_1"
    browser.press("PageUp", 33)
    browser.press("PageUp", 33)
    assert browser.evaluate("byId('detail-key').textContent") == "clip_0"
    browser.press("Escape", 27)
    browser.wait_for("!dialog.open")
    browser.wait_for("audio.paused")
    # the card that was opened has the focus again, and the arrows go on from it
    assert browser.evaluate("document.activeElement.dataset.sample") == "0"
    browser.press("ArrowRight", 39)
    assert browser.evaluate("document.activeElement.dataset.sample") == "1"
    assert browser.faults == []


def test_texts_of_listings_do_not_run(browser, page: Path) -> None:
    browser.open(page)
    browser.click("#grid > .card:nth-child(1) button")
    browser.wait_for("dialog.open")
    assert EVIL in browser.evaluate("byId('detail-labels').textContent")
    assert browser.evaluate("window.owned === undefined")
    assert browser.evaluate("document.querySelectorAll('img[onerror]').length") == 0
    # and the policy stops what would get in
    browser.evaluate("byId('note').innerHTML = \"<img src='data:,' onerror='window.owned = 3'>\"")
    browser.wait_for("byId('note').querySelector('img').complete")
    assert browser.evaluate("window.owned === undefined")
    assert any("Content Security Policy" in fault for fault in browser.faults)


def test_frames_of_the_sheet_are_shown_at_their_times(browser, page: Path, tiny_set: Path) -> None:
    browser.open(page)
    browser.click("#grid > .card:nth-child(3) button")
    browser.wait_for("open && open.sheet.complete && open.sheet.naturalWidth")
    browser.evaluate("pause()")
    shard_set = ShardSet(tiny_set)
    from avdata.shards.codec import decode_frame

    for k, jpeg in enumerate(shard_set.read_jpegs(2)):
        seen = browser.evaluate(
            f"(seek({k / 4}), [...byId('frame').getContext('2d').getImageData(16, 8, 1, 1).data])"
        )
        assert np.abs(np.array(seen[:3]) - decode_frame(jpeg)[8, 16]).max() < 12


@pytest.mark.parametrize(("rate_hz", "room"), [(24000, 10**7), (24000, 100_000), (44100, 100_000)])
def test_sound_keeps_its_time(browser, page: Path, rate_hz: int, room: int) -> None:
    """MP3 delays the sound by its encoder's and decoder's blocks: browsers take that out."""
    audio = np.random.default_rng(0).normal(0, 30, (1, 10 * rate_hz)).astype(np.int16)
    clicks_s = (0.5, 4.0, 9.5)
    for click_s in clicks_s:
        audio[0, round(click_s * rate_hz)] = 32000
    sound, _ = playable_sound(encode_audio(audio, rate_hz), audio, rate_hz, room)
    assert sound.mime == ("audio/flac" if room == 10**7 else "audio/mpeg")
    data = base64.b64encode(sound.data).decode()
    browser.open(page)
    places = browser.evaluate(
        f"""(async () => {{
            const context = new OfflineAudioContext(1, 1, {rate_hz});
            const sound = await context.decodeAudioData(bytes("{data}").buffer);
            const values = sound.getChannelData(0);
            return [{", ".join(map(str, clicks_s))}].map((time) => {{
                const first = Math.round((time - 0.2) * {rate_hz});
                let best = first;
                for (let k = first; k < first + 0.4 * {rate_hz} && k < values.length; k += 1) {{
                    if (Math.abs(values[k]) > Math.abs(values[best])) best = k;
                }}
                return best / {rate_hz};
            }});
        }})()"""
    )
    np.testing.assert_allclose(places, clicks_s, atol=0.002)


def test_dark_and_narrow(browser, page: Path) -> None:
    browser.open(page)
    browser.look(dark=True)
    shade = "getComputedStyle(document.body).backgroundColor"
    assert browser.evaluate(shade) == "rgb(20, 22, 27)"
    keep(browser, "page-dark")
    browser.look(width=400)
    assert browser.evaluate(shade) == "rgb(255, 255, 255)"
    # nothing sticks out to the side
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400
    keep(browser, "page-narrow")
    browser.click("#grid > .card:nth-child(1) button")
    browser.wait_for("dialog.open")
    assert browser.evaluate("dialog.scrollWidth <= dialog.clientWidth")
    assert browser.faults == []
