"""A few nodes whose every message a test delivers by hand; no clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consensus.agreement import memory, state
from consensus.agreement.events import (
    BlockBuilt,
    BlockChecked,
    Build,
    Check,
    Config,
    Effect,
    Event,
    Finalize,
    Received,
    Send,
    Started,
    TimeoutFired,
)
from consensus.wire.messages import NIL, FinalBlock, Proposal, QuorumCertificate, Step, Vote
from tests.consensus.toy_chain import Signer, ToyBlock, ToyChain, ToyRules, make_block, make_note

TIME_MS = 7


class Stage:
    """Validators 0 .. n-1, those of `correct` as state machines; the test speaks for the others.

    sent   : what a node signed last, by validator, round and step
    faults : verdicts on blocks by hash; the others are valid
    checks : False leaves blocks unchecked
    """

    def __init__(self, correct: Sequence[int], n: int = 4, chain: ToyChain | None = None) -> None:
        self.n = n
        self.chain = chain or ToyChain(n)
        self.signer = Signer(n)
        self.states: dict[int, Any] = {
            i: memory.start(self.config(i), self.chain, None) for i in correct
        }
        self.sent: dict[tuple[int, int, int], Any] = {}  # by validator, round, step
        self.effects: dict[int, list[Effect]] = {i: [] for i in correct}
        self.finals: dict[int, list[bytes]] = {i: [] for i in correct}
        self.faults: dict[bytes, str | None] = {}
        self.checks = True

    def config(self, i: int) -> Config:
        return Config(n_validators=self.n, validator=i, rules=ToyRules())

    def start(self) -> None:
        for i in self.states:
            self.feed(i, Started())

    def feed(self, i: int, event: Event) -> list[Effect]:
        """An event for one node, and the effects, its own messages and checks included."""
        events: list[Event] = [event]
        found: list[Effect] = []
        while events:
            self.states[i], effects = state.step(self.states[i], events.pop(0), TIME_MS)
            found.extend(effects)
            for effect in effects:
                match effect:
                    case Send():
                        signed = self.signer.sign(effect.message)
                        if not isinstance(signed, Vote | Proposal):
                            events.append(Received(signed))
                            continue
                        kind = signed.step if isinstance(signed, Vote) else Step.PROPOSE
                        self.sent[i, signed.round, kind] = signed
                        events.append(Received(signed))
                    case Build():
                        block = make_block(self.states[i].chain, i, ())
                        events.append(BlockBuilt(effect.height, effect.round, block))
                    case Check() if self.checks:
                        fault = self.faults.get(effect.block_hash)
                        height = effect.block.height
                        events.append(BlockChecked(height, effect.block_hash, fault))
                    case Finalize():
                        self.finals[i].append(effect.final.block.hash)
        self.effects[i].extend(found)
        return found

    def tell(self, message: Any, *receivers: int) -> list[Effect]:
        return [e for i in receivers for e in self.feed(i, Received(message))]

    def time_out(self, step: Step, number: int, *receivers: int) -> None:
        for i in receivers:
            self.feed(i, TimeoutFired(step, self.states[i].height, number))

    def block(self, proposer: int = 1, variant: int = 0) -> ToyBlock:
        """A block of the first height; another for each proposer, and for each variant."""
        return make_block(self.chain, proposer, (make_note(variant),) if variant else ())

    def vote(
        self, validator: int, step: Step, number: int, block_hash: bytes = NIL, height: int = 1
    ) -> Any:
        vote = Vote(
            step=step,
            height=height,
            round=number,
            block_hash=block_hash,
            time_ms=TIME_MS if step == Step.PRECOMMIT else 0,
            validator=validator,
        )
        return self.signer.sign(vote)

    def propose(self, validator: int, number: int, block: ToyBlock, valid_round: int = -1) -> Any:
        proposal = Proposal(
            height=block.height,
            round=number,
            valid_round=valid_round + 1,
            block=block,
            validator=validator,
        )
        return self.signer.sign(proposal)


PREVOTE, PRECOMMIT = Step.PREVOTE, Step.PRECOMMIT


def play_lone_decision(*, claimed_polka: bool) -> Stage:
    """Validator 2 decides block v in round 0 unseen; then 0, which is Byzantine, proposes another.

    At height 1 the order is 1, 2, 3, 0, so rounds 1 and 2 pass without a proposal. Node 1 is locked
    on v, node 3 on nothing. claimed_polka : the proposal says it had a polka in round 2
    """
    stage = Stage(correct=(1, 2, 3))
    stage.start()
    proposal = stage.sent[1, 0, Step.PROPOSE]
    v = proposal.block.hash
    stage.tell(proposal, 2, 3)
    prevotes = [stage.sent[i, 0, PREVOTE] for i in (1, 2, 3)]
    for vote in prevotes:
        stage.tell(vote, 1, 2)
    stage.tell(stage.vote(0, PREVOTE, 0), 3)
    stage.tell(prevotes[0], 3)
    stage.time_out(PREVOTE, 0, 3)
    stage.tell(stage.sent[1, 0, PRECOMMIT], 2, 3)
    stage.tell(stage.vote(0, PRECOMMIT, 0, v), 2)
    assert stage.finals[2] == [v]
    stage.tell(stage.vote(0, PRECOMMIT, 0), 1, 3)
    stage.tell(stage.sent[3, 0, PRECOMMIT], 1)
    stage.time_out(PRECOMMIT, 0, 1, 3)
    for number in (1, 2):
        _pass_round(stage, number, 1, 3)
    other = stage.block(proposer=0)
    assert other.hash != v
    stage.tell(stage.propose(0, 3, other, 2 if claimed_polka else -1), 1, 3)
    finish_round(stage, 3, other.hash, 1, 3)
    return stage


def play_old_polka() -> Stage:
    """Block a has a polka in round 0, block v one in round 1, and 2 decides v unseen.

    In round 3 validator 0, which is Byzantine, proposes a again with its true polka. Node 1 is
    locked on v since round 1, node 3 on a since round 0.
    """
    stage = Stage(correct=(1, 2, 3))
    stage.start()
    proposal = stage.sent[1, 0, Step.PROPOSE]
    stage.tell(proposal, 2, 3)
    old = [stage.sent[i, 0, PREVOTE] for i in (1, 2, 3)]
    for vote in old:
        stage.tell(vote, 3)
    for i in (1, 2):
        stage.tell(stage.vote(0, PREVOTE, 0), i)
        stage.tell(stage.sent[3 - i, 0, PREVOTE], i)
        stage.time_out(PREVOTE, 0, i)
    _share_precommits(stage, 0)
    stage.time_out(PRECOMMIT, 0, 1, 2, 3)
    v = stage.sent[2, 1, Step.PROPOSE]
    stage.tell(v, 1, 3)
    for i in (1, 2):
        stage.tell(stage.sent[3 - i, 1, PREVOTE], i)
        stage.tell(stage.vote(0, PREVOTE, 1, v.block.hash), i)
    stage.tell(stage.vote(0, PREVOTE, 1), 3)
    stage.tell(stage.sent[1, 1, PREVOTE], 3)
    stage.time_out(PREVOTE, 1, 3)
    stage.tell(stage.sent[1, 1, PRECOMMIT], 2, 3)
    stage.tell(stage.vote(0, PRECOMMIT, 1, v.block.hash), 2)
    assert stage.finals[2] == [v.block.hash]
    stage.tell(stage.vote(0, PRECOMMIT, 1), 1, 3)
    stage.tell(stage.sent[3, 1, PRECOMMIT], 1)
    stage.time_out(PRECOMMIT, 1, 1, 3)
    _pass_round(stage, 2, 1, 3)
    stage.tell(stage.propose(0, 3, proposal.block, 0), 1, 3)
    for vote in old:
        stage.tell(vote, 1, 3)
    finish_round(stage, 3, proposal.block.hash, 1, 3)
    return stage


def _share_precommits(stage: Stage, number: int) -> None:
    for i in stage.states:
        for j in stage.states:
            if i != j:
                stage.tell(stage.sent[j, number, PRECOMMIT], i)


def _pass_round(stage: Stage, number: int, *nodes: int) -> None:
    """A round in which nodes see no proposal in time; 0 votes nil."""
    stage.time_out(Step.PROPOSE, number, *nodes)
    for step in (PREVOTE, PRECOMMIT):
        for i in nodes:
            stage.tell(stage.vote(0, step, number), i)
            for j in nodes:
                if j != i:
                    stage.tell(stage.sent.get((j, number, step)) or _nil(stage, j, step, number), i)
        stage.time_out(step, number, *nodes)


def _nil(stage: Stage, validator: int, step: Step, number: int) -> Any:
    return stage.vote(validator, step, number)


def finish_round(stage: Stage, number: int, block_hash: bytes, *nodes: int) -> None:
    """0 votes for the block, and what the nodes vote reaches both."""
    for step in (PREVOTE, PRECOMMIT):
        for i in nodes:
            for j in nodes:
                if j != i and (j, number, step) in stage.sent:
                    stage.tell(stage.sent[j, number, step], i)
            stage.tell(stage.vote(0, step, number, block_hash), i)
        stage.time_out(step, number, *nodes)


def list_final_hashes(stage: Stage) -> set[bytes]:
    """Blocks final at the first height, by any node."""
    return {finals[0] for finals in stage.finals.values() if finals}


def open_stage(*correct: int) -> Stage:
    stage = Stage(correct=correct)
    stage.start()
    return stage


def get_vote(stage: Stage, i: int, number: int, step: Step) -> bytes | None:
    vote = stage.sent.get((i, number, step))
    return None if vote is None else vote.block_hash


def make_final(stage: Stage, block: Any, number: int = 0) -> FinalBlock:
    votes = [stage.vote(i, PRECOMMIT, number, block.hash, block.height) for i in range(3)]
    return FinalBlock(block=block, certificate=QuorumCertificate.of(votes))


def skip_to(stage: Stage, number: int, *nodes: int) -> None:
    """Line 55: two others are seen in that round."""
    others = [i for i in range(stage.n) if i not in nodes][:2]
    for i in others:
        stage.tell(stage.vote(i, PREVOTE, number), *nodes)


def lock_on_first(*nodes: int) -> Stage:
    """Nodes that are locked on the block of round 0, which nobody decided."""
    stage = open_stage(*nodes)
    proposal = stage.sent[1, 0, Step.PROPOSE]
    stage.tell(proposal, *(i for i in nodes if i != 1))
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, 0, proposal.block.hash), *nodes)
    for i in nodes:
        assert (stage.states[i].locked_round, stage.states[i].valid_round) == (0, 0)
    return stage
