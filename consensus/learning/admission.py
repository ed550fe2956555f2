"""Which transactions a block may hold after a state: by phase, client, statement and signature.

Pure, and without pairings or blobs: proofs and payloads are checked by `consensus.node.verifier`.
"""

from __future__ import annotations

from functools import lru_cache

from consensus.learning.binding import find_binding_fault
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.steps import PHASES, find_bar, get_payloads, is_asked
from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.exchange_keys import is_exchange_key
from consensus.wire.signatures import is_signed, is_valid
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Refusal,
    Register,
    Transaction,
    permit_bytes,
)
from kernels.encoding import Refused, decode_g1
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement
from prover.wire.update import UpdateEnvelope, UpdateStatement


def find_admission_fault(state: ChainState, tx: Transaction) -> str | None:
    """What forbids this transaction in the next block, or None. Proofs and payloads not checked."""
    match tx:
        case Register():
            fault = _find_register_fault(state, tx)
        case Commit():
            fault = _find_commit_fault(state, tx)
        case Proof():
            fault = _find_proof_fault(state, tx)
        case Contribution():
            fault = _find_contribution_fault(state, tx)
        case Refusal():
            fault = _find_refusal_fault(state, tx)
    signed = tx.proof if isinstance(tx, Refusal) else tx
    if fault is None and not is_signed(signed, tx.client_key, state.genesis.digest):
        fault = "the signature is not its client's"
    return fault


def _find_register_fault(state: ChainState, tx: Register) -> str | None:
    genesis = state.genesis
    if state.phase is not Phase.REGISTER:
        return "registration is closed"
    if tx.client_key in state.clients:
        return "the client is registered"
    if len(state.clients) >= genesis.task.n_expected:
        return "the task is full"
    if tx.validator >= genesis.n_validators:
        return "its home is no validator"
    permitted = permit_bytes(genesis.digest, tx.client_key)
    if not is_valid(genesis.admission_key, tx.permit, permitted):
        return "the permit is not the admission key's"
    fault = find_binding_fault(tx.client_key, tx.address, tx.address_signature, genesis.digest)
    return fault or _find_training_fault(state, tx.batches)


def _find_commit_fault(state: ChainState, tx: Commit) -> str | None:
    """That D_W was seen before is no fault, or a copy would censor its owner."""
    if state.phase is not Phase.COMMIT:
        return "commits are closed"
    if tx.learning_round != state.learning_round:
        return "a commit of another round"
    if tx.client_key not in state.clients:
        return "the client is not registered"
    if tx.client_key in state.commits:
        return "the client has committed"
    if not _is_point(tx.d_w):
        return "its commitment is no point of the curve"
    if not (is_exchange_key(tx.mask_key) and is_exchange_key(tx.share_key)):
        return "an exchange key is none"
    fault = _find_training_fault(state, tx.trajectory, tx.d_m)
    if fault is None and tx.d_m and not _is_point(tx.d_m):
        fault = "its commitment to masters is no point of the curve"
    return fault or find_bar(state, tx.client_key)


def _find_training_fault(state: ChainState, *shown: bytes) -> str | None:
    """All that a transaction shows of training is there in a task that asks for it, else nothing.

    What the blobs hold is asked by who has them.
    """
    is_asked = state.genesis.task.training is not None
    if all(bool(value) == is_asked for value in shown):
        return None
    return "training is not shown" if is_asked else "training is shown that nobody asks for"


@lru_cache(maxsize=4 * MAX_TRANSACTIONS)
def _is_point(raw: bytes) -> bool:
    """Whether this is a compressed point; asked of each commit when it comes, is judged, and when a
    block holds it, and each time a square root. A commit has two at most."""
    return not isinstance(decode_g1(raw, 1), Refused)


def _find_proof_fault(state: ChainState, tx: Proof) -> str | None:
    if state.phase is not Phase.PROVE:
        return "proofs are closed"
    if tx.learning_round != state.learning_round:
        return "a proof of another round"
    if tx.client_key not in state.commits:
        return "the client has not committed"
    if tx.client_key in state.proofs:
        return "the client has a proof"
    envelope = Envelope.decode(tx.envelope)
    if envelope is None:
        return "the envelope is malformed"
    fault = find_statement_fault(state, tx.client_key, envelope.statement)
    fault = fault or find_norm_fault(state, tx)
    return fault or _find_training_fault(state, tx.training)


