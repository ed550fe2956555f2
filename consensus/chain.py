"""READ SECOND: what the final blocks of a chain mean. Pure: no clock, no I/O, no pairing, no blob.

One learning round after the other, in phases that blocks close:

              all clients in, or            all have committed, or
    REGISTER ──register_blocks──> COMMIT ──commit_blocks with one──> BEACON
                                    ^       block c closes it           │ block c + 1 carries the
              rounds left           │                                   │ beacon: draws the shard
    DONE <── no ── ELECT ── yes ────┘                                   v
                     ^     next block carries the aggregate           PROVE
                     │                                                  │ all have a proof or a
                     └── all opened, or update_blocks ── UPDATE <───────┘ refusal, or prove_blocks
                                                         (skipped when nobody has a proof)

REGISTER closes after `register_blocks` blocks only once someone is in, COMMIT likewise. Each phase
takes one kind of transaction, one per client; PROVE also refusals, which record a client's proof
that does not verify, so that nobody waits for it (a valid one still counts while the phase lasts).
`find_fault` says what is wrong with a block by these
rules alone; proofs, openings, the beacon and the model's digest need pairings and blobs and are the
business of `consensus.verifier`. Every function gives the same on every node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from consensus import beacon
from consensus.admission import expect_statement, find_statement_fault, is_admissible
from consensus.chain_state import NO_MODEL, ChainState, Commitment, Phase, Proven
from consensus.election import order_proposers, rank_clients
from consensus.genesis import Genesis
from consensus.messages import Block, Commit, Entry, Evidence, Proof, Refusal, Register, Update
from consensus.signatures import is_signed
from prover.wire import Envelope

__all__ = [
    "NO_MODEL",
    "ChainState",
    "Commitment",
    "Phase",
    "Proven",
    "apply",
    "beacon_message",
    "expect_statement",
    "find_fault",
    "find_statement_fault",
    "is_admissible",
    "list_entries",
    "proposers",
    "start",
]

_EMPTY: Mapping[bytes, Any] = MappingProxyType({})


def start(genesis: Genesis) -> ChainState:
    """Before the first block."""
    return ChainState(
        genesis=genesis,
        height=0,
        head=genesis.digest,
        phase=Phase.REGISTER,
        phase_blocks=0,
        learning_round=0,
        clients=_EMPTY,
        commits=_EMPTY,
        commit_height=0,
        beacon=b"",
        proofs=_EMPTY,
        refusals=_EMPTY,
        updates=_EMPTY,
        global_model=NO_MODEL,
        ranking=(),
        offenders=(),
    )


def proposers(state: ChainState) -> tuple[int, ...]:
    """Validators in the order in which they may propose the next height; round r takes r mod n."""
    return order_proposers(
        [state.clients[client] for client in state.ranking],
        n_validators=state.genesis.n_validators,
        height=state.height + 1,
    )


def beacon_message(state: ChainState) -> bytes:
    """What the beacon of this learning round signs. ValueError before the commits are final."""
    if not state.commit_height:
        raise ValueError("the commits of this round are not final: nobody may sign a beacon yet")
    return beacon.compute_message(
        state.genesis.digest,
        learning_round=state.learning_round,
        commit_height=state.commit_height,
    )


def list_entries(state: ChainState) -> tuple[Entry, ...]:
    """Who enters the global model with what weight, by client key: those who opened a proven model.

    Empty: nobody did, and the global model stays as it was.
    """
    return tuple(
        Entry(client_key=client, weight=state.proofs[client].claimed_correct)
        for client in sorted(state.updates)
    )


# -- transitions -----------------------------------------------------------------------------------


def apply(state: ChainState, block: Block) -> ChainState:
    """The state after a final block. Checks nothing: `find_fault(state, block)` must be None."""
    blamed = {e.first.validator for e in block.evidence}
    after = replace(
        state,
        height=block.height,
        head=block.hash,
        phase_blocks=state.phase_blocks + 1,
        offenders=tuple(sorted(blamed | set(state.offenders))),
    )
    return _close_phase(_take_in(after, block))


def _take_in(state: ChainState, block: Block) -> ChainState:
    """The block's content, by the phase that it belongs to."""
    txs = block.transactions
    match state.phase:
        case Phase.REGISTER:
            new = {tx.client_key: tx.validator for tx in txs if isinstance(tx, Register)}
            return replace(state, clients=_merge(state.clients, new))
        case Phase.COMMIT:
            commits = {
                tx.client_key: Commitment(tx.d_w, tx.pok_w) for tx in txs if isinstance(tx, Commit)
            }
            return replace(state, commits=_merge(state.commits, commits))
        case Phase.BEACON:
            return replace(state, beacon=block.beacon)
        case Phase.PROVE:
            refused = {tx.client_key: tx.digest for tx in txs if isinstance(tx, Refusal)}
            state = replace(state, refusals=_merge(state.refusals, refused))
            return _take_proofs(state, block)
        case Phase.UPDATE:
            updates = {tx.client_key: tx.model_digest for tx in txs if isinstance(tx, Update)}
            return replace(state, updates=_merge(state.updates, updates))
        case Phase.ELECT:
            return replace(state, global_model=block.aggregate[0].model_digest)
        case Phase.DONE:
            return state


