"""Snapshots: a state that anybody can hand over, and nobody can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from consensus.aggregation.outcome import Cheat
from consensus.disk.snapshots import (
    MAX_SNAPSHOT_BYTES,
    Snapshot,
    drop_snapshots,
    find_snapshots,
    list_snapshots,
    load_snapshot,
    save_snapshot,
)
from consensus.errors import SnapshotInvalid
from consensus.learning.chain import apply
from consensus.learning.chain_state import Absence, ChainState, Phase
from consensus.wire.codec import MAX_TRANSACTIONS, MAX_VALIDATORS
from consensus.wire.gossip_messages import MAX_STATE_BYTES
from consensus.wire.outcomes import MAX_EDGES, Edge, Exclusion
from prover.wire.records import encode_fields, split_fields
from tests.support.certificates import certify
from tests.support.learning import PHASES, Lab, make_training

LAB = Lab()
TRAINING = Lab(changes={"training": make_training()})
BEFORE_END = [phase for phase in PHASES if phase is not Phase.DONE]


def take(phase: Phase, learning_round: int = 0, lab: Lab = LAB) -> Snapshot:
    state = lab.reach(phase, learning_round=learning_round)
    return Snapshot(state, certify(lab, lab.block(state, lab.list_due(state))))


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", BEFORE_END)
def test_a_state_of_every_phase_comes_back(phase: Phase) -> None:
    for learning_round in (0, 1) if phase is not Phase.REGISTER else (0,):
        state = LAB.reach(phase, learning_round=learning_round)
        found = ChainState.decode(state.encode(), LAB.genesis)
        assert found == state
        assert found is not None
        assert found.digest == state.digest


@pytest.mark.parametrize("lab", [LAB, TRAINING])
def test_bytes_of_a_state_are_canonical(lab: Lab) -> None:
    raw = lab.reach(Phase.REVEAL).encode()
    assert ChainState.decode(raw + b"\x00", lab.genesis) is None
    assert ChainState.decode(b"", lab.genesis) is None
    assert ChainState.decode(raw, replace(lab.genesis, chain_id=b"other")) is None
    head = raw.index(b"\x00") + 1
    parts = split_fields(raw[head:], 99)
    for i in range(len(parts)):
        for other in (parts[:i] + parts[i + 1 :], [*parts[:i], b"\x01" * 3, *parts[i + 1 :]]):
            found = ChainState.decode(raw[:head] + encode_fields(other), lab.genesis)
            assert found is None or found.encode() != raw


def test_the_state_of_as_many_clients_as_there_may_be_fits() -> None:
    """With everything on record that a client may have on record, training included."""
    state = TRAINING.reach(Phase.REVEAL)
    keys = [i.to_bytes(32, "big") for i in range(MAX_TRANSACTIONS)]
    known: dict[str, Any] = {
        field.name: dict.fromkeys(keys, next(iter(value.values()), bytes(32)))
        for field in fields(state)
        if isinstance(value := getattr(state, field.name), Mapping)
    }
    known |= dict.fromkeys(("absences", "bans"), dict.fromkeys(keys, Absence(64, 1 << 16)))
    known["accounts"] = {key: key[-20:] for key in keys}
    known |= dict.fromkeys(("weights", "rewards"), dict.fromkeys(keys, (1 << 63) - 1))
    known |= dict.fromkeys(("expelled", "debtors", "ranking"), tuple(keys))
    known["excluded"] = tuple(Exclusion(key, Cheat.DEAL) for key in keys)
    known["edges"] = (Edge(bytes(32), bytes(32)),) * MAX_EDGES
    full = replace(state, **known)
    assert all(len(c.trajectory) == len(c.d_m) == 32 for c in full.commits.values())
    raw = full.encode()
    assert 1 << 20 < len(raw) <= MAX_STATE_BYTES - MAX_VALIDATORS * 256
    assert ChainState.decode(raw, TRAINING.genesis) == full


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 1 << 63},
        {"head": bytes(31)},
        {"beacon": bytes(31)},
        {"order_beacon": bytes(31)},
        {"batches": {bytes(32): b""}},
        {"maker": MAX_VALIDATORS},
        {"order": (MAX_VALIDATORS,)},
        {"offenders": (0,) * (MAX_VALIDATORS + 1)},
        {"ranking": (bytes(31),)},
        {"clients": {bytes(31): 0}},
        {"clients": {bytes(32): MAX_VALIDATORS}},
        {"masked": {bytes(32): b""}},
        {"edges": (Edge(bytes(32), bytes(32)),) * (MAX_EDGES + 1)},
    ],
)
def test_bytes_of_a_state_out_of_its_ranges_are_none(changes: dict[str, Any]) -> None:
    state = replace(LAB.reach(Phase.REVEAL), **changes)
    assert ChainState.decode(state.encode(), LAB.genesis) is None


def test_the_order_in_which_clients_came_is_not_in_the_bytes() -> None:
    state = LAB.reach(Phase.REVEAL)
    other = replace(state, clients=dict(reversed(state.clients.items())))
    assert list(other.clients) != list(state.clients)
    assert other.encode() == state.encode()


# -- snapshots -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", BEFORE_END)
def test_a_snapshot_is_taken_as_it_was_made(phase: Phase) -> None:
    require_taken(take(phase), LAB)


@pytest.mark.parametrize("phase", [Phase.ORDER, Phase.COMMIT, Phase.PROVE, Phase.MASK])
def test_a_snapshot_of_training_is_taken_as_it_was_made(phase: Phase) -> None:
    require_taken(take(phase, lab=TRAINING), TRAINING)


def require_taken(made: Snapshot, lab: Lab) -> None:
    found = Snapshot.decode(made.encode(), lab.genesis)
    assert found.state == made.state
    assert apply(found.state, found.final.block) == apply(made.state, made.final.block)


def test_one_changed_bit_is_refused() -> None:
    """Of every byte, one bit in turn; every length too."""
    raw = take(Phase.REVEAL, 1).encode()
    for at in range(len(raw)):
        other = raw[:at] + bytes((raw[at] ^ (1 << at % 8),)) + raw[at + 1 :]
        with pytest.raises(SnapshotInvalid):
            Snapshot.decode(other, LAB.genesis)
    for n in [*range(0, len(raw), 7), len(raw) - 1]:
        with pytest.raises(SnapshotInvalid):
            Snapshot.decode(raw[:n], LAB.genesis)
    with pytest.raises(SnapshotInvalid):
        Snapshot.decode(raw + b"\x00", LAB.genesis)


def test_what_a_quorum_did_not_sign_is_refused() -> None:
    made = take(Phase.PROVE)
    block = made.final.block
    richer = replace(made.state, ranking=(LAB.client(2),))
    forged = replace(block, state_root=richer.digest)
    cases = [
        (Snapshot(richer, made.final), "not the one that the block after it names"),
        (Snapshot(richer, certify(LAB, forged, signers=(0, 1))), "no quorum"),
        (Snapshot(richer, certify(LAB, forged, signers=(0, 1, 2), keys=(0, 1, 1))), "signature"),
        (Snapshot(made.state, take(Phase.REVEAL).final), "not the one that the block after it"),
        (
            Snapshot(made.state, certify(LAB, replace(block, parent=bytes(32)))),
            "does not follow: the parent",
        ),
    ]
    for snapshot, why in cases:
        with pytest.raises(SnapshotInvalid, match=why):
            Snapshot.decode(snapshot.encode(), LAB.genesis)


def test_of_another_genesis_it_is_refused() -> None:
    other = replace(LAB.genesis, chain_id=b"other")
    with pytest.raises(SnapshotInvalid, match="not final on this chain"):
        Snapshot.decode(take(Phase.PROVE).encode(), other)


def test_a_long_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(MAX_SNAPSHOT_BYTES * 100)
    with pytest.raises(SnapshotInvalid, match="is longer than"):
        load_snapshot(path, LAB.genesis)


def test_files_are_found_by_height_and_what_is_damaged_passed_over(tmp_path: Path) -> None:
    first, second, third = (take(phase) for phase in (Phase.COMMIT, Phase.PROVE, Phase.ELECT))
    paths = [save_snapshot(tmp_path, s) for s in (third, first, second)]
    (tmp_path / "snapshot-x.zks").write_bytes(b"")
    heights = [s.height for s in (first, second, third)]
    assert [h for h, _ in list_snapshots(tmp_path)] == heights
    assert [s.height for s in find_snapshots(tmp_path, LAB.genesis, newest_first=True)] == [
        *reversed(heights)
    ]
    paths[0].write_bytes(paths[1].read_bytes())  # under another's name
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    assert [s.height for s in find_snapshots(tmp_path, LAB.genesis, newest_first=False)] == [
        first.height
    ]
    drop_snapshots(tmp_path, second.height)
    assert [h for h, _ in list_snapshots(tmp_path)] == heights[1:]
