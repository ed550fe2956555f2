"""Any bytes to the judge of proofs of training give a verdict; only the honest file is valid."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from federated.provable.judging import ProvenTraining
from federated.provable.proof_file import TrainingProof
from prover.errors import FormatError
from prover.judging import Refusal
from tests.support.training_files import BEACON, judge, sampled

HEAD = TrainingProof.HEADER


def edit(edits: list[tuple[int, int]]) -> bytes:
    raw = bytearray(sampled().encode())
    for at, value in edits:
        raw[at % len(raw)] ^= value
    return bytes(raw)


@given(st.binary(max_size=600) | st.binary(max_size=600).map(lambda tail: HEAD + tail))
@example(b"")
@example(HEAD)
@example(HEAD + b"\xff" * 600)
def test_any_bytes(raw: bytes) -> None:
    found = judge(raw)
    assert isinstance(found, Refusal)
    assert found.code == "malformed"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_edited_files(edits: list[tuple[int, int]]) -> None:
    raw = edit(edits)
    # Another beacon may draw the same steps: then that file is valid, too, under that beacon.
    found = judge(raw, beacon=BEACON)
    assert isinstance(found, ProvenTraining) == (raw == sampled().encode())


@settings(max_examples=60)
@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.binary(max_size=64))
def test_truncations_and_splices(at: int, end: int, inserted: bytes) -> None:
    whole = sampled().encode()
    at, end = sorted((at % len(whole), end % (len(whole) + 1)))
    raw = whole[:at] + inserted + whole[end:]
    assert isinstance(judge(raw, beacon=BEACON), ProvenTraining) == (raw == whole)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=2))
def test_files_have_one_encoding(edits: list[tuple[int, int]]) -> None:
    raw = edit(edits)
    try:
        assert TrainingProof.decode(raw).encode() == raw
    except FormatError:
        assert edits
