"""The CUDA sources: read, joined into one text, and asked what they export.

One text per module makes the cubin's cache key complete (headers are part of it) and serves every
compiler alike: NVRTC needs no include directory.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"

_INCLUDE = re.compile(r'^#include "([a-z0-9_]+\.cuh)"$', re.MULTILINE)
_KERNEL = re.compile(r"^ZK_KERNEL\((\d+)\)\s+(\w+)\(", re.MULTILINE)
_EXPORT = re.compile(r"^ZK_EXPORT\((\w+)\)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """One module.

    text    : the .cu file with its headers, each once, in place of its first include
    kernels : the most threads per block of each exported kernel
    """

    name: str
    text: str
    kernels: dict[str, int]

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def load_source(name: str) -> Source:
    """`src/NAME.cu`. Raises KeyError if there is none."""
    if name not in list_modules():
        raise KeyError(f"no CUDA module {name!r}; known: {', '.join(list_modules())}")
    return read_source(SOURCES / f"{name}.cu")


def read_source(path: Path) -> Source:
    """A .cu file anywhere; its headers are those of `src/`."""
    return parse_source(path.stem, _join(path, set()))


@cache
def list_modules() -> tuple[str, ...]:
    """Names of all modules."""
    return tuple(sorted(path.stem for path in SOURCES.glob("*.cu")))


def parse_source(name: str, text: str) -> Source:
    """A module from its whole text. Raises ValueError unless each kernel is exported once."""
    kernels = {kernel: int(n) for n, kernel in _KERNEL.findall(text)}
    exported = _EXPORT.findall(text)
    if sorted(exported) != sorted(kernels):
        raise ValueError(f"{name}: kernels {sorted(kernels)}, exported {sorted(exported)}")
    return Source(name, text, kernels)


def _join(path: Path, seen: set[str]) -> str:
    seen.add(path.name)
    text = path.read_text(encoding="utf-8").replace("#pragma once\n", "")

    def insert(match: re.Match[str]) -> str:
        header = match.group(1)
        return "" if header in seen else _join(SOURCES / header, seen)

    return f"// ---- {path.name}\n" + _INCLUDE.sub(insert, text)
