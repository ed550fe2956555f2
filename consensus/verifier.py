"""What a validator checks about a block beyond `chain.find_fault`: pairings, blobs, sums.

COMMIT   the proof of knowledge of each commitment
BEACON   the threshold signature
PROVE    every proof, as one batch; the margin over the global model on the same samples
UPDATE   the opening of each commitment, as one sum
ELECT    the aggregate, computed again
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.blobs import Blobs
from consensus.chain import ChainState, find_fault
from consensus.genesis import Genesis
from consensus.messages import Aggregate, Block, Proof
from prover.randomness import RandomBytes
from prover.verdict import Verdict


class BlockVerifier:
    """Checks blocks of one chain; remembers verdicts, keys and the shard of the round under way.

    random_bytes : of the system; every batch draws its own weights
    Blobs that a check needs must be there: `list_needed_blobs` names them, so that a node fetches
    them first. Not for several threads at a time.
    """

    def __init__(self, genesis: Genesis, blobs: Blobs, random_bytes: RandomBytes) -> None:
        self._genesis = genesis
        self._blobs = blobs
        self._random_bytes = random_bytes

    def check(self, state: ChainState, block: Block) -> str | None:
        """What forbids this block after this state, `chain.find_fault` included; None: nothing."""
        return find_fault(state, block)

    def check_proofs(self, state: ChainState, proofs: Sequence[Proof]) -> list[Verdict]:
        """The verdict on each proof by itself, were it in the next block; for pending ones."""
        raise NotImplementedError

    def build_aggregate(self, state: ChainState) -> Aggregate:
        """The aggregate that the next block must carry; its model is put into the blobs.

        Requires the ELECT phase. Raises BlobUnavailable when a model is not here.
        """
        raise NotImplementedError

    def list_needed_blobs(self, state: ChainState, block: Block) -> tuple[bytes, ...]:
        """Digests of what `check` will read for this block."""
        raise NotImplementedError
