"""A chain all of whose keys are here: one party makes its blocks, and everybody else's rules judge
them.

What is measured or attacked is what nodes do with blocks; who agrees on them is another matter.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.content.interface import Blobs
from consensus.disk.development import ADMISSION, BEACON, create_chain, node_home, sign_permit
from consensus.disk.identity import load_key, load_seed, sign
from consensus.learning import beacon
from consensus.learning.chain import beacon_message
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.verifier import BlockVerifier
from consensus.wire.codec import Signed
from consensus.wire.genesis import Genesis, Task, Timeouts
from consensus.wire.messages import Block, FinalBlock, QuorumCertificate, Step, Vote
from consensus.wire.transactions import Transaction

N_VALIDATORS = 4
FIRST_MS = 1_700_000_000_000
S = TypeVar("S", bound=Signed)


class DealtChain:
    """The chain of a genesis under `folder`, made there.

    verifier : of a node that has every blob
    """

    def __init__(self, folder: Path, task: Task, blobs: Blobs, *, timeouts: Timeouts) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self.blobs = folder, blobs
        self.genesis: Genesis = create_chain(
            folder,
            chain_id=b"bench",
            task=task,
            timeouts=timeouts,
            n_validators=N_VALIDATORS,
            random_bytes=secrets.token_bytes,
        )
        self.verifier = self.make_verifier()

    def home(self, index: int) -> Path:
        """The folder of a validator."""
        return node_home(self.folder, index)

    def make_verifier(self) -> BlockVerifier:
        """A node that has verified nothing yet."""
        return BlockVerifier(self.genesis, self.blobs, secrets.token_bytes)

    def sign(self, message: S, key: Ed25519PrivateKey) -> S:
        return sign(key, message, self.genesis.digest)

    def permit(self, public: bytes) -> bytes:
        """Lets the client of this key register."""
        return sign_permit(self._admission, self.genesis.digest, public)

    def make_block(
        self, state: ChainState, parent: FinalBlock | None, transactions: Sequence[Transaction]
    ) -> Block:
        """The block after `parent` with these transactions, and all else that is due."""
        return Block(
            height=state.height + 1,
            parent=state.head,
            certificate=() if parent is None else (parent.certificate,),
            proposer=0,
            state_root=state.digest,
            beacon=b"" if state.beacon_height is None else self._sign_beacon(state),
            transactions=tuple(transactions),
            evidence=(),
            aggregate=(self.verifier.build_aggregate(state),) if state.phase is Phase.ELECT else (),
        )

    def finish(self, block: Block) -> FinalBlock:
        """The block with the votes of 2f + 1 validators."""
        return FinalBlock(block=block, certificate=self._certify(block))

    def _sign_beacon(self, state: ChainState) -> bytes:
        message = beacon_message(state)
        signers = range(self.genesis.n_faulty + 1)
        return beacon.combine({i: beacon.sign_share(self._shares[i], message) for i in signers})

    def sign_votes(self, block: Block, step: Step, validators: Iterable[int]) -> list[Vote]:
        """The votes of these validators for a block."""
        time_ms = FIRST_MS + block.height if step is Step.PRECOMMIT else 0
        votes = [
            Vote(
                step=int(step),
                height=block.height,
                round=0,
                block_hash=block.hash,
                time_ms=time_ms,
                validator=i,
            )
            for i in validators
        ]
        return [self.sign(vote, self._validators[vote.validator]) for vote in votes]

    def _certify(self, block: Block) -> QuorumCertificate:
        signers = range(2 * self.genesis.n_faulty + 1)
        return QuorumCertificate.of(self.sign_votes(block, Step.PRECOMMIT, signers))

    @cached_property
    def _admission(self) -> Ed25519PrivateKey:
        return load_key(self.folder, ADMISSION)

    @cached_property
    def _validators(self) -> list[Ed25519PrivateKey]:
        return [load_key(self.home(i)) for i in range(N_VALIDATORS)]

    @cached_property
    def _shares(self) -> list[bytes]:
        return [load_seed(self.home(i), BEACON) for i in range(N_VALIDATORS)]
