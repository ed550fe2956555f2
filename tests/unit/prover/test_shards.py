"""Splitting a test set, the container of its proofs, and which sets of statements are whole."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prover.errors import FieldInvalid
from prover.judging import Refusal, judge_file
from prover.shards import MAGIC, MAX_SHARDS, Container, find_fault, split_range
from prover.wire.envelope import MAX_ENVELOPE_BYTES, Envelope
from prover.wire.records import encode_fields
from prover.wire.statement import Statement
from prover.wire.wording import show_value
from tests.support.statements import make_statement, restate


def statement(index: int, **changes: object) -> Statement:
    base = make_statement(
        chain_id=b"chain",
        task_id=b"task",
        round_index=1,
        commit_height=2,
        client_key=b"client",
        verifying_key_digest=bytes(32),
        shard_index=index,
        n_real=10 + index,
        dataset_digest=index.to_bytes(32, "little"),
        multipliers=(1,),
        claimed_correct=index,
        commitments=(bytes(32),),
    )
    return restate(base, **changes)


@given(n_total=st.integers(1, 20_000), n_samples=st.integers(1, 2_000))
@example(n_total=10_000, n_samples=1024)
@example(n_total=1025, n_samples=1024)
def test_shards_are_few_even_and_whole(n_total: int, n_samples: int) -> None:
    cuts = split_range(n_total, n_samples)
    sizes = [cut.stop - cut.start for cut in cuts]
    assert [cut.start for cut in cuts] == [0, *(cut.stop for cut in cuts[:-1])]
    assert cuts[-1].stop == n_total
    assert len(cuts) == -(-n_total // n_samples)
    assert max(sizes) <= n_samples
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_container_round_trip(envelopes: list[bytes]) -> None:
    container = Container(tuple(envelopes))
    assert Container.decode(container.encode()) == container


def test_committed_container(root: Path) -> None:
    found = json.loads((root / "tests" / "vectors" / "shards_v2.json").read_text())
    envelopes = tuple(map(bytes.fromhex, found["envelopes"]))
    assert Container(envelopes).encode().hex() == found["container"]
    assert Container.decode(bytes.fromhex(found["container"])) == Container(envelopes)
    decoded = [Envelope.decode(raw) for raw in envelopes]
    assert find_fault([e.statement for e in decoded if e is not None], 2) is None
    assert len(found["refused"]) >= 10
    for case in found["refused"]:
        assert Container.decode(bytes.fromhex(case["bytes"])) is None, case["why"]


HEADER = MAGIC + b"\x01\x00"


@given(st.binary(max_size=80) | st.binary(max_size=80).map(HEADER.__add__))
@example(HEADER + b"\x01\x00\x00\x00" + b"\x02\x00\x00\x00ab")
def test_one_container_one_encoding(raw: bytes) -> None:
    found = Container.decode(raw)
    assert found is None or found.encode() == raw


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (HEADER + bytes(4), "no envelope"),
        (HEADER + (MAX_SHARDS + 1).to_bytes(4, "little") + bytes(4 * MAX_SHARDS + 4), "too many"),
        (HEADER + b"\x01\x00\x00\x00\x03\x00\x00\x00ab", "cut envelope"),
        (HEADER + b"\x01\x00\x00\x00\x01\x00\x00\x00ab", "bytes after the end"),
        (HEADER + b"\x02\x00\x00\x00\x01\x00\x00\x00a\x01\x00", "cut length"),
        (HEADER[:-2] + b"\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00", "another version"),
        (HEADER[:9], "cut header"),
    ],
)
def test_container_refused(raw: bytes, why: str) -> None:
    assert Container.decode(raw) is None, why


def test_container_refuses_an_envelope_longer_than_any() -> None:
    longest, longer = bytes(MAX_ENVELOPE_BYTES), bytes(MAX_ENVELOPE_BYTES + 1)
    assert Container.decode(Container((longest,)).encode()) is not None
    raw = Container((longest,)).encode()
    longer_raw = raw[: len(HEADER) + 4] + encode_fields([longer])
    assert Container.decode(raw[: len(HEADER) + 4] + encode_fields([longest])) is not None
    assert Container.decode(longer_raw) is None
    with pytest.raises(FieldInvalid):
        Container((longer,))


@pytest.mark.parametrize(
    ("indices", "n_shards", "words"),
    [
        ((0, 1, 2), 3, None),
        ((0,), 1, None),
        ((0, 2), 3, "shard 1 of 3 is missing"),
        ((0, 1), 3, "shard 2 of 3 is missing"),
        ((0, 1, 1), 2, "shard 1 occurs more than once"),
        ((0, 1, 1), 3, "shard 1 occurs more than once"),
        ((0, 1, 2), 2, "3 shards, the dataset makes 2"),
        ((1, 0), 2, "not in the order"),
        ((0, 1 << 62), 2, "shard 1 of 2 is missing"),
    ],
)
def test_which_indices_are_whole(
    indices: tuple[int, ...], n_shards: int, words: str | None
) -> None:
    fault = find_fault([statement(i) for i in indices], n_shards)
    assert fault is None if words is None else fault is not None and words in fault


@pytest.mark.parametrize("is_container", [False, True])
def test_no_proof_is_about_no_samples(is_container: bool) -> None:
    envelope = Envelope(statement=statement(0), proof=bytes(224)).encode()
    key: Any = SimpleNamespace(digest=statement(0).verifying_key_digest)
    found = judge_file(
        Container((envelope,)).encode() if is_container else envelope,
        key=key,
        layout=SimpleNamespace(n_samples=2),  # type: ignore[arg-type]
        images=np.zeros((0, 1), np.uint8),
        labels=np.zeros(0, np.uint8),
        expected={},
        random_bytes=bytes,
    )
    assert isinstance(found, Refusal)
    words = "the dataset makes 0" if is_container else "about 10 samples, 0 are given"
    assert words in found.reason


@pytest.mark.parametrize("is_container", [False, True])
def test_samples_that_make_a_million_shards_cost_no_more_than_their_bytes(
    is_container: bool,
) -> None:
    n_total = 1 << 21
    envelope = Envelope(statement=statement(0), proof=bytes(224)).encode()
    key: Any = SimpleNamespace(digest=statement(0).verifying_key_digest)
    layout: Any = SimpleNamespace(n_samples=2)
    images, labels = np.zeros((n_total, 1), np.uint8), np.zeros(n_total, np.uint8)
    tracemalloc.start()
    try:
        found = judge_file(
            Container((envelope,)).encode() if is_container else envelope,
            key=key,
            layout=layout,
            images=images,
            labels=labels,
            expected={},
            random_bytes=bytes,
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, Refusal)
    words = "shard 1 of 1048576 is missing (1048575 in all)" if is_container else "10 samples, "
    assert words in found.reason
    assert peak < 1 << 16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chain_id", b"other"),
        ("task_id", b"other"),
        ("round_index", 9),
        ("commit_height", 9),
        ("client_key", b"other"),
        ("verifying_key_digest", bytes([1]) * 32),
        ("multipliers", (2,)),
        ("commitments", (bytes([1]) * 32,)),
    ],
)
def test_shards_share_everything_but_their_data(name: str, value: object) -> None:
    shards = [statement(0), statement(1, **{name: value})]
    assert find_fault(shards, 2) == f"the shards differ in {name}"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("chain_id", b"main net", "main net"),
        ("chain_id", b"\x1b[2J", "0x1b5b324a"),
        ("task_id", "tâche".encode(), "0x74c3a2636865"),
        ("client_key", b"ab", "6162"),
        ("round_index", 7, "7"),
    ],
)
def test_names_of_strangers_cannot_steer_a_terminal(
    name: str, value: bytes | int, shown: str
) -> None:
    assert show_value(name, value) == shown
