"""A block becomes the head by a certificate of f + 1 validators, and by nothing else."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from random import Random

import pytest

from consensus.learning.beacon import TAG as BEACON_TAG
from kernels.bn254 import G2, P
from tests.support.contracts import START_S, Reverted, World, keccak256
from tests.support.foreign import outside_g2
from tests.support.shown_blocks import GENESIS, Block, Ledger, Shown, Validators, make_leaf

LEDGER = Ledger.of(make_leaf(1, 700, 30), make_leaf(2, 5, 4))
BLOCK = replace(Block.of(7, LEDGER), learning_round=3)
TOTALS = ("total_weight", "total_rewards")


def get_head(shown: Shown) -> list[int]:
    """Height, learning round, time, time of the weight, past totals, totals, block, root."""
    return shown.world.send(shown.contract, "head")


def refuse(shown: Shown, *words: object) -> Reverted:
    before = get_head(shown)
    with pytest.raises(Reverted) as caught:
        shown.world.send(shown.contract, "submit", *words)
    assert get_head(shown) == before
    return caught.value


def test_it_starts_at_the_genesis(shown: Shown, validators: Validators) -> None:
    genesis = int.from_bytes(GENESIS, "big")
    assert get_head(shown) == [0, 0, START_S, 0, 0, 0, 0, genesis, 0]
    assert shown.world.send(shown.contract, "genesis") == [genesis]
    assert shown.world.send(shown.contract, "groupKey") == validators.group_key


@pytest.mark.parametrize("signers", [(0, 1), (3, 0), (2, 1)])
def test_any_two_validators_make_a_head(shown: Shown, signers: tuple[int, int]) -> None:
    signature = shown.validators.sign(BLOCK.encode(), signers=signers)
    shown.world.wait(60)
    shown.world.send(shown.contract, "submit", *BLOCK.words, signature)
    (log,) = shown.world.evm.result.logs
    event = "Finalized(uint64,uint64,bytes32,bytes32,uint128,uint128)"
    topics = [keccak256(event.encode()), (7).to_bytes(32, "big"), (3).to_bytes(32, "big")]
    assert [bytes.fromhex(topic[2:]) for topic in log.topics] == topics
    now = START_S + 60
    root = int.from_bytes(LEDGER.tree.root, "big")
    block = int.from_bytes(BLOCK.block_hash, "big")
    assert get_head(shown) == [7, 3, now, now, 0, 705, 34, block, root]
    assert shown.world.send(shown.contract, "ledgerRoot") == [root]


@pytest.mark.parametrize(
    "other",
    [
        replace(BLOCK, height=8),
        replace(BLOCK, learning_round=4),
        replace(BLOCK, block_hash=b"\xb1" * 31 + b"\xb0"),
        replace(BLOCK, ledger_root=bytes(32)),
        replace(BLOCK, total_weight=706),
        replace(BLOCK, total_rewards=2**128 - 1),
        replace(BLOCK, total_weight=34, total_rewards=705),
    ],
)
def test_every_field_is_signed(shown: Shown, other: Block) -> None:
    assert refuse(shown, *other.words, shown.validators.sign(BLOCK.encode())).name == "Forged"


def test_other_signatures_are_forged(shown: Shown) -> None:
    message = BLOCK.encode()
    x, y = shown.validators.sign(message)
    other_x, other_y = shown.validators.sign(message + b"\0")
    for signature in (
        [x, P - y],
        [x + P, y],
        [x, y + P],
        [x, y ^ 1],
        [y, x],
        [0, 0],
        [1, 2],
        [2**256 - 1, 2**256 - 1],
        [other_x, other_y],
        shown.validators.sign_alone(message, 0),
        shown.validators.sign(message, tag=BEACON_TAG),
        shown.validators.sign(BLOCK.encode(bytes(32))),
        Validators(seed=2).sign(message),
    ):
        assert refuse(shown, *BLOCK.words, signature).name == "Forged", signature


def test_a_certificate_of_another_chain_is_forged(world: World, validators: Validators) -> None:
    contract = world.deploy("ZkpotFinality", validators.group_key, bytes(32))
    with pytest.raises(Reverted, match="Forged"):
        world.send(contract, "submit", *BLOCK.words, validators.sign(BLOCK.encode()))
    signature = validators.sign(BLOCK.encode(bytes(32)))
    world.send(contract, "submit", *BLOCK.words, signature)


def test_heads_only_rise(shown: Shown) -> None:
    genesis = replace(BLOCK, height=0)
    error = refuse(shown, *shown.certify(genesis))
    assert (error.name, error.words) == ("Stale", [0, 0])
    shown.world.send(shown.contract, "submit", *shown.certify(BLOCK))
    for height in (7, 6, 1):
        error = refuse(shown, *shown.certify(replace(BLOCK, height=height, total_weight=9)))
        assert (error.name, error.words) == ("Stale", [height, 7])
    shown.world.send(shown.contract, "submit", *shown.certify(replace(BLOCK, height=2**64 - 1)))
    assert get_head(shown)[0] == 2**64 - 1


def test_a_contract_needs_a_key(world: World) -> None:
    (x0, x1), (y0, y1) = G2
    (a0, a1), (b0, b1) = outside_g2()
    for words in (
        [0, 0, 0, 0],
        [x0, x1, y0, y1],
        [x1, x0, y1, y0 ^ 1],
        [x1 + P, x0, y1, y0],
        [a1, a0, b1, b0],
    ):
        with pytest.raises(Reverted, match="BadKey"):
            world.deploy("ZkpotFinality", words, GENESIS)
    world.deploy("ZkpotFinality", [x1, x0, y1, y0], GENESIS)


def test_total_weights_are_remembered(shown: Shown, rng: Random) -> None:
    world, times, totals = shown.world, [0], [0]
    for number in range(16):
        world.wait(rng.choice((0, 1, 12, 3_000)))
        weight = rng.choice((0, 1, 2**128 - 1, number, totals[-1]))
        block = Block(height=number + 1, ledger_root=bytes(32), total_weight=weight)
        world.send(shown.contract, "submit", *shown.certify(block))
        times.append(world.time_s)
        totals.append(weight)
    world.wait(1)
    for time in sorted({t + d for t in times for d in (-1, 0, 1)} - {-1, world.time_s}):
        if time < world.time_s:
            expected = totals[bisect_right(times, time) - 1]
            assert world.send(shown.contract, "totalWeightAt", time) == [expected], time
    assert world.send(shown.contract, "totalWeightAt", START_S - 1) == [0]
    for future in (world.time_s, world.time_s + 1, 2**256 - 1):
        with pytest.raises(Reverted, match="FutureLookup"):
            world.send(shown.contract, "totalWeightAt", future)
