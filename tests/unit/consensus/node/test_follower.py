"""A light client: nothing but the genesis is trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.follower import Follower
from consensus.wire.messages import Block, FinalBlock, QuorumCertificate, Step
from tests.support import certificates
from tests.support.learning import proven_lab


def certify(block: Block, **options: Any) -> FinalBlock:
    return certificates.certify(proven_lab(), block, **options)


@cache
def make_chain() -> list[tuple[ChainState, Block]]:
    """Blocks of a learning round with real proofs, each with the state before it."""
    lab = proven_lab()
    state, found = start(lab.genesis), []
    while state.learning_round == 0:
        block = lab.block(state, lab.list_due(state))
        found.append((state, block))
        state = apply(state, block)
    return found


def follow(n: int, *, verifies: bool = False) -> Follower:
    """A follower that has taken n blocks."""
    follower = Follower(proven_lab().genesis, proven_lab().verifier() if verifies else None)
    for _, block in make_chain()[:n]:
        assert follower.take(certify(block)) is None
    return follower


def find(phase: Phase) -> int:
    """The number of blocks before the first of this phase."""
    return next(i for i, (state, _) in enumerate(make_chain()) if state.phase is phase)


def refuse(follower: Follower, final: FinalBlock, why: str) -> None:
    """And it goes on with the right block afterwards."""
    before = follower.state
    fault = follower.take(final)
    assert fault is not None
    assert why in fault
    assert follower.state is before
    if before.height < len(make_chain()):
        assert follower.take(certify(make_chain()[before.height][1])) is None


@pytest.mark.parametrize("verifies", [False, True])
def test_an_honest_chain_is_taken_to_its_end(verifies: bool) -> None:
    follower = follow(len(make_chain()), verifies=verifies)
    last_state, last_block = make_chain()[-1]
    assert follower.state.digest == apply(last_state, last_block).digest


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda b: certify(b, signers=(0, 1)), "no quorum"),
        (lambda b: certify(b, signers=(0, 1, 2), keys=(0, 1, 1)), "not its validator's"),
        (lambda b: certify(b, signers=(0, 1, 4), keys=(0, 1, 2)), "no validator"),
        (
            lambda b: replace(
                certify(b),
                certificate=QuorumCertificate.of(
                    replace(v, signature=bytes(64)) for v in certify(b).certificate.votes
                ),
            ),
            "not its validator's",
        ),
    ],
    ids=["two of four", "one signs twice", "a fifth", "blank"],
)
def test_a_forged_certificate_is_refused(forge: Callable[[Block], FinalBlock], why: str) -> None:
    for height in (0, 3):
        refuse(follow(height), forge(make_chain()[height][1]), why)


def test_prevotes_are_no_certificate() -> None:
    """They cannot even be written down as one."""
    votes = certify(make_chain()[0][1]).certificate.votes
    with pytest.raises(ValueError, match="no precommits"):
        QuorumCertificate.of(replace(v, step=int(Step.PREVOTE), time_ms=0) for v in votes)
    with pytest.raises(ValueError, match="not for one block"):
        QuorumCertificate.of((*votes[:2], replace(votes[2], round=1)))


def test_a_certificate_of_another_chain_is_refused() -> None:
    block = make_chain()[0][1]
    lab = proven_lab()
    votes = tuple(
        replace(
            vote,
            signature=lab.validators[vote.validator].sign(
                replace(vote, signature=bytes(64)).sign_bytes(b"another chain")
            ),
        )
        for vote in certify(block).certificate.votes
    )
    final = certify(block)
    forged = replace(final, certificate=QuorumCertificate.of(votes))
    refuse(follow(0), forged, "not its validator's")


def test_a_certificate_of_another_block_is_none_of_this_one() -> None:
    first, other = make_chain()[0][1], replace(make_chain()[0][1], proposer=1)
    with pytest.raises(ValueError, match="another block"):
        replace(certify(first), block=other)


@pytest.mark.parametrize("height", [0, 1, 3, 5])
def test_heights_come_one_by_one(height: int) -> None:
    blocks = [block for _, block in make_chain()]
    for other in range(len(blocks)):
        if other != height:
            why = f"height {other + 1} after height {height}"
            refuse(follow(height), certify(blocks[other]), why)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"parent": bytes(32)}, "the parent is another block"),
        ({"state_root": bytes(32)}, "the state root is another"),
        ({"proposer": 4}, "the proposer is no validator"),
        ({"beacon": bytes(32)}, "beacon"),
    ],
)
def test_a_changed_block_is_refused_although_a_quorum_signed(
    changes: dict[str, object], why: str
) -> None:
    for height in (0, 1, 3):
        block = replace(make_chain()[height][1], **changes)  # type: ignore[arg-type]
        refuse(follow(height), certify(block), why)


def test_a_dropped_or_doubled_transaction_changes_the_block() -> None:
    height = find(Phase.COMMIT)
    block = make_chain()[height][1]
    dropped = replace(block, transactions=block.transactions[:-1])
    final = certify(block)
    for other in (dropped, replace(block, transactions=block.transactions[::-1])):
        with pytest.raises(ValueError, match="another block"):
            replace(final, block=other)
    doubled = replace(block, transactions=(*block.transactions, block.transactions[0]))
    refuse(follow(height), certify(doubled), "second one of its client")
    follower = follow(height)
    assert follower.take(certify(dropped)) is None, "a quorum may have meant it"
    assert follower.take(final) == f"height {block.height} after height {block.height}"


def test_only_a_verifier_sees_what_needs_pairings_and_blobs() -> None:
    """2f + 1 validators that lie can bind a light client, but not one that verifies."""
    lab = proven_lab()
    cases: list[tuple[Phase, dict[str, object], str]] = []
    at_beacon = make_chain()[find(Phase.BEACON)][0]
    other = lab.compute_beacon(replace(at_beacon, commit_height=at_beacon.commit_height + 1))
    cases.append((Phase.BEACON, {"beacon": other}, "the beacon is not the validators' signature"))
    at_prove, prove_block = make_chain()[find(Phase.PROVE)]
    false = lab.wrap(1, replace(lab.make_envelope(1, at_prove), proof=bytes(224)))
    proofs = (prove_block.transactions[0], false, prove_block.transactions[2])
    cases.append((Phase.PROVE, {"transactions": proofs}, "transaction 1"))
    _, elect_block = make_chain()[find(Phase.ELECT)]
    wrong = replace(elect_block.aggregate[0], model_digest=bytes(32))
    cases.append(
        (Phase.ELECT, {"aggregate": (wrong,)}, "the aggregate is not what the payloads come to")
    )
    for phase, changes, why in cases:
        height = find(phase)
        final = certify(replace(make_chain()[height][1], **changes))  # type: ignore[arg-type]
        assert follow(height).take(final) is None
        refuse(follow(height, verifies=True), final, why)
