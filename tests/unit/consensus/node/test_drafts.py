"""What a proposer puts into a block; beacon shares that count and those that don't."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from consensus.aggregation.outcome import Cheat, Ending
from consensus.learning import beacon
from consensus.learning.chain import apply, beacon_message, find_fault, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.node import drafts
from consensus.node.drafts import BeaconShares, draft_block
from consensus.node.verifier import BlockVerifier
from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.messages import NIL, BeaconShare, Block, Evidence, Step, Vote
from consensus.wire.outcomes import MAX_EDGES, Aggregate, Edge, Entry, Exclusion
from consensus.wire.transactions import Transaction
from kernels.array import G1Array, G2Array
from kernels.encoding import encode_g1
from tests.support.finality import watch_tests
from tests.support.learning import PHASES, Lab, deal_beacon, proven_lab, proven_state
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded


def make_share(state: ChainState, i: int, **changes: object) -> BeaconShare:
    secret = deal_beacon(4).secrets[i]
    share = BeaconShare(
        learning_round=state.learning_round,
        commit_height=state.commit_height,
        validator=i,
        share=beacon.sign_share(secret, beacon_message(state)),
    )
    return replace(share, **changes)  # type: ignore[arg-type]


def make_shares(state: ChainState, *indices: int) -> BeaconShares:
    shares = BeaconShares(proven_lab().genesis)
    for i in indices:
        assert shares.add(state, make_share(state, i)) is None
    return shares


@cache
def make_evidence(validator: int) -> Evidence:
    lab = proven_lab()
    votes = [
        lab.sign(
            Vote(step=int(Step.PREVOTE), height=1, round=0, block_hash=named, validator=validator),
            lab.validators[validator],
        )
        for named in (NIL, bytes([7]) * 32)
    ]
    first, second = sorted(votes, key=lambda vote: vote.block_hash)
    return Evidence(first=first, second=second)


def draft(
    state: ChainState,
    transactions: list[Transaction] | None = None,
    evidence: list[Evidence] | None = None,
    shares: BeaconShares | None = None,
    verifier: BlockVerifier | None = None,
    lab: Lab | None = None,
) -> Block | None:
    lab = lab or proven_lab()
    return draft_block(
        state,
        proposer=2,
        certificate=lab.certify_head(state),
        transactions=transactions or [],
        evidence=evidence or [],
        shares=shares or BeaconShares(proven_lab().genesis),
        verifier=verifier or proven_lab().verifier(),
    )


# -- blocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [p for p in PHASES if p is not Phase.DONE])
def test_a_draft_of_every_phase_passes_every_check(phase: Phase) -> None:
    lab, state = proven_lab(), proven_state(phase)
    shares = make_shares(state, 1, 3) if phase is Phase.BEACON else None
    block = draft(state, lab.list_due(state), shares=shares)
    assert block is not None
    assert len(block.transactions) == (3 if lab.list_due(state) else 0)
    assert lab.verifier().check(state, block) is None
    assert block == draft(state, lab.list_due(state), shares=shares), "nothing random in it"


def test_the_first_of_each_client_enters() -> None:
    lab, state = proven_lab(), proven_state(Phase.COMMIT)
    other = lab.commit(0, d_w=lab.commit(1).d_w)
    block = draft(state, [lab.commit(1), lab.commit(0), other])
    assert block is not None
    assert block.transactions == (lab.commit(1), lab.commit(0))


def test_a_block_holds_what_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lab, state = proven_lab(), proven_state(Phase.COMMIT)
    txs: list[Transaction] = [lab.commit(i) for i in range(3)]
    monkeypatch.setattr(drafts, "ROOM_BYTES", 2 * (len(txs[0].encode()) + 8))
    block = draft(state, txs)
    assert block is not None
    assert list(block.transactions) == txs[:2]
    monkeypatch.undo()
    monkeypatch.setattr(drafts, "MAX_TRANSACTIONS", 1)
    block = draft(state, txs)
    assert block is not None
    assert list(block.transactions) == txs[:1]


def test_the_largest_draft_can_be_decoded() -> None:
    """MAX_TRANSACTIONS of the largest kind, or as many of them as there is room for."""
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    proof = lab.prove(0, state)
    many: list[Transaction] = [
        replace(proof, client_key=i.to_bytes(32, "little")) for i in range(MAX_TRANSACTIONS + 1)
    ]
    block = draft(state, many, evidence=[make_evidence(i) for i in range(4)])
    assert block is not None
    assert Block.decode(block.encode()) == block
    assert len(block.transactions) > 100


def test_no_more_register_than_the_task_expects() -> None:
    """More clients may have a permit; a draft with all of them would be refused every time."""
    lab = Lab(n_clients=5, changes={"n_expected": 3, "register_ms": 9000})
    state = start(lab.genesis)
    for first, n_room in ((0, 3), (1, 2)):
        block = draft(state, [lab.register(i) for i in range(first, 5)], lab=lab)
        assert block is not None
        assert len(block.transactions) == n_room
        assert find_fault(state, block) is None
        state = apply(state, lab.block(state, transactions=(lab.register(0),)))


def test_the_aggregate_of_as_many_clients_as_can_be_has_room() -> None:
    entries = tuple(
        Entry(client_key=i.to_bytes(32, "big"), proven=1) for i in range(MAX_TRANSACTIONS)
    )
    excluded = tuple(Exclusion(entry.client_key, Cheat.MASKED) for entry in entries)
    edges = tuple(
        Edge((i // 64).to_bytes(32, "big"), (i % 64).to_bytes(32, "big")) for i in range(MAX_EDGES)
    )
    model = Aggregate(
        learning_round=0,
        ending=Ending.MODEL,
        model_digest=bytes(32),
        entries=entries,
        excluded=excluded,
    )
    reveal = replace(model, ending=Ending.REVEAL, entries=(), edges=edges)
    block = draft(proven_state(Phase.ELECT), evidence=[make_evidence(i) for i in range(4)])
    assert block is not None
    for full in (model, reveal):
        assert Aggregate.decode(full.encode()) == full
        crowded = replace(block, aggregate=(full,))
        assert Block.decode(crowded.encode()) == crowded


def test_evidence_enters_once() -> None:
    state = proven_state(Phase.COMMIT)
    known = replace(state, offenders=(1,))
    both = [make_evidence(1), make_evidence(3)]
    block = draft(known, evidence=both)
    assert block is not None
    assert block.evidence == (make_evidence(3),)
    assert find_fault(known, block) is None
    assert draft(state, evidence=both) is not None


def test_no_draft_without_what_is_due() -> None:
    at_beacon, at_elect = proven_state(Phase.BEACON), proven_state(Phase.ELECT)
    assert draft(at_beacon, shares=make_shares(at_beacon, 0)) is None, "f shares"
    assert draft(at_beacon, shares=make_shares(at_beacon, 0, 2)) is not None
    empty = BlockVerifier(proven_lab().genesis, MemoryBlobs(), seeded(1))
    assert draft(at_elect, verifier=empty) is None, "the payloads are not here"
    assert draft(at_elect) is not None


# -- shares of the beacon --------------------------------------------------------------------------


def test_any_f_plus_1_shares_make_the_one_beacon() -> None:
    lab, state = proven_lab(), proven_state(Phase.BEACON)
    due = lab.compute_beacon(state)
    for indices in ((0, 1), (3, 2), (1, 3), (0, 1, 2, 3)):
        assert make_shares(state, *indices).combine(state) == due


def test_a_share_counts_once() -> None:
    state = proven_state(Phase.BEACON)
    assert make_shares(state, 1, 1, 1).combine(state) is None


@pytest.mark.parametrize("changes", [{"learning_round": 1}, {"commit_height": 1}])
def test_a_share_of_another_beacon_is_not_kept(changes: dict[str, object]) -> None:
    state = proven_state(Phase.BEACON)
    shares = make_shares(state, 2)
    fault = shares.add(state, make_share(state, 0, **changes))
    assert fault == "a share of no beacon that is due"
    assert shares.combine(state) is None
    assert shares.add(state, make_share(state, 0)) is None, "the true one still counts"
    assert shares.combine(state) == proven_lab().compute_beacon(state)


@pytest.mark.parametrize("share", [bytes(32), b"\xff" * 32, encode_g1(G1Array.zeros(1)), None])
def test_a_false_share_spoils_one_sum_once(
    share: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its validator signed it: no point, infinity, or the share of somebody else."""
    state = proven_state(Phase.BEACON)
    false = share or make_share(state, 1).share
    tested = watch_tests(monkeypatch)
    shares = make_shares(state, 2)
    assert shares.add(state, make_share(state, 0, share=false)) is None
    assert tested == [], "none is tested before a sum has failed"
    assert shares.combine(state) is None
    assert (shares.liars, len(tested)) == ({0}, 2)
    assert shares.combine(state) is None
    assert shares.add(state, make_share(state, 0)) == "a second share of its validator"
    assert shares.add(state, make_share(state, 3)) is None
    assert shares.combine(state) == proven_lab().compute_beacon(state)
    assert len(tested) == 2


