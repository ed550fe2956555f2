"""Long chains on disk, made directly: what a node's folder holds after so many blocks."""

from __future__ import annotations

from collections.abc import Iterator

from consensus.disk.ledger import Ledger
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import FinalBlock
from tests.support.certificates import certify
from tests.support.learning import Lab


def grow(ledger: Ledger, lab: Lab, n_blocks: int) -> list[bytes]:
    """So many blocks more, with all that clients send. Returns models that were let go."""
    gone: list[bytes] = []
    for _ in range(n_blocks):
        gone += ledger.append(certify(lab, lab.block(ledger.state, lab.list_due(ledger.state))))
    return gone


def make_finals(lab: Lab, n_blocks: int) -> list[FinalBlock]:
    """The first blocks of a chain on which all clients do what is due."""
    return [final for _, final in list_steps(lab, n_blocks)]


def list_steps(lab: Lab, n_blocks: int) -> Iterator[tuple[ChainState, FinalBlock]]:
    """The same, each with the state before it."""
    state = start(lab.genesis)
    for _ in range(n_blocks):
        final = certify(lab, lab.block(state, lab.list_due(state)))
        yield state, final
        state = apply(state, final.block)


def is_done(ledger: Ledger) -> bool:
    return ledger.state.phase is Phase.DONE
