"""The label maps and class subsets that lie in `manifests/`, as installed beside this package."""

import csv
from functools import cache
from importlib.resources import files

import manifests

COMMENT = "#"


@cache
def audioset_names() -> dict[str, str]:
    """Display name by machine id (`/m/09x0r`).

    The 527 names of the segment lists, and those of the strong labels for the ids that only they
    use; where both name an id the segment lists count, so that the two lists agree.
    """
    labels = files(manifests) / "labels"
    strong = (labels / "audioset_strong_labels.tsv").read_text("utf-8")
    names = dict(line.split("\t", 1) for line in strong.splitlines())
    table = (labels / "audioset_class_labels.csv").read_text("utf-8")
    names.update((row["mid"], row["display_name"]) for row in csv.DictReader(table.splitlines()))
    return names


def audioset_label(mid: str) -> str:
    """The display name of a machine id; an id without one stays as it is."""
    return audioset_names().get(mid, mid)


def subset_names() -> list[str]:
    """Names of the packaged class subsets, as `--labels` takes them."""
    folder = files(manifests) / "subsets"
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith(".txt"))
    return sorted(name.removesuffix(".txt").replace("_", "-") for name in names)


def read_subset(name: str) -> list[str]:
    """Class names of the packaged subset `name`, one of `subset_names()`."""
    file = files(manifests) / "subsets" / f"{name.replace('-', '_')}.txt"
    return label_lines(file.read_text("utf-8"))


def label_lines(text: str) -> list[str]:
    """Labels of a text with one a line; blank lines and lines that start with `#` do not count."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(COMMENT)]
