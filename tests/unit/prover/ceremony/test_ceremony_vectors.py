"""The committed transcript of a ceremony is what is written, read and refused today."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prover.ceremony.own.check import require_chain
from prover.ceremony.own.record import Transcript
from prover.errors import CeremonyInvalid, FormatError
from tests.support.ceremony_vectors import PATH, make_vectors
from tests.support.toy_protocol import BACKEND


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found


def test_the_vectors_are_made_again(vectors: dict[str, Any]) -> None:
    """The first key, every state and the key come from seeds alone: their digests are the same."""
    assert make_vectors() == vectors


def test_the_transcript_holds(vectors: dict[str, Any]) -> None:
    transcript = Transcript.decode(bytes.fromhex(vectors["transcript"]))
    require_chain(transcript, BACKEND)


def test_malformed_transcripts_are_refused(vectors: dict[str, Any]) -> None:
    for case in vectors["malformed"]:
        with pytest.raises(FormatError):
            Transcript.decode(bytes.fromhex(case["transcript"]))


def test_transcripts_that_do_not_hold_are_refused(vectors: dict[str, Any]) -> None:
    for case in vectors["refused"]:
        transcript = Transcript.decode(bytes.fromhex(case["transcript"]))
        with pytest.raises(CeremonyInvalid) as found:
            require_chain(transcript, BACKEND)
        assert found.value.what == case["fault"]
