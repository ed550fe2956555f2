"""Documents of the repository, and what stands in them: blocks of code, spans, links, headings."""

from __future__ import annotations

import re
from pathlib import Path

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}.*| *)\n)+", re.MULTILINE)
SPAN = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")  # may go over the end of a line
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def list_documents(root: Path) -> dict[Path, str]:
    """Pages for readers, by path."""
    paths = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    paths += [*sorted((root / "docs").glob("*.md")), root / "tests" / "vectors" / "README.md"]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def drop_blocks(text: str) -> str:
    """The text without its blocks of code."""
    return INDENTED.sub("\n", FENCE.sub("", text))


def list_spans(text: str) -> list[str]:
    """What stands between backticks, on one line each."""
    return [" ".join(span.split()) for span in SPAN.findall(drop_blocks(text))]


def list_code_lines(text: str) -> list[str]:
    """Lines of the blocks of code, fenced or indented."""
    blocks = [*FENCE.findall(text), *INDENTED.findall(FENCE.sub("", text))]
    return [line.strip() for block in blocks for line in block.splitlines()]


def list_anchors(path: Path) -> set[str]:
    """Anchors of the headings of a page, as it is shown; none of what is no page."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else ""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in plain}