def _take_proofs(state: ChainState, block: Block) -> ChainState:
    """Records proofs; whoever led before leads on until a block brings proofs."""
    new = {}
    for tx in block.transactions:
        envelope = Envelope.decode(tx.envelope) if isinstance(tx, Proof) else None
        if envelope is not None:
            new[tx.client_key] = Proven(tx.digest, envelope.statement.claimed_correct)
    if not new:
        return state
    proofs = _merge(state.proofs, new)
    n = state.genesis.task.n_samples
    accuracies = {client: Fraction(p.claimed_correct, n) for client, p in proofs.items()}
    return replace(state, proofs=proofs, ranking=rank_clients(accuracies, state.beacon))


def _close_phase(state: ChainState) -> ChainState:
    """The next phase where this block closed one."""
    task = state.genesis.task
    match state.phase:
        case Phase.REGISTER:
            late = state.phase_blocks >= task.register_blocks and bool(state.clients)
            if late or len(state.clients) == task.n_expected:
                return _enter(state, Phase.COMMIT)
        case Phase.COMMIT:
            late = state.phase_blocks >= task.commit_blocks and bool(state.commits)
            if late or len(state.commits) == len(state.clients):
                return replace(_enter(state, Phase.BEACON), commit_height=state.height)
        case Phase.BEACON:
            return _enter(state, Phase.PROVE)
        case Phase.PROVE:
            late = state.phase_blocks >= task.prove_blocks
            settled = state.proofs.keys() | state.refusals.keys()
            if late or len(settled) == len(state.commits):
                return _enter(state, Phase.UPDATE if state.proofs else Phase.ELECT)
        case Phase.UPDATE:
            late = state.phase_blocks >= task.update_blocks
            if late or len(state.updates) == len(state.proofs):
                return _enter(state, Phase.ELECT)
        case Phase.ELECT:
            return _end_round(state)
        case Phase.DONE:
            pass
    return state


def _enter(state: ChainState, phase: Phase) -> ChainState:
    return replace(state, phase=phase, phase_blocks=0)


def _end_round(state: ChainState) -> ChainState:
    following = state.learning_round + 1
    if following == state.genesis.task.n_rounds:
        return _enter(state, Phase.DONE)
    return replace(
        _enter(state, Phase.COMMIT),
        learning_round=following,
        commits=_EMPTY,
        commit_height=0,
        beacon=b"",
        proofs=_EMPTY,
        refusals=_EMPTY,
        updates=_EMPTY,
    )


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
        fault = "a second one of its client" if tx.client_key in seen else is_admissible(state, tx)
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
    if block.state_root != state.digest:
        return "the state root is another"
    if block.proposer >= state.genesis.n_validators:
        return "the proposer is no validator"
    return None


def _find_due_fault(state: ChainState, block: Block) -> str | None:
    """Beacon and aggregate: there when due, absent when not."""
    if bool(block.beacon) != (state.phase is Phase.BEACON):
        return "a beacon that is not due" if block.beacon else "the beacon is due"
    if bool(block.aggregate) != (state.phase is Phase.ELECT):
        return "an aggregate that is not due" if block.aggregate else "the aggregate is due"
    for aggregate in block.aggregate:
        if aggregate.learning_round != state.learning_round:
            return "the aggregate is of another round"
        if aggregate.entries != list_entries(state):
            return "the aggregate has other entries"
        if not aggregate.entries and aggregate.model_digest != state.global_model:
            return "the aggregate changes the model although nobody entered"
    return None


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
