"""A report of an experiment, as `zkpot experiment` writes it, and its picture."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

from federated.experiments.kinds import FORMAT


def make_report(**changes: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "experiment": "claims",
        "title": "claims against the verifier",
        "version": 1,
        "profile": "quick",
        "seconds": 12.5,
        "conditions": {"processor": "some", "seeds": "3"},
        "findings": [
            {"claim": "no forged claim is accepted", "measured": "0 of 90", "holds": True},
            {"claim": "it <b>costs</b> nothing", "measured": "3 | 4 s", "holds": False},
            {"claim": "nobody leads for ever", "measured": "bands overlap", "holds": None},
        ],
        "tables": [{"title": "By kind", "columns": ["kind", "tried"], "rows": [["forged", "90"]]}],
        "figures": [{"file": "claims-kinds.png", "caption": "kinds of [forged] claims, 3 seeds"}],
        "cells": [{"seed": 0, "parameters": {}, "result": {"tried": 90}}],
        **changes,
    }


def put_report(folder: Path, **changes: Any) -> None:
    """Below a folder of profiles."""
    report = make_report(**changes)
    place = folder / report["profile"]
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{report['experiment']}.json").write_text(json.dumps(report))
    (place / "claims-kinds.png").write_bytes(make_picture())


def make_picture(width: int = 40, height: int = 20) -> bytes:
    """A gray PNG."""

    def part(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")