def test_a_share_of_the_beacon_before_is_none_of_this_one() -> None:
    """The message holds round and height; shares do not outlive their beacon, but liars do."""
    first, second = proven_state(Phase.BEACON), proven_state(Phase.BEACON, 1)
    shares = make_shares(first, 0, 1)
    assert shares.combine(first) == proven_lab().compute_beacon(first)
    assert shares.combine(second) is None
    old = make_share(first, 2)
    assert shares.add(second, old) == "a share of no beacon that is due"
    moved = replace(old, learning_round=second.learning_round, commit_height=second.commit_height)
    assert shares.add(second, moved) is None
    assert shares.add(second, make_share(second, 0)) is None
    assert shares.combine(second) is None
    assert shares.liars == {2}
    assert shares.add(second, make_share(second, 3)) is None
    assert shares.combine(second) == proven_lab().compute_beacon(second)


def test_a_liar_is_not_looked_at_in_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = proven_state(Phase.BEACON), proven_state(Phase.BEACON, 1)
    shares = make_shares(first, 1)
    shares.add(first, make_share(first, 0, share=bytes(32)))
    assert shares.combine(first) is None
    tested = watch_tests(monkeypatch)
    shares.add(second, make_share(second, 0, share=bytes(32)))
    for i in (1, 2):
        shares.add(second, make_share(second, i))
    assert shares.combine(second) == proven_lab().compute_beacon(second)
    assert tested == []


