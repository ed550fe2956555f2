"""What a node knows of the height under way, and how messages enter it: bounded whatever arrives.

Kept are the rounds near the node's own, the two that bind it, and the one that the proposal of the
round points to. In each, one proposal of the proposer and a `Tally` for each kind of vote; a second
block only if f + 1 validators named it. Of rounds far ahead only the number is kept, by validator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from consensus.agreement.events import Config, ConsensusMessage
from consensus.agreement.receipts import ReceiptBook
from consensus.agreement.votes import Tally
from consensus.wire.messages import NIL, Proposal, QuorumCertificate, Step, Vote

ROUNDS_BEHIND = 4
ROUNDS_AHEAD = 4
EARLY_ROUNDS = 2  # of the next height
_NO_VOTES = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the height.

    proposal        : the first that came from its proposer
    proposed        : this node's own proposal has left
    has_polka       : line 36 has fired
    relayed         : the polka has been relayed
    prevote_timer, precommit_timer : lines 34, 47 have fired
    """

    proposal: Proposal | None = None
    proposal_hash: bytes = NIL
    prevotes: Tally = _NO_VOTES
    precommits: Tally = _NO_VOTES
    proposed: bool = False
    has_polka: bool = False
    relayed: bool = False
    prevote_timer: bool = False
    precommit_timer: bool = False

    def get_support(self, block_hash: bytes) -> int:
        """How many validators named this block in one of the steps."""
        return max(self.prevotes.count(block_hash), self.precommits.count(block_hash))


_NEW = Round()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A node between two events. Names as in arXiv 1807.04938: h_p, round_p, step_p and so on.

    chain        : after the last final block; `height` is the one under way
    certificate  : of that block, with precommits that came later; absent before block 1
    order        : proposers of this height
    locked_round, valid_round : -1 for none
    candidates   : proposals by the hash of their block, one for each block
    faults       : verdicts on blocks; a block under check is missing
    ahead        : the highest round that each validator has shown
    early        : messages of the next height, by step, round and validator
    accused      : validators whose contradiction was reported at this height
    due          : clients whose transaction a new block of this round must hold
    unfair       : blocks that leave out a model which is here
    """

    config: Config
    chain: Any
    certificate: tuple[QuorumCertificate, ...]
    height: int
    order: tuple[int, ...]
    round: int = 0
    step: Step = Step.PROPOSE
    locked_round: int = -1
    locked_hash: bytes = NIL
    valid_round: int = -1
    valid_hash: bytes = NIL
    rounds: Mapping[int, Round] = field(default_factory=dict)
    candidates: Mapping[bytes, Proposal] = field(default_factory=dict)
    faults: Mapping[bytes, str | None] = field(default_factory=dict)
    ahead: Mapping[int, int] = field(default_factory=dict)
    early: Mapping[tuple[int, int, int], Proposal | Vote] = field(default_factory=dict)
    accused: frozenset[int] = frozenset()
    book: ReceiptBook
    due: tuple[bytes, ...] = ()
    unfair: frozenset[bytes] = frozenset()

    def get_round(self, number: int) -> Round:
        """What is known of a round of this height."""
        return self.rounds.get(number, _NEW)

    def get_proposer(self, number: int) -> int:
        """The validator that may propose in a round of this height."""
        return self.order[number % len(self.order)]

    @property
    def is_proposer(self) -> bool:
        """Whether this node may propose in the round under way."""
        return self.get_proposer(self.round) == self.config.validator

    def is_valid(self, block_hash: bytes) -> bool:
        """valid(v): the block is here and was checked without a fault."""
        return block_hash in self.candidates and self.faults.get(block_hash, "") is None


def start(config: Config, chain: Any, certificate: QuorumCertificate | None) -> State:
    """A node that has voted for nothing after this chain's head, which has this certificate."""
    return State(
        config=config,
        chain=chain,
        certificate=() if certificate is None else (certificate,),
        height=chain.height + 1,
        order=config.rules.proposers(chain),
        book=ReceiptBook(learning_round=chain.learning_round),
    )


