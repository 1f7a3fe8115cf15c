"""A gallery in a real browser: it plays under the mouse, and has no error and no request.

AV_SCREENSHOTS names a folder to which it saves what it sees.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from avtrain.apps.gallery import Gallery, ShownClass, ShownMoment
from avtrain.apps.gallery_page import PageFacts, gallery_html

EVIL = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'>"
PLACE = "parseFloat(getComputedStyle(document.querySelectorAll('.moment')[{}]).backgroundPositionX)"


def moment(key: str, count: int, peak: int) -> ShownMoment:
    pictures = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(count)]
    return ShownMoment(
        key=key,
        time_s=1.25,
        x=0.25,
        y=0.75,
        strength=3.5,
        pictures=tuple(pictures),
        peak_picture=peak,
        pictures_s=1.0,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    gallery = Gallery(
        classes=(
            ShownClass(name="dog", num_videos=9, moments=[moment("a", 11, 3), moment("b", 1, 0)]),
            ShownClass(name=EVIL, num_videos=1, moments=[moment(EVIL, 5, 4)]),
            ShownClass(name="talking", num_videos=2, num_faces=2),
        ),
        num_videos=13,
        num_without=1,
    )
    facts = PageFacts(run="run", shards=EVIL, split="test", without_faces=True)
    path = tmp_path / "page.html"
    path.write_text(gallery_html(gallery, facts))
    return path


def test_moments_play_under_the_mouse_and_rest_at_their_peak(browser, page: Path) -> None:
    browser.look()
    browser.open(page)
    assert browser.evaluate(PLACE.format(0)) == pytest.approx(30, abs=0.1)  # the fourth of 11
    assert browser.evaluate(PLACE.format(1)) == 0
    assert browser.evaluate(PLACE.format(2)) == 100
    box = browser.evaluate(
        "(() => { const b = document.querySelector('.moment').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    assert box[2] / box[3] == pytest.approx(64 / 48, rel=0.01)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 5, y=box[1] + 5)
    for later in ("> 45", "< 25", "> 45"):  # it runs through, again and again
        place = browser.wait_for(f"{PLACE.format(0)} {later} && 1 + {PLACE.format(0)}") - 1
        assert place / 10 == pytest.approx(round(place / 10), abs=0.01)  # whole pictures
    if folder := os.environ.get("AV_SCREENSHOTS"):
        browser.screenshot(Path(folder) / "gallery.png", whole=True)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.evaluate(PLACE.format(0)) == pytest.approx(30, abs=0.1)
    # the keyboard plays it too: the four links of the head come first
    for _ in range(4):
        browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "moment"
    assert browser.wait_for(f"Math.abs({PLACE.format(0)} - 30) > 5")
    assert browser.evaluate("document.activeElement.getAttribute('aria-label')") == (
        "a at 1.25 s, strongest at 25% from the left and 75% from the top"
    )
    assert browser.faults == []
    assert browser.requests == []


def test_texts_of_a_set_are_texts(browser, page: Path) -> None:
    browser.look(width=390, dark=True)
    browser.open(page)
    assert browser.evaluate("window.owned === undefined")
    assert browser.evaluate("document.querySelectorAll('h2')[1].textContent").startswith(EVIL)
    assert "13 videos of split test; 1 have none that counts; 2 moments are left out" in (
        browser.evaluate("document.querySelector('header p').textContent")
    )
    assert "Nothing but faces" in browser.evaluate("document.querySelector('main').textContent")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    assert browser.faults == []
    assert browser.requests == []
