"""Scenes of a few nodes for the rules of agreement, every message delivered by hand."""

from __future__ import annotations

from typing import Any

from consensus.agreement import memory
from consensus.agreement.events import (
    Effect,
    Held,
    Relay,
    Send,
    Started,
)
from consensus.wire.messages import Proposal, Receipt, Step, Vote
from consensus.wire.transactions import Proof
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    Stage,
    lock_on_first,
)
from tests.consensus.toy_chain import (
    ToyChain,
    ToyRules,
    make_block,
    make_client,
    make_proof,
)

PROPOSE = Step.PROPOSE
PROOF = make_proof(make_client(0), 0, 7)


def meet_in(stage: Stage, number: int, i: int) -> None:
    """Line 55 by precommits of 0 and 1, so that their prevotes of that round are still to come."""
    for other in (0, 1):
        stage.tell(stage.vote(other, PRECOMMIT, number), i)


def show_polka(stage: Stage, number: int, block_hash: bytes, *nodes: int) -> None:
    height = stage.chain.height + 1
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, number, block_hash, height), *nodes)


def stage_two_polkas() -> tuple[Stage, Any, Any]:
    """Node 3 in round 2: locked on block a since round 0, with a later polka of b from round 1."""
    stage = lock_on_first(3, 1)
    a, b = stage.sent[1, 0, PROPOSE].block, stage.block(proposer=2, variant=5)
    meet_in(stage, 2, 3)
    stage.tell(stage.propose(2, 1, b), 3)
    show_polka(stage, 1, b.hash, 3)
    s = stage.states[3]
    assert (s.locked_round, s.locked_hash) == (0, a.hash)
    assert (s.valid_round, s.valid_hash) == (1, b.hash)
    return stage, a, b


def prove_stage(chain: ToyChain | None = None) -> Stage:
    """Height 2, a PROVE phase; validator 3 is correct."""
    start = ToyChain(4)
    stage = Stage(correct=(3,), chain=chain or ToyRules().apply(start, make_block(start, 0, ())))
    stage.start()
    return stage


def hold(stage: Stage, proof: Proof, *signers: int) -> list[Effect]:
    """Node 3 finds a proof valid, and hears of receipts for it."""
    effects = stage.feed(3, Held(proof))
    for i in signers:
        receipt = Receipt(
            learning_round=proof.learning_round, transaction_digest=proof.digest, validator=i
        )
        stage.tell(stage.signer.sign(receipt), 3)
    return effects


def list_log(stage: Stage, i: int) -> list[Any]:
    """What a node's log holds: own votes and proposals with their grounds, in order."""
    log: list[Any] = []
    for effect in stage.effects[i]:
        if isinstance(effect, Send) and not isinstance(effect.message, Receipt):
            log.extend([*effect.grounds, stage.signer.sign(effect.message)])
    return log


def restart(stage: Stage, i: int) -> list[Effect]:
    stage.states[i] = memory.restore(stage.config(i), stage.chain, None, list_log(stage, i))
    return stage.feed(i, Started())


def list_polka_of(relay: Relay) -> tuple[Any, list[int], int]:
    """The block, who prevoted it, and in which round."""
    proposal, *votes = relay.messages
    assert isinstance(proposal, Proposal)
    (number,) = {v.round for v in votes if isinstance(v, Vote)}
    assert {v.block_hash for v in votes if isinstance(v, Vote)} == {proposal.block.hash}
    return proposal.block, [v.validator for v in votes if isinstance(v, Vote)], number