def is_kept(state: State, number: int) -> bool:
    """Whether messages of this round enter the memory."""
    near = state.round - ROUNDS_BEHIND <= number <= state.round + ROUNDS_AHEAD
    if near or number in (state.locked_round, state.valid_round):
        return True
    proposal = state.get_round(state.round).proposal
    return proposal is not None and number == proposal.valid_round - 1


def is_from_proposer(state: State, proposal: Proposal) -> bool:
    """Whether the proposal's round is this validator's to propose in."""
    return state.get_proposer(proposal.round) == proposal.validator


def record_vote(state: State, vote: Vote) -> State:
    """The state with a vote of this height."""
    state = _record_ahead(state, vote)
    if not is_kept(state, vote.round):
        return state
    known = state.get_round(vote.round)
    tally = get_tally(known, vote.step)
    added = tally.add(vote, support=state.config.support)
    if added is tally:
        return state
    if vote.step == Step.PREVOTE:
        return put_round(state, vote.round, replace(known, prevotes=added))
    return put_round(state, vote.round, replace(known, precommits=added))


def get_tally(known: Round, step: int) -> Tally:
    """Votes of a step: PREVOTE or PRECOMMIT."""
    return known.prevotes if step == Step.PREVOTE else known.precommits


def record_proposal(state: State, proposal: Proposal, block_hash: bytes) -> State:
    """The state with a proposal of this height; unchanged if it is not its proposer's, or is a
    second one.
    """
    if not is_from_proposer(state, proposal):
        return state
    state = _record_ahead(state, proposal)
    if not is_kept(state, proposal.round):
        return state
    known = state.get_round(proposal.round)
    if known.proposal is None:
        known = replace(known, proposal=proposal, proposal_hash=block_hash)
        state = put_round(state, proposal.round, known)
    second = block_hash != known.proposal_hash
    if second and known.get_support(block_hash) < state.config.support:
        return state
    if block_hash in state.candidates:
        return state
    return replace(state, candidates={**state.candidates, block_hash: proposal})


def record_early(state: State, message: Proposal | Vote) -> State:
    """The state with a message of the next height; unchanged if there is no room for it."""
    step = message.step if isinstance(message, Vote) else Step.PROPOSE
    key = (step, message.round, message.validator)
    if message.height != state.height + 1 or message.round >= EARLY_ROUNDS or key in state.early:
        return state
    return replace(state, early={**state.early, key: message})


def record_late(state: State, message: Proposal | Vote) -> State:
    """The state with a precommit for the last final block: the next block says that its validator
    was there.

    Without it a quorum that is always the fastest would hide who else is up.
    """
    for known in state.certificate:
        place = (Step.PRECOMMIT, known.height, known.round, known.block_hash)
        if not isinstance(message, Vote) or place != _get_place(message):
            return state
        if all(p.validator != message.validator for p in known.precommits):
            certificate = QuorumCertificate.of((*known.votes, message))
            return replace(state, certificate=(certificate,))
    return state


def _get_place(vote: Vote) -> tuple[int, int, int, bytes]:
    return vote.step, vote.height, vote.round, vote.block_hash


def put_round(state: State, number: int, known: Round) -> State:
    return replace(state, rounds={**state.rounds, number: known})


def enter_round(state: State, number: int) -> State:
    """Lines 12 and 13; forgets what no longer counts, and notes whose transactions are due."""
    state = replace(
        state,
        round=number,
        step=Step.PROPOSE,
        due=state.book.list_due(state.config.quorum),
    )
    rounds = {n: known for n, known in state.rounds.items() if is_kept(state, n)}
    # The block that is locked or valid is among them: its polka is in a round that is kept.
    wanted: set[bytes] = set()
    for known in rounds.values():
        wanted.add(known.proposal_hash)
        wanted.update(h for h in state.candidates if known.get_support(h) >= state.config.support)
    return replace(
        state,
        rounds=rounds,
        candidates={h: p for h, p in state.candidates.items() if h in wanted},
        faults={h: fault for h, fault in state.faults.items() if h in wanted},
    )


