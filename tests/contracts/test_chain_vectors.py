"""Certificates and ledgers that the chain makes, shown to the contracts as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import Reverted, World
from tests.support.shown_blocks import Ledger, LedgerProof, read_words, to_bytes


@pytest.fixture(scope="module")
def chain(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "tests/vectors/ledger_v1.json").read_text())
    return found


def test_messages_and_their_points(world: World, chain: dict[str, Any]) -> None:
    harness = world.deploy("MapHarness")
    for entry in chain["blocks"]:
        block = LedgerProof.read(entry["proof"]).block
        message = block.encode(to_bytes(chain["genesis_digest"]))
        assert message.hex() == entry["message"]
        point = world.send(harness, "hashToG1", message, chain["tag"].encode())
        assert point == read_words(entry["hash_to_g1"])


def test_every_block_is_shown_and_every_client_voted_and_paid(
    world: World, chain: dict[str, Any]
) -> None:
    key, genesis = read_words(chain["group_key"]), to_bytes(chain["genesis_digest"])
    finality = world.deploy("ZkpotFinality", key, genesis)
    votes = world.deploy("ZkpotVotes", finality.address)
    token = world.deploy("PlainToken", 10**12)
    rewards = world.deploy("ZkpotRewards", finality.address, token.address, 1)
    world.send(token, "transfer", rewards.address, 10**12)
    for entry in chain["blocks"]:
        proof = LedgerProof.read(entry["proof"])
        block, leaves, ways = proof.block, proof.leaves, proof.ways
        world.send(finality, "submit", *proof.words)
        ledger = Ledger.of(*leaves)
        assert ledger.tree.root == block.ledger_root
        assert [ledger.prove(leaf) for leaf in leaves] == ways
        assert sum(leaf.weight for leaf in leaves) == block.total_weight
        assert sum(leaf.rewards for leaf in leaves) == block.total_rewards
        world.send(votes, "prove", [leaf.words for leaf in leaves], ways)
        for leaf, way in zip(leaves, ways, strict=True):
            assert world.send(votes, "getVotes", leaf.address) == [leaf.weight]
            (paid,) = world.send(token, "balanceOf", leaf.address)
            if paid < leaf.rewards:
                world.send(rewards, "claim", leaf.words, way)
            assert world.send(token, "balanceOf", leaf.address) == [leaf.rewards]
        world.wait(12)
    assert world.send(token, "balanceOf", rewards.address) == [10**12 - block.total_rewards]


def test_refused_signatures(world: World, chain: dict[str, Any]) -> None:
    key, genesis = read_words(chain["group_key"]), to_bytes(chain["genesis_digest"])
    finality = world.deploy("ZkpotFinality", key, genesis)
    block = LedgerProof.read(chain["blocks"][-1]["proof"]).block
    assert len(chain["refused"]) >= 5
    for entry in chain["refused"]:
        with pytest.raises(Reverted, match="Forged"):
            world.send(finality, "submit", *block.words, read_words(entry["signature"]))
