"""READ SECOND: what the final blocks of a chain mean. Pure: no clock, no I/O, no pairing, no blob.

One learning round after the other, in phases that blocks close:

              all clients in, or            all* have committed, or
    REGISTER ─── register_ms ───> COMMIT ─── commit_ms with one ───> BEACON
                                    ^       block c closes it           │ block c + 1 carries the
              rounds left           │                                   │ beacon: draws the shard
    DONE <── no ── the round ─ yes ─┘                                   v and the masks' graph
                    is over                                           PROVE
                       ^                                                │ all* have a proof or a
                       │ MODEL, NONE                                    v refusal, or prove_ms
                     ELECT <── all* unmasked ── UNMASK <── all* masked ─ MASK
                     ^ │ │     or unmask_ms                or mask_ms
                     │ │ └─ DISPUTE ─> ATTEST ──┐ all* answered,
                     │ └─── REVEAL ──> REVEAL ──┤ or attest_ms, reveal_ms
                     └──────────────────────────┘
    PROVE and MASK lead to ELECT at once where too few are in for a sum. In a task that asks for
    training, REGISTER leads to ORDER: its one block carries a beacon of its own, which draws the
    orders of all batches; then it is COMMIT. The beacon of a round draws which steps are proven.

A phase waits for clients for its time at least, however many blocks that takes: blocks have a time
that f validators can't move (`consensus.learning.phase_time`), and the block that reaches the end
of a phase closes it. REGISTER ends so only once someone is in, COMMIT likewise, unless bans leave
too few. (*) Who kept a phase waiting in vain is not waited for in the rounds that follow, except in
a dispute (`consensus.learning.standing`).

Each phase takes one kind of transaction, one per client; PROVE also refusals, which record a
client's proof that does not verify, so that nobody waits for it (a valid one still counts while the
phase lasts). From PROVE on the block that closes a phase freezes who is in: everyone has one view
of who masked, so nobody can be told two (`consensus.learning.steps`). What ELECT may come to is in
`consensus.learning.outcome`. `find_fault` says what is wrong with a block by these rules alone;
proofs, the beacon, payloads and the sum need pairings and blobs and are the business of
`consensus.node.verifier`. Every function gives the same on every node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from consensus.aggregation.outcome import Ending
from consensus.agreement.authentication import authenticate
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain_state import NO_MODEL, ChainState, Commitment, Phase, Proven
from consensus.learning.election import Lapse, note_turns, order_proposers
from consensus.learning.governance import update_weights
from consensus.learning.outcome import find_outcome_fault, is_enough, take_outcome
from consensus.learning.phase_time import compute_time, count_ms, is_late
from consensus.learning.rewards import update_rewards
from consensus.learning.standing import is_complete, may_commit_late, note_absences, rank, settle
from consensus.learning.steps import FIELDS, add_payloads, get_done, list_asked
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block, Evidence
from consensus.wire.outcomes import Aggregate
from consensus.wire.signatures import is_signed
from consensus.wire.transactions import Commit, Contribution, Proof, Refusal, Register
from prover.wire.envelope import Envelope

_EMPTY: Mapping[bytes, Any] = MappingProxyType({})
_NEW_ROUND: Mapping[str, Any] = MappingProxyType(
    {
        "commits": _EMPTY,
        "commit_height": 0,
        "beacon": b"",
        "proofs": _EMPTY,
        "refusals": _EMPTY,
        **dict.fromkeys(FIELDS.values(), _EMPTY),
        "excluded": (),
        "edges": (),
    }
)
"""What a learning round begins with."""


def start(genesis: Genesis) -> ChainState:
    """The state before the first block."""
    return ChainState(
        genesis=genesis,
        height=0,
        head=genesis.digest,
        time_ms=0,
        phase=Phase.REGISTER,
        phase_ms=0,
        learning_round=0,
        order=(),
        maker=0,
        lapses=(),
        clients=_EMPTY,
        accounts=_EMPTY,
        weights=_EMPTY,
        rewards=_EMPTY,
        batches=_EMPTY,
        order_height=0,
        order_beacon=b"",
        absences=_EMPTY,
        bans=_EMPTY,
        expelled=(),
        debtors=(),
        global_model=NO_MODEL,
        ranking=(),
        offenders=(),
        closed=Phase.REGISTER,
        **_NEW_ROUND,
    )


def proposers(state: ChainState) -> tuple[int, ...]:
    """Validators in the order in which they may propose the next height, round by round."""
    return order_proposers(
        [state.clients[client] for client in state.ranking],
        n_validators=state.genesis.n_validators,
        height=state.height + 1,
        lapses=state.lapses,
        offenders=state.offenders,
    )


def beacon_message(state: ChainState) -> bytes:
    """What the beacon of this learning round signs, or that of orders while it is due. ValueError
    before the commits are final.
    """
    digest = state.genesis.digest
    if state.phase is Phase.ORDER:
        return beacon.compute_order_message(digest, register_height=state.order_height)
    if not state.commit_height:
        raise ValueError("the commits of this round are not final: nobody may sign a beacon yet")
    return beacon.compute_message(
        digest, learning_round=state.learning_round, commit_height=state.commit_height
    )


# -- transitions -----------------------------------------------------------------------------------


def apply(state: ChainState, block: Block) -> ChainState:
    """The state after a final block. Checks nothing: `find_fault(state, block)` must be None."""
    blamed = {e.first.validator for e in block.evidence}
    time_ms = compute_time(state, block)
    after = replace(
        state,
        height=block.height,
        head=block.hash,
        time_ms=time_ms,
        phase_ms=state.phase_ms + count_ms(state, time_ms),
        order=proposers(state),
        maker=block.proposer,
        lapses=_note_turns(state, block),
        offenders=tuple(sorted(blamed | set(state.offenders))),
    )
    after = _take_in(after, block)
    return _follow(after, block.aggregate[0]) if block.aggregate else _close_phase(after)


def _note_turns(state: ChainState, block: Block) -> tuple[Lapse, ...]:
    """What the block's certificate tells of its parent."""
    lapses = state.lapses
    for certificate in block.certificate:
        lapses = note_turns(
            lapses,
            height=state.height,
            number=certificate.round,
            order=state.order,
            maker=state.maker,
            heard=[p.validator for p in certificate.precommits],
        )
    return lapses