def enter_height(state: State, chain: Any, certificate: QuorumCertificate) -> State:
    """Lines 52 and 53; early messages stay for the caller, receipts for the learning round."""
    fresh = start(state.config, chain, certificate)
    book = fresh.book
    if chain.learning_round == state.book.learning_round:
        same_phase = chain.phase == state.chain.phase
        book = state.book if same_phase else state.book.enter_phase()
    return replace(fresh, early=state.early, book=book)


def restore(
    config: Config,
    chain: Any,
    certificate: QuorumCertificate | None,
    log: Iterable[ConsensusMessage],
) -> State:
    """The state of a node that stopped, from the chain in its ledger and its log; then `Started`.

    certificate : of the chain's last block
    log : what `Send` had written: own votes and proposals, signed, and their grounds. Other heights
          are skipped. The node stands where its last vote was and is bound by its last lock, so it
          signs nothing that contradicts what it signed before.
    """
    state = start(config, chain, certificate)
    kept = [m for m in log if isinstance(m, Proposal | Vote) and m.height == state.height]
    own = [m for m in kept if m.validator == config.validator]
    votes = [m for m in own if isinstance(m, Vote)]
    number = max((m.round for m in own), default=0)
    steps = (Step(v.step) for v in votes if v.round == number)
    locks = [v for v in votes if v.step == Step.PRECOMMIT and v.block_hash != NIL]
    lock = max(locks, key=lambda v: v.round, default=None)
    state = replace(state, round=number, step=max(steps, default=Step.PROPOSE))
    if lock is not None:
        state = replace(state, locked_round=lock.round, locked_hash=lock.block_hash)
    for message in kept:
        state = _recall(state, message)
    if lock is not None and has_polka(state, lock.round, lock.block_hash):
        state = replace(state, valid_round=lock.round, valid_hash=lock.block_hash)
    return state


def _recall(state: State, message: Proposal | Vote) -> State:
    """With a message of the log, which was judged before it was written."""
    if isinstance(message, Vote):
        return record_vote(state, message)
    block_hash = message.block.hash
    state = record_proposal(state, message, block_hash)
    if message.validator == state.config.validator:
        known = replace(state.get_round(message.round), proposed=True)
        state = put_round(state, message.round, known)
    return replace(state, candidates={**state.candidates, block_hash: message})


def has_polka(state: State, number: int, block_hash: bytes) -> bool:
    """2f + 1 prevotes for this block in this round, and the block is here."""
    n_prevotes = state.get_round(number).prevotes.count(block_hash)
    return n_prevotes >= state.config.quorum and block_hash in state.candidates


def list_polka(state: State, number: int, block_hash: bytes) -> tuple[ConsensusMessage, ...]:
    """The proposal of a block and its prevotes of a round: what convinces others of the polka."""
    votes = state.get_round(number).prevotes.list_votes(block_hash)
    return (state.candidates[block_hash], *votes)


def list_repeats(state: State) -> tuple[ConsensusMessage, ...]:
    """What a peer that missed everything needs from this node; send it again now and then.

    Own votes of this round and the one before, own proposal, the polka that binds or leads us, and
    own receipts for what waits for a block. A peer at a lower height asks for final blocks.
    """
    validator = state.config.validator
    if validator is None:
        return ()
    found: list[ConsensusMessage] = []
    for number in (state.round - 1, state.round):
        known = state.get_round(number)
        if known.proposal is not None and known.proposal.validator == validator:
            found.append(known.proposal)
        votes = (tally.get_vote(validator) for tally in (known.prevotes, known.precommits))
        found.extend(vote for vote in votes if vote is not None)
    if state.valid_round >= 0:
        found.extend(list_polka(state, state.valid_round, state.valid_hash))
    for client in state.book.held:
        receipt = state.book.get_receipt(client, validator)
        if receipt is not None and state.config.rules.awaits(state.chain, client):
            found.append(receipt)
    return tuple(found)


def _record_ahead(state: State, message: Proposal | Vote) -> State:
    if message.round <= max(state.round, state.ahead.get(message.validator, 0)):
        return state
    return replace(state, ahead={**state.ahead, message.validator: message.round})
