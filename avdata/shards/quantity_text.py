"""Amounts as a person reads them."""


def bytes_text(count: float) -> str:
    """A size with three or four digits: 512 B, 24.1 kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def long_time_text(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def span_text(start_s: float | None, end_s: float | None) -> str:
    """A half-open interval of a medium; None is its start or end."""
    if start_s is None and end_s is None:
        return "the whole medium"
    end = "the end)" if end_s is None else f"{end_s:.4f}) s"
    return f"[{start_s or 0.0:.4f}, {end}"


def shown_text(text: str, num_chars: int = 40) -> str:
    """A value of a column of text on one line, cut to `num_chars`; quoted where it is odd."""
    if not text.isprintable() or text != text.strip() or not text:
        text = ascii(text)
    return text if len(text) <= num_chars else f"{text[: num_chars - 3]}..."


def value_text(value: float, unit: str = "") -> str:
    """A value of a column with its unit; four digits are enough to look at."""
    if unit == "bytes":
        return bytes_text(value)
    number = f"{value:.4g}"
    if "e+" in number:
        number = f"{value:.0f}"
    return f"{number} {unit}".rstrip()
