"""Merkle trees as contracts of OpenZeppelin read them: those of the npm package
`@openzeppelin/merkle-tree`, StandardMerkleTree.

    leaf     = keccak256(keccak256(abi.encode(values)))
    parent   = keccak256(a | b), a <= b the hashes of its children

A tree of n leaves is an array of 2 n - 1 hashes: the root first, the children of place i at 2 i + 1
and 2 i + 2, and the leaves at its end, the least of them last. A path is proven by siblings alone,
since pairs are sorted; a leaf is hashed twice, so that no pair of hashes can be one: the preimage
of a leaf's hash has 32 bytes, that of a parent's 64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consensus.wire.ethereum import WORD_BYTES, keccak256

NO_ROOT = bytes(WORD_BYTES)
"""Of a tree without leaves."""


def hash_leaf(encoded: bytes) -> bytes:
    """The hash of a leaf. encoded : abi.encode of its values"""
    return keccak256(keccak256(encoded))


class MerkleTree:
    """The tree over these hashes of leaves, in any order; equal ones are two leaves.

    nodes : the array

    cost : one keccak256 for each leaf but the first
    """

    def __init__(self, leaves: Iterable[bytes]) -> None:
        ordered = sorted(leaves, reverse=True)
        n = len(ordered)
        self.nodes: list[bytes] = [*[b""] * max(0, n - 1), *ordered]
        for i in reversed(range(n - 1)):
            self.nodes[i] = _hash_pair(self.nodes[2 * i + 1], self.nodes[2 * i + 2])
        first = max(0, n - 1)
        self._places = {leaf: first + i for i, leaf in enumerate(ordered)}

    @property
    def root(self) -> bytes:
        """32 zero bytes where there is no leaf."""
        return self.nodes[0] if self.nodes else NO_ROOT

    def prove(self, leaf: bytes) -> tuple[bytes, ...]:
        """The siblings on the way from a leaf to the root. KeyError for no leaf of this tree."""
        at, path = self._places[leaf], []
        while at > 0:
            path.append(self.nodes[at + 1 if at % 2 else at - 1])
            at = (at - 1) // 2
        return tuple(path)


def climb(leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that a path leads to, as OpenZeppelin's MerkleProof.processProof."""
    for sibling in path:
        leaf = _hash_pair(leaf, sibling)
    return leaf


def _hash_pair(a: bytes, b: bytes) -> bytes:
    return keccak256(min(a, b) + max(a, b))