def test_more_liars_than_can_be_count_again_in_the_next_round() -> None:
    first, second = proven_state(Phase.BEACON), proven_state(Phase.BEACON, 1)
    shares = BeaconShares(proven_lab().genesis)
    for i in (0, 1):
        shares.add(first, make_share(first, i, share=bytes(32)))
    assert shares.combine(first) is None
    assert shares.liars == {0, 1}
    for i in (0, 1):
        shares.add(second, make_share(second, i))
    assert shares.combine(second) == proven_lab().compute_beacon(second)


def test_a_beacon_costs_one_check_however_often_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks: list[object] = []
    real = beacon.pairing_product_is_one

    def check(p: G1Array, q: G2Array) -> bool:
        checks.append(p)
        return real(p, q)

    monkeypatch.setattr(beacon, "pairing_product_is_one", check)
    state = proven_state(Phase.BEACON)
    shares = make_shares(state, 0, 1, 2, 3, 3)
    assert checks == []
    made = {shares.combine(state) for _ in range(3)}
    assert (made, len(checks)) == ({proven_lab().compute_beacon(state)}, 1)


@pytest.mark.parametrize("phase", [p for p in PHASES if p is not Phase.BEACON])
def test_no_share_counts_before_or_after_its_time(phase: Phase) -> None:
    state = proven_state(phase, 1 if phase is Phase.DONE else 0)
    share = make_share(proven_state(Phase.BEACON), 0)
    assert (
        BeaconShares(proven_lab().genesis).add(state, share) == "a share of no beacon that is due"
    )
