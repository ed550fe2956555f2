"""The ledger that contracts read: of each client that is bound to an account, weight and rewards.

    leaf   (bytes32 clientKey, address account, uint256 weight, uint256 rewards)
    root   of `consensus.finality.tree` over the leaves of all bound clients

A client without an account has no leaf: it has no vote and is never paid. Anybody computes the same
from final blocks; nobody has to believe who shows a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from consensus.finality.tree import MerkleTree, hash_leaf
from consensus.learning.chain_state import ChainState
from consensus.wire.ethereum import encode_words


@dataclass(frozen=True, slots=True)
class Leaf:
    """What the ledger says of one client. account : 20 bytes; weight, rewards : below 2^256"""

    client_key: bytes
    account: bytes
    weight: int
    rewards: int

    @property
    def hash(self) -> bytes:
        """What the tree holds: keccak256 of keccak256 of abi.encode."""
        return hash_leaf(encode_words(self.client_key, self.account, self.weight, self.rewards))


@dataclass(frozen=True)
class Ledger:
    """The leaves by ascending client key."""

    leaves: tuple[Leaf, ...]

    @cached_property
    def tree(self) -> MerkleTree:
        return MerkleTree(leaf.hash for leaf in self.leaves)

    @property
    def root(self) -> bytes:
        """32 bytes; zeros where no client is bound."""
        return self.tree.root

    @cached_property
    def total_weight(self) -> int:
        """Of all leaves."""
        return sum(leaf.weight for leaf in self.leaves)

    @cached_property
    def total_rewards(self) -> int:
        """Of all leaves."""
        return sum(leaf.rewards for leaf in self.leaves)

    def find(self, client_key: bytes) -> Leaf | None:
        """A client's leaf; None for one that is not bound, or not registered."""
        return next((leaf for leaf in self.leaves if leaf.client_key == client_key), None)

    def prove(self, leaf: Leaf) -> tuple[bytes, ...]:
        """The siblings from a leaf of this ledger to the root. KeyError for another."""
        return self.tree.prove(leaf.hash)


def read_ledger(state: ChainState) -> Ledger:
    """The ledger after a final block. It changes when clients register and when rounds end, and is
    remembered from block to block."""
    return _make(
        tuple(
            Leaf(client, account, state.weights.get(client, 0), state.rewards.get(client, 0))
            for client, account in sorted(state.accounts.items())
        )
    )


@lru_cache(maxsize=4)
def _make(leaves: tuple[Leaf, ...]) -> Ledger:
    return Ledger(leaves)
