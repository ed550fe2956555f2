"""How long phases last, by the time of blocks. Pure: no clock."""

from __future__ import annotations

from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import Block


def compute_time(state: ChainState, block: Block) -> int:
    """The time of a block after this state: the median of its certificate, never before its parent.

    The certificate is of the parent, so this is when the parent was decided. Correct validators
    whose clocks are off by at most D sign a time within D of the moment, and the median lies
    between two of theirs: so the block's time is within D of a moment between the first and the
    last correct precommit for its parent, whatever f validators sign, and whichever votes a
    proposer chooses. A phase of T ms therefore takes at least T - 2D.
    """
    return max([state.time_ms, *(certificate.time_ms for certificate in block.certificate)])


def count_ms(state: ChainState, time_ms: int) -> int:
    """How much of the phase a block uses up; the first that has a time uses none.

    At most a quarter: a chain that stood still for long does not come back to a phase that is over
    before anyone is heard in it.
    """
    if not state.time_ms:
        return 0
    return min(time_ms - state.time_ms, -(-get_length_ms(state) // 4))


def get_length_ms(state: ChainState) -> int:
    """How long the phase waits for clients; 0 when it waits for none."""
    task = state.genesis.task
    return {
        Phase.REGISTER: task.register_ms,
        Phase.COMMIT: task.commit_ms,
        Phase.PROVE: task.prove_ms,
        Phase.MASK: task.mask_ms,
        Phase.UNMASK: task.unmask_ms,
        Phase.ATTEST: task.attest_ms,
        Phase.REVEAL: task.reveal_ms,
    }.get(state.phase, 0)


def compute_remaining_ms(state: ChainState) -> int | None:
    """How much longer the phase waits for clients, if they do not all come; None: for none."""
    length = get_length_ms(state)
    return max(length - state.phase_ms, 0) if length else None


def is_late(state: ChainState) -> bool:
    """Whether the phase has waited for as long as it does."""
    return state.phase_ms >= get_length_ms(state)
