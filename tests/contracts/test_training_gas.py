"""What transactions about training cost: `python -m tests.contracts.test_training_gas` prints the
table of CONTRACTS.md, each number rounded up to a thousand.

All gas of a transaction, its 21,000 and its calldata included, at Cancun's prices. What contracts
of two keys differ in is the number of groups, of public inputs and of challenges; here it is that
of 784-128-10, in keys of known exponents.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from federated.provable.recipes import make_trainable, suggest_recipe
from prover.contracts.verifier import write_training_contract
from prover.keys.training_card import ExportCard
from prover.model.presets import parse_architecture
from prover.wire.statement import Occasion
from tests.support.contracts import World, compile_contracts, keccak256
from tests.support.known_training_keys import KnownKey, make_card
from tests.support.training_contracts import arrange, arrange_occasion, compile_sources

MOST = {
    "`verify` a step": 450_000,
    "`verify` an export": 400_000,
    "`begin` a trajectory": 60_000,
    "`lead` it on by a step": 475_000,
}
OCCASION = Occasion(
    chain_id=sha256(b"genesis").hexdigest().encode(),
    task_id=b"task",
    round_index=1,
    commit_height=100,
    client_key=sha256(b"client").digest(),
)
STEP, EXPORT = (5**20, 7**50, 11**40), (5**20, 7**50)


@cache
def measure(root: Path) -> dict[str, int]:
    recipe = suggest_recipe(make_trainable(parse_architecture("mlp-784-128-10")))
    of_step = KnownKey.draw(make_card(recipe), seed=3)
    of_export = KnownKey.draw(make_card(recipe, of=ExportCard), seed=4)
    keys = {"step": of_step, "export": of_export}
    sources = {n: write_training_contract(k.verifying, k.card) for n, k in keys.items()}
    world = World(compile_contracts(root) | compile_sources(root, sources))
    verifier, exports = world.deploy("step"), world.deploy("export")
    training = world.deploy("ZkpotTraining", verifier.address)

    step = arrange(of_step.prove_step(OCCASION, 0, recipe.batch_size, STEP, seed=5))
    rows = {
        "`verify` a step": world.price(verifier, "verify", *step),
        "`verify` an export": world.price(
            exports, "verify", *arrange(of_export.prove_export(OCCASION, EXPORT, seed=6))
        ),
    }
    (_, _, n_real, (start, _, data)), _ = step
    rest = 1 << 255  # the hash of further batches
    words = [*data, n_real, rest]
    left = int.from_bytes(keccak256(b"".join(x.to_bytes(32, "big") for x in words)), "big")
    beginning = arrange_occasion(OCCASION), start, left
    rows["`begin` a trajectory"] = world.price(training, "begin", *beginning)
    (name,) = world.send(training, "begin", *beginning)
    rows["`lead` it on by a step"] = world.price(training, "lead", name, *step, rest)
    assert world.send(training, "lead", name, *step, rest) == []
    return rows


def write_table(rows: dict[str, int]) -> str:
    lines = [f"| {what} | {-(-gas // 1_000) * 1_000:,} |" for what, gas in rows.items()]
    return "\n".join(["| transaction | gas |", "|---|---|", *lines])


def test_no_transaction_costs_more_than_it_may(root: Path) -> None:
    for what, gas in measure(root).items():
        assert gas <= MOST[what], what


def test_the_documented_table_is_what_is_measured(root: Path) -> None:
    assert write_table(measure(root)) in (root / "docs" / "CONTRACTS.md").read_text()


if __name__ == "__main__":
    print(write_table(measure(Path(__file__).resolve().parents[2])))
