"""Names that strangers gave, as they are shown on a terminal."""

from __future__ import annotations

MAX_SHOWN = 80
MAX_SAID = 300


def to_text(name: str | bytes) -> str:
    """A string of a file; protobuf hands on bytes where they are no UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def shorten(text: str) -> str:
    """A text of a line or a few: files may have lists of any length."""
    return text if len(text) <= MAX_SAID else text[: MAX_SAID - 3] + "..."


def show(name: str | bytes) -> str:
    """A name in quotes, without what is not printable, and not longer than a line."""
    text = to_text(name[: MAX_SHOWN + 1])
    printable = "".join(c if c.isprintable() else "?" for c in text)
    if len(printable) > MAX_SHOWN:
        printable = printable[: MAX_SHOWN - 3] + "..."
    return f"'{printable}'"