def _take_in(state: ChainState, block: Block) -> ChainState:
    """The block's content, by the phase that it belongs to."""
    txs = block.transactions
    match state.phase:
        case Phase.REGISTER:
            return _take_clients(state, [tx for tx in txs if isinstance(tx, Register)])
        case Phase.ORDER:
            return replace(state, order_beacon=block.beacon)
        case Phase.COMMIT:
            commits = {
                tx.client_key: Commitment(tx.d_w, tx.mask_key, tx.share_key, tx.trajectory, tx.d_m)
                for tx in txs
                if isinstance(tx, Commit)
            }
            return replace(state, commits=_merge(state.commits, commits))
        case Phase.BEACON:
            return replace(state, beacon=block.beacon)
        case Phase.PROVE:
            refused = {tx.client_key: tx.digest for tx in txs if isinstance(tx, Refusal)}
            return _take_proofs(replace(state, refusals=_merge(state.refusals, refused)), block)
        case Phase.MASK | Phase.UNMASK | Phase.ATTEST | Phase.REVEAL:
            sent = {tx.client_key: tx.payload for tx in txs if isinstance(tx, Contribution)}
            return add_payloads(state, state.phase, sent)
        case Phase.ELECT | Phase.DONE:
            return state


def _take_clients(state: ChainState, txs: Sequence[Register]) -> ChainState:
    """Records clients, what they train on, and the accounts that they are bound to.

    An account stays with the first client that it was bound to. The other registers without: a
    registration that no block may hold any more would be missed in each by who has receipts for it.
    """
    homes = {tx.client_key: tx.validator for tx in txs}
    batches = {tx.client_key: tx.batches for tx in txs if tx.batches}
    owners = {address: client for client, address in state.accounts.items()}
    for tx in txs:
        if tx.address:
            owners.setdefault(tx.address, tx.client_key)
    bound = {client: address for address, client in owners.items()}
    return replace(
        state,
        clients=_merge(state.clients, homes),
        accounts=_merge(state.accounts, bound),
        batches=_merge(state.batches, batches),
    )


