"""What the chain waits for from a client, and what the client reads of others for it."""

from __future__ import annotations

from enum import StrEnum

from consensus.content.interface import Blobs
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.circle import describe_circle
from consensus.learning.samples import SamplePool
from consensus.learning.steps import get_done, is_asked
from kernels.numpy_types import UInt8Array


class Duty(StrEnum):
    """What the chain waits for from a client."""

    REGISTER = "register"
    COMMIT = "commit"
    PROVE = "prove"
    MASK = "mask"
    UNMASK = "unmask"
    ATTEST = "attest"
    REVEAL = "reveal"
    NOTHING = "nothing"


def find_duty(state: ChainState, client_key: bytes) -> Duty:
    """What this client is to do after this state. Pure."""
    phase = state.phase
    if phase is Phase.REGISTER:
        return Duty.NOTHING if client_key in state.clients else Duty.REGISTER
    if not is_asked(state, phase, client_key) or client_key in get_done(state, phase):
        return Duty.NOTHING
    return Duty(phase.value)


def name_deals(state: ChainState, client_key: bytes) -> dict[bytes, bytes]:
    """Digests of the deals that this client unmasks by: of its neighbours in S. From MASK on."""
    neighbours = describe_circle(state).list_neighbours(client_key, frozenset(state.proofs))
    return {client: state.proofs[client].deal for client in neighbours}


def draw_shard(state: ChainState, blobs: Blobs) -> tuple[UInt8Array, UInt8Array]:
    """Images and labels that the beacon of this round drew from the pool.

    Raises BlobUnavailable, PoolInvalid.
    """
    task = state.genesis.task
    pool = SamplePool.parse(blobs.get(task.get_pool(state.learning_round)))
    return pool.draw(state.beacon, task.n_samples)
