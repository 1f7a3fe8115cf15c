"""A gallery as one HTML page that needs no network and no script.

Each moment is a row of pictures in one JPEG, of which the peak's is seen; under the mouse or with
the keyboard's focus the row runs through. Names of classes and keys are not trusted: they are
escaped, and the page's policy lets nothing run.
"""

import base64
import html
import io
from dataclasses import dataclass
from importlib.resources import files
from string import Template

import numpy as np
from PIL import Image

from avtrain.apps.gallery import Gallery, ShownClass, ShownMoment

_QUALITY = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFacts:
    """What stands at the head of the page."""

    run: str
    shards: str
    split: str | None
    without_faces: bool


def gallery_html(gallery: Gallery, facts: PageFacts) -> str:
    """The page."""
    return Template(_asset("gallery.html")).substitute(
        title=html.escape(f"{facts.run} on {facts.shards}"),
        style=_asset("gallery.css"),
        summary=html.escape(_summary(gallery, facts)),
        links="".join(
            f'<a href="#class-{i}">{html.escape(shown.name)}</a>'
            for i, shown in enumerate(gallery.classes)
        ),
        classes="\n".join(_class_html(i, shown) for i, shown in enumerate(gallery.classes)),
    )


def _summary(gallery: Gallery, facts: PageFacts) -> str:
    num_faces = sum(shown.num_faces for shown in gallery.classes)
    parts = [
        f"The strongest responses in {gallery.num_videos} videos"
        + (f" of split {facts.split}" if facts.split is not None else "")
    ]
    if gallery.num_without:
        parts.append(f"{gallery.num_without} have none that counts")
    if facts.without_faces:
        parts.append(f"{num_faces} moments are left out as only a face is there")
    return "; ".join(parts) + "."


def _class_html(index: int, shown: ShownClass) -> str:
    faces = f", {shown.num_faces} faces left out" if shown.num_faces else ""
    videos = "1 video" if shown.num_videos == 1 else f"{shown.num_videos} videos"
    cards = "\n".join(_card_html(moment) for moment in shown.moments)
    if not shown.moments:
        cards = "<li>Nothing but faces.</li>"
    return (
        f'<section id="class-{index}"><h2>{html.escape(shown.name)} '
        f"<small>{len(shown.moments)} of {videos}{faces}</small></h2>\n"
        f'<ul class="grid">\n{cards}\n</ul></section>'
    )


def _card_html(moment: ShownMoment) -> str:
    count = len(moment.pictures)
    height, width = moment.pictures[0].shape[:2]
    rest = 100 * moment.peak_picture / max(count - 1, 1)
    style = (
        f"aspect-ratio:{width}/{height};--rest:{rest:.3f}%;--length:{moment.pictures_s:.2f}s;"
        f"--steps:steps({max(count, 2)},jump-none);background-size:{100 * count}% 100%;"
        f"background-image:url(data:image/jpeg;base64,{_strip(moment)})"
    )
    key = html.escape(moment.key)
    what = f"{key} at {moment.time_s:.2f} s, strongest at {moment.x:.0%} from the left and "
    what += f"{moment.y:.0%} from the top"
    return (
        f'<li><div class="moment" tabindex="0" role="img" aria-label="{what}" style="{style}">'
        f"</div><p><b>{key}</b> <span>{moment.time_s:.2f} s</span> "
        f"<span>strength {moment.strength:.2f}</span></p></li>"
    )


def _strip(moment: ShownMoment) -> str:
    """All pictures side by side as a JPEG, base64."""
    buffer = io.BytesIO()
    strip = Image.fromarray(np.concatenate(moment.pictures, axis=1))
    strip.save(buffer, format="jpeg", quality=_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _asset(name: str) -> str:
    return files("avtrain.apps").joinpath(name).read_text(encoding="utf-8")
