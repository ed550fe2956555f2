"""When a block is made although nothing is due for it. Pure: the same on every node.

Empty blocks say that the chain is alive, and give it a time. One after the other they come at
intervals that double, from `empty_block_ms` to `longest_empty_ms`, so that a chain on which nothing
happens costs little. Whatever is due ends the wait at once, and makes the next one short again.

A phase that waits for clients ends by the time of blocks, which is when their parent was decided
(`phase_time.compute_time`). So a block is made when that time is over, and the next one closes the
phase; and no wait takes an eighth of it, of which `apply` counts a quarter for a block at most.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.phase_time import compute_remaining_ms
from consensus.learning.standing import may_commit_late
from consensus.wire.genesis import Timeouts
from consensus.wire.messages import Block, QuorumCertificate

_PARTS = 8
"""Of a phase, at least so many blocks."""


def is_empty(block: Block) -> bool:
    """Whether nothing was due for it."""
    return not (block.transactions or block.evidence or block.beacon or block.aggregate)


def count_empty(newest_first: Iterable[Block], timeouts: Timeouts) -> int:
    """Empty blocks since the last other one, as far as they matter; reads no more than these."""
    n = 0
    for block in newest_first:
        if not is_empty(block) or _stretch(timeouts, n) == timeouts.longest_empty_ms:
            break
        n += 1
    return n


def _stretch(timeouts: Timeouts, n_empty: int) -> int:
    return min(timeouts.empty_block_ms << n_empty, timeouts.longest_empty_ms)


def compute_wait_ms(
    chain: ChainState, certificate: Iterable[QuorumCertificate], n_empty: int
) -> int:
    """How long the next block waits for something to be due.

    certificate : of the last block; n_empty : blocks before this one, of `count_empty`
    """
    wait_ms = _stretch(chain.genesis.timeouts, n_empty)
    remaining_ms = compute_remaining_ms(chain)
    if remaining_ms is None or _waits_for_anyone(chain):
        return wait_ms
    # What the next block will use up is known: its time is that of the certificate it carries.
    times = [c.time_ms for c in certificate] if chain.time_ms else []
    used_ms = max([0, *(time_ms - chain.time_ms for time_ms in times)])
    length_ms = chain.phase_ms + remaining_ms
    return max(0, min(wait_ms, -(-length_ms // _PARTS), remaining_ms - used_ms))


def _waits_for_anyone(chain: ChainState) -> bool:
    """Whether the phase lasts until there is one client, however late it is."""
    return (chain.phase is Phase.REGISTER and not chain.clients) or (
        chain.phase is Phase.COMMIT and may_commit_late(chain)
    )