def _find_refusal_fault(state: ChainState, tx: Refusal) -> str | None:
    """It refuses what could have been accepted, so that only its proof can be at fault."""
    if tx.client_key in state.refusals:
        return "the client has a refusal"
    return _find_proof_fault(state, tx.proof)


def _find_contribution_fault(state: ChainState, tx: Contribution) -> str | None:
    phase = PHASES[tx.step]
    if state.phase is not phase:
        return f"nobody is asked to {phase} now"
    if tx.learning_round != state.learning_round:
        return "a contribution to another round"
    if not is_asked(state, phase, tx.client_key):
        return f"the client is not asked to {phase}"
    if tx.client_key in get_payloads(state, phase):
        return "the client has contributed"
    return None


def describe_occasion(state: ChainState, client_key: bytes) -> Occasion:
    """What a proof of this client in this round must be stated for; the commits must be final."""
    return Occasion(
        chain_id=state.genesis.name,
        task_id=state.genesis.task.task_id,
        round_index=state.learning_round,
        commit_height=state.commit_height,
        client_key=client_key,
    )


def expect_statement(
    state: ChainState, client_key: bytes, *, claimed_correct: int, dataset_digest: bytes
) -> Statement:
    """The one statement by which this client may claim this count in this round.

    Requires that the client has committed and the beacon is known.
    """
    task = state.genesis.task
    return Statement(
        occasion=describe_occasion(state, client_key),
        verifying_key_digest=task.verifying_key_digest,
        shard_index=0,
        n_real=task.n_samples,
        dataset_digest=dataset_digest,
        multipliers=task.architecture.multipliers,
        claimed_correct=claimed_correct,
        commitments=(state.commits[client_key].d_w,),
    )


def find_statement_fault(
    state: ChainState, client_key: bytes, statement: Statement, dataset_digest: bytes | None = None
) -> str | None:
    """What the chain holds against a statement of this client, by the name of the field, or None.

    dataset_digest : of the drawn shard; None leaves that field to who has the pool
    """
    task = state.genesis.task
    if statement.n_real == task.n_samples and statement.claimed_correct < task.threshold:
        return "statement: claimed_correct is below the threshold"
    expected = expect_statement(
        state,
        client_key,
        claimed_correct=min(statement.claimed_correct, task.n_samples),
        dataset_digest=dataset_digest or statement.dataset_digest,
    )
    name = statement.find_difference(expected)
    return None if name is None else f"statement: {name} is another"


# -- bounds on updates -----------------------------------------------------------------------------


def is_norm_asked(state: ChainState) -> bool:
    """Whether proofs of this round must come with proofs of bounds.

    In a task with bounds they must, as soon as there is a global model to measure from.
    """
    return state.genesis.task.norm is not None and state.global_model != NO_MODEL


def expect_update_statement(
    state: ChainState, client_key: bytes, *, origin_digest: bytes
) -> UpdateStatement:
    """The one statement that this client must prove of its update in this round.

    origin_digest : of the global model, rounded (`prover.model.update.compute_origin_digest`)
    Requires that the client has committed. Raises ValueError for a task without bounds.
    """
    norm = state.genesis.task.norm
    if norm is None:
        raise ValueError("the task has no bounds on updates")
    return UpdateStatement(
        occasion=describe_occasion(state, client_key),
        verifying_key_digest=norm.verifying_key_digest,
        origin_digest=origin_digest,
        commitment=state.commits[client_key].d_w,
    )


def find_norm_fault(state: ChainState, tx: Proof, origin_digest: bytes | None = None) -> str | None:
    """What the chain holds against the second envelope of a proof, or None; no pairings.

    origin_digest : None leaves that field to who has the global model
    """
    if not is_norm_asked(state):
        return "bounds are proven that nobody asks for" if tx.norm else None
    envelope = UpdateEnvelope.decode(tx.norm)
    if envelope is None:
        return "the envelope of bounds is missing or malformed"
    found = envelope.statement
    expected = expect_update_statement(
        state, tx.client_key, origin_digest=origin_digest or found.origin_digest
    )
    return None if found == expected else "the statement of bounds is another"