def _take_proofs(state: ChainState, block: Block) -> ChainState:
    """Records proofs, and who leads by them."""
    new = {}
    for tx in block.transactions:
        if not isinstance(tx, Proof):
            continue
        envelope = Envelope.decode(tx.envelope)
        if envelope is not None:
            new[tx.client_key] = Proven(
                tx.digest, envelope.statement.claimed_correct, tx.deal, tx.training
            )
    state = replace(state, proofs=_merge(state.proofs, new))
    return replace(state, ranking=rank(state))


def _close_phase(state: ChainState) -> ChainState:
    """The next phase where this block closed one."""
    match state.phase:
        case Phase.REGISTER:
            is_full = len(state.clients) == state.genesis.task.n_expected
            if is_full or (is_late(state) and state.clients):
                return _close_registration(state)
        case Phase.ORDER:
            return _enter(state, Phase.COMMIT)
        case Phase.COMMIT if _is_over(state, may_be_late=not may_commit_late(state)):
            return replace(_leave(state, Phase.BEACON), commit_height=state.height)
        case Phase.BEACON:
            return _enter(state, Phase.PROVE)
        case Phase.PROVE if _is_over(state):
            return _leave(state, _choose(state, state.proofs, Phase.MASK))
        case Phase.MASK if _is_over(state):
            return _leave(state, _choose(state, state.masked, Phase.UNMASK))
        case Phase.UNMASK | Phase.ATTEST | Phase.REVEAL if _is_over(state):
            return _leave(state, Phase.ELECT)
        case _:
            pass
    return state


def _close_registration(state: ChainState) -> ChainState:
    """The first round, or the beacon that draws orders for it."""
    if state.genesis.task.training is None:
        return _enter(state, Phase.COMMIT)
    return replace(_enter(state, Phase.ORDER), order_height=state.height)


def _is_over(state: ChainState, *, may_be_late: bool = True) -> bool:
    """Whether the phase waits for nobody any more, or for too long."""
    late = may_be_late and is_late(state)
    return late or is_complete(state, list_asked(state, state.phase), _list_settled(state))


def _list_settled(state: ChainState) -> set[bytes]:
    """Who did what the phase asks for, or can't."""
    done = set(get_done(state, state.phase))
    return done | state.refusals.keys() if state.phase is Phase.PROVE else done


def _leave(state: ChainState, phase: Phase) -> ChainState:
    """Closes a phase that some may have kept waiting."""
    asked = list_asked(state, state.phase)
    return _enter(note_absences(state, asked, _list_settled(state)), phase)


def _choose(state: ChainState, done: Mapping[bytes, Any], phase: Phase) -> Phase:
    """This phase, or none when the sum would be of too few."""
    return phase if is_enough(state, done) else Phase.ELECT


def _enter(state: ChainState, phase: Phase) -> ChainState:
    return replace(state, phase=phase, phase_ms=0, closed=state.phase)


def _follow(state: ChainState, aggregate: Aggregate) -> ChainState:
    """What the outcome of a round leads to."""
    state = take_outcome(state, aggregate)
    if aggregate.ending is Ending.DISPUTE:
        return _enter(state, Phase.ATTEST)
    if aggregate.ending is Ending.REVEAL:
        return _enter(state, Phase.REVEAL)
    state = _pay(settle(state), aggregate)
    following = state.learning_round + 1
    if following == state.genesis.task.n_rounds:
        return _enter(state, Phase.DONE)
    return replace(_enter(state, Phase.COMMIT), learning_round=following, **_NEW_ROUND)


