"""Contracts of keys of training steps, called with proofs of a key of known exponents."""

from __future__ import annotations

from typing import Any

from prover.circuit.training.inputs import StepInputs
from prover.contracts.verifier import write_training_contract
from prover.groth16.verify_training import verify_steps
from prover.wire.statement import Occasion
from prover.wire.training import StepEnvelope
from prover.wire.verdict import Verdict
from tests.support import contracts
from tests.support.contracts import Deployed, World
from tests.support.known_training_keys import KnownKey, make_card
from tests.support.tiny_circuits import seeded
from tests.support.trajectories import recipe, step_circuit

# Whole words, so that there is no byte which does not count.
OCCASION = Occasion(
    chain_id=b"c" * 64, task_id=b"t" * 32, round_index=3, commit_height=77, client_key=b"k" * 32
)
COMMITMENTS = (5**20, 7**50, 11**40)
KNOWN = KnownKey.draw(make_card(recipe()), seed=3)


def write(key: KnownKey) -> str:
    return write_training_contract(key.verifying, key.card)


def ask(world: World, contract: Deployed, calldata: bytes, **options: int) -> bytes:
    """Raises RuntimeError where it reverts. options : of the call"""
    raw: bytes = world.evm.message_call(
        contracts.DEPLOYER, contract.address, calldata=calldata, **options
    )
    return bytes(raw)


def holds(world: World, contract: Deployed, calldata: bytes) -> bool:
    """What `verify` answers; a revert is no."""
    try:
        answer = ask(world, contract, calldata)
    except RuntimeError:
        return False
    assert answer in (bytes(32), (1).to_bytes(32, "big"))
    return answer != bytes(32)


def judge(envelope: StepEnvelope) -> Verdict:
    """What Python says of an envelope under the known key."""
    inputs = StepInputs(plan=step_circuit().plan)
    raws = [envelope.encode()]
    (verdict,) = verify_steps(raws, key=KNOWN.verifying, inputs=inputs, random_bytes=seeded(9))
    return verdict


def simulate(**change: Any) -> StepEnvelope:
    """A proof under the known key."""
    given = {"occasion": OCCASION, "step": 4, "n_real": 3, "commitments": COMMITMENTS, "seed": 8}
    return KNOWN.prove_step(**given | change)


def call_values(world: World, contract: Deployed, statement: Any, proof: Any) -> bool:
    calldata = contracts.encode_call(contract.artifact, "verify", (statement, proof))
    return holds(world, contract, calldata)
