"""Trees: those of @openzeppelin/merkle-tree, node by node; no leaf is a node, nor the other way."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from consensus.finality.ledger import Ledger
from consensus.finality.tree import NO_ROOT, MerkleTree, climb, hash_leaf
from tests.support.merkle_trees import PATH, SIZES, describe, list_leaves

TREES = json.loads(PATH.read_text())["trees"]


def show(hashes: tuple[bytes, ...]) -> list[str]:
    return [f"0x{h.hex()}" for h in hashes]


@pytest.mark.parametrize(("n", "expected"), list(zip(SIZES, TREES, strict=True)))
def test_a_tree_is_that_of_openzeppelin(n: int, expected: dict[str, object]) -> None:
    ledger = Ledger(tuple(list_leaves(n)))
    assert [describe(leaf) for leaf in ledger.leaves] == expected["values"]
    assert f"0x{ledger.root.hex()}" == expected["root"]
    assert show(tuple(ledger.tree.nodes)) == expected["nodes"]
    assert [show(ledger.prove(leaf)) for leaf in ledger.leaves] == expected["proofs"]
    assert all(climb(leaf.hash, ledger.prove(leaf)) == ledger.root for leaf in ledger.leaves)


def test_the_order_of_leaves_does_not_matter() -> None:
    hashes = [leaf.hash for leaf in list_leaves(11)]
    assert MerkleTree(hashes).root == MerkleTree(reversed(hashes)).root


def test_an_empty_tree_has_no_root() -> None:
    tree = MerkleTree([])
    assert tree.root == NO_ROOT == bytes(32)
    with pytest.raises(KeyError):
        tree.prove(bytes(32))


def test_a_node_is_no_leaf() -> None:
    """Its children, as if they were a leaf's values, are hashed twice: to another hash."""
    tree = MerkleTree(leaf.hash for leaf in list_leaves(4))
    for left, right in pairwise(tree.nodes[1:]):
        pair = min(left, right) + max(left, right)
        assert hash_leaf(pair) not in tree.nodes
    with pytest.raises(KeyError):
        tree.prove(tree.nodes[1])


def test_a_path_leads_from_its_own_leaf_alone() -> None:
    ledger = Ledger(tuple(list_leaves(5)))
    first, second = ledger.leaves[:2]
    path = ledger.prove(first)
    assert climb(second.hash, path) != ledger.root
    assert climb(first.hash, path[1:]) != ledger.root
    assert climb(first.hash, (*path, bytes(32))) != ledger.root
