"""What `tests/vectors/ceremony_v2.json` holds, made from seeds; a test compares.

`python -m tests.support.ceremony_vectors` writes the file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prover.ceremony.own.finish import make_verifying
from prover.ceremony.own.record import Transcript
from tests.support.own_ceremonies import BEACON, Ceremony, swap_contributions

PATH = Path(__file__).resolve().parent.parent / "vectors" / "ceremony_v2.json"


def make_vectors() -> dict[str, Any]:
    """A ceremony of two and a beacon, the key that it ends in, and transcripts that do not hold."""
    with TemporaryDirectory() as folder:
        ceremony = Ceremony(Path(folder))
        ceremony.contribute(1)
        ceremony.contribute(2)
        ceremony.contribute(3, BEACON)
    transcript = ceremony.transcript
    key = make_verifying(transcript, bytes(32))
    return {
        "transcript": transcript.encode().hex(),
        "places": [place.hex() for place in transcript.list_places()],
        "states": [one.change.state.hex() for one in transcript.contributions],
        "verifying_key": key.encode().hex(),
        "verifying_key_digest": key.digest.hex(),
        "malformed": [
            {"why": why, "transcript": raw.hex()} for why, raw in list_malformed(transcript)
        ],
        "refused": [
            {"fault": fault, "transcript": found.encode().hex()}
            for fault, found in list_refused(transcript)
        ],
    }


def list_malformed(transcript: Transcript) -> list[tuple[str, bytes]]:
    raw = transcript.encode()
    return [
        ("cut short", raw[:-1]),
        ("a byte behind the last contribution", raw + b"\0"),
        ("another version", raw[:8] + b"\x01" + raw[9:]),
    ]


def list_refused(transcript: Transcript) -> list[tuple[str, Transcript]]:
    first, *_, last = transcript.contributions
    own = "does not prove, at this place, that it knew its shares"
    renamed = replace(first, change=replace(first.change, name=b"another"))
    late = replace(last, change=replace(last.change, exponent=11))
    return [
        (f"contribution 1 ('seed 2') {own}", swap_contributions(transcript)),
        (f"contribution 1 ('another') {own}", replace(transcript, contributions=(renamed,))),
        (f"contribution 2 ('seed 1') {own}", replace(transcript, contributions=(first, first))),
        (
            f"contribution 3 ('beacon') {own}",
            replace(transcript, contributions=(*transcript.contributions[:2], late)),
        ),
    ]


if __name__ == "__main__":
    PATH.write_text(json.dumps(make_vectors(), indent=1) + "\n")