def _pay(state: ChainState, aggregate: Aggregate) -> ChainState:
    """Weights and rewards after a learning round."""
    n_samples = state.genesis.task.n_samples
    weights = update_weights(state.weights, aggregate, n_samples=n_samples)
    rewards = update_rewards(state.rewards, aggregate, leader=state.leader)
    return replace(state, weights=MappingProxyType(weights), rewards=MappingProxyType(rewards))


def _merge(known: Mapping[bytes, Any], new: Mapping[bytes, Any]) -> Mapping[bytes, Any]:
    return MappingProxyType({**known, **new}) if new else known


# -- rules -----------------------------------------------------------------------------------------


def find_fault(state: ChainState, block: Block) -> str | None:
    """What forbids this block after this state, or None; no pairing is computed, no blob read."""
    fault = _find_place_fault(state, block) or _find_due_fault(state, block)
    if fault is not None:
        return fault
    blamed: set[int] = set()
    for evidence in block.evidence:
        fault = _find_evidence_fault(state, evidence, blamed)
        if fault is not None:
            return f"evidence: {fault}"
        blamed.add(evidence.first.validator)
    seen: set[bytes] = set()
    room = state.genesis.task.n_expected - len(state.clients)
    for index, tx in enumerate(block.transactions):
        fault = (
            "a second one of its client"
            if tx.client_key in seen
            else find_admission_fault(state, tx)
        )
        if fault is None and isinstance(tx, Register) and len(seen) >= room:
            fault = "the task is full"
        if fault is not None:
            return f"transaction {index}: {fault}"
        seen.add(tx.client_key)
    return None


def _find_place_fault(state: ChainState, block: Block) -> str | None:
    if block.height != state.height + 1:
        return f"height {block.height} after height {state.height}"
    if block.parent != state.head:
        return "the parent is another block"
    fault = _find_certificate_fault(state, block)
    if fault is not None:
        return fault
    if block.state_root != state.digest:
        return "the state root is another"
    if block.proposer >= state.genesis.n_validators:
        return "the proposer is no validator"
    return None


def _find_certificate_fault(state: ChainState, block: Block) -> str | None:
    """2f + 1 validators signed the parent; below it there is only the genesis."""
    if len(block.certificate) != min(state.height, 1):
        return "the certificate of the parent is not due" if block.certificate else _NO_CERTIFICATE
    for certificate in block.certificate:
        if (certificate.height, certificate.block_hash) != (state.height, state.head):
            return "the certificate is of another block than the parent"
        fault = authenticate(certificate, state.genesis)
        if fault is not None:
            return f"certificate of the parent: {fault}"
    return None


_NO_CERTIFICATE = "the certificate of the parent is missing"


def _find_due_fault(state: ChainState, block: Block) -> str | None:
    """Beacon and aggregate: there when due, absent when not."""
    if bool(block.beacon) != (state.beacon_height is not None):
        return "a beacon that is not due" if block.beacon else "the beacon is due"
    if bool(block.aggregate) != (state.phase is Phase.ELECT):
        return "an aggregate that is not due" if block.aggregate else "the aggregate is due"
    faults = (find_outcome_fault(state, aggregate) for aggregate in block.aggregate)
    return next(faults, None)


def _find_evidence_fault(state: ChainState, evidence: Evidence, blamed: set[int]) -> str | None:
    """Both votes are signed, and the chain has nothing against this validator yet."""
    validator = evidence.first.validator
    if validator >= state.genesis.n_validators:
        return "against no validator"
    if validator in blamed or validator in state.offenders:
        return f"validator {validator} is known already"
    key = state.genesis.validators[validator].key
    for vote in (evidence.first, evidence.second):
        if not is_signed(vote, key, state.genesis.digest):
            return "a vote is not signed by its validator"
    return None
