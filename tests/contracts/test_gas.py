"""What transactions cost: `python -m tests.contracts.test_gas` prints the table of CONTRACTS.md.

All gas of a transaction, its 21,000 and its calldata included, at Cancun's prices, which are
pyrevm's; Prague changes none of them. Osaka's modexp is dearer (EIP-7883): by the powers that a
certificate takes, which are counted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from pyrevm import EVM

from kernels.bn254 import P
from kernels.hash_to_curve import hash_to_field
from tests.support.contracts import (
    DEPLOYER,
    World,
    compile_contracts,
    copy_state,
    deploy_code,
)
from tests.support.shown_blocks import (
    TAG,
    Block,
    Ledger,
    Shown,
    Validators,
    count_candidates,
    make_leaf,
)

N_CLIENTS = 1_024
MOST = {"submit": 250_000, "prove": 80_000, "claim": 100_000}
BITS = (P - 2).bit_length() - 1, ((P + 1) // 4).bit_length() - 1  # of an inversion, of a root
Rows = dict[str, tuple[int, int]]  # gas at Cancun's prices, and at Osaka's


def count_more(block: Block) -> int:
    """What the powers of a certificate cost more in Osaka: 16 for a bit, not a third of it."""
    inversion, root = (16 * bits - 16 * bits // 3 for bits in BITS)
    return inversion + root * count_roots(block)


def count_roots(block: Block) -> int:
    return sum(map(count_candidates, hash_to_field(block.encode(), TAG)))


def find_block(block: Block, n_roots: int) -> Block:
    """The same with a block hash whose point takes so many roots, two to six."""
    hashes = (i.to_bytes(32, "big") for i in range(1 << 248, (1 << 248) + 1_000))
    blocks = (replace(block, block_hash=each) for each in hashes)
    return next(it for it in blocks if count_roots(it) == n_roots)


def build_ledger(n: int, turn: int) -> Ledger:
    """Of n clients, whose weights and rewards change from turn to turn."""
    weights = range(7_000_000 + turn, 7_000_000 + turn + n)
    return Ledger.of(*(make_leaf(i, w, w * turn) for i, w in enumerate(weights)))


@cache
def measure(root: Path) -> Rows:
    world = World(compile_contracts(root))
    shown = Shown.deploy(world, Validators())
    votes = world.deploy("ZkpotVotes", shown.contract.address)
    token = world.deploy("PlainToken", 10**40)
    rewards = world.deploy("ZkpotRewards", shown.contract.address, token.address, 1)
    world.send(token, "transfer", rewards.address, 10**39)
    world.wait(12)
    rows: Rows = {}

    def submit(what: str, block: Block) -> None:
        gas = world.price(shown.contract, "submit", *shown.certify(block))
        rows[what] = gas, gas + count_more(block)

    def note(what: str, gas: int) -> None:
        rows[what] = gas, gas

    first, second = (build_ledger(N_CLIENTS, turn) for turn in (1, 2))
    people = [0, 1, *range(20, 30)]
    submit("`submit`, the first, at most", find_block(Block.of(1, first), 6))
    shown.show(first)
    world.wait(12)
    submit("`submit`, at least", find_block(Block.of(2, second), 2))
    submit("`submit`, at most", find_block(Block.of(2, second), 6))
    submit("`submit` of the same weights, at most", find_block(Block.of(2, first), 6))

    def prove(ledger: Ledger, *numbers: int) -> tuple[object, object]:
        chosen = [ledger.leaves[i] for i in numbers]
        return [leaf.words for leaf in chosen], [ledger.prove(leaf) for leaf in chosen]

    note("`prove` one account, the first time", world.price(votes, "prove", *prove(first, 0)))
    world.send(votes, "prove", *prove(first, *people))
    early = first.leaves[2]
    world.send(votes, "delegate", first.leaves[1].address, caller=early.address)
    world.send(votes, "prove", *prove(first, 1))
    world.wait(12)
    late = world.price(votes, "prove", *prove(first, 2))
    note("`prove` one that delegated before, the first time", late)
    world.send(votes, "delegate", early.address, caller=early.address)
    note("`prove` the same again", world.price(votes, "prove", *prove(first, 0)))
    world.send(votes, "delegate", first.leaves[1].address, caller=first.leaves[0].address)
    claim = first.leaves[2].words, first.prove(first.leaves[2])
    note("`claim`, the first time", world.price(rewards, "claim", *claim))
    world.send(rewards, "claim", *claim)
    world.wait(12)
    shown.show(second)
    world.wait(12)
    note("`prove` one account anew", world.price(votes, "prove", *prove(second, 1)))
    note("`prove` one that delegates anew", world.price(votes, "prove", *prove(second, 0)))
    ten = world.price(votes, "prove", *prove(second, *people[2:]))
    note("`prove` ten at once, each", -(-ten // 10))
    claim = second.leaves[2].words, second.prove(second.leaves[2])
    note("`claim` anew", world.price(rewards, "claim", *claim))
    return rows


def write_table(rows: Rows) -> str:
    lines = [f"| {what} | {a:,} | {b:,} |" for what, (a, b) in rows.items()]
    return "\n".join(["| transaction | gas | in Osaka |", "|---|---|---|", *lines])


def test_the_meter_finds_all_cold() -> None:
    """EIP-2929, of code that stores 7 and 9 over words of 7 and 5, reads a third, and asks for the
    size of another contract."""
    evm = EVM()
    other = deploy_code(evm, "00")
    words = "".join(f"60{value:02x}60{slot:02x}55" for slot, value in enumerate((7, 5, 6)))
    code = f"60075f55 6009600155 60025450 73{other[2:]}3b50 00"
    target = deploy_code(evm, code, before=words)
    fresh = copy_state(evm)
    fresh.message_call(DEPLOYER, target)
    unchanged, changed, read, size = 2_200, 5_000, 2_100, 2_600
    steps = 5 + 6 + 5 + 5  # PUSH0 and POP 2, PUSH1 and PUSH20 3
    assert fresh.result.gas_used == 21_000 + unchanged + changed + read + size + steps


def test_no_transaction_costs_more_than_it_may(root: Path) -> None:
    for what, (_, dearest) in measure(root).items():
        assert dearest <= MOST[what.split("`")[1]], what


def test_the_documented_table_is_what_is_measured(root: Path) -> None:
    assert write_table(measure(root)) in (root / "docs" / "CONTRACTS.md").read_text()


if __name__ == "__main__":
    print(write_table(measure(Path(__file__).resolve().parents[2])))
