"""What `training_v2.json` and `training_file_v1.json` of `tests/vectors` hold: seeds are in
`tests/support/trajectories.py` and `tests/support/training_files.py`.

`python -m tests.support.training_vectors` writes both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prover.keys.training_card import StepCard
from prover.training.masters import export, start
from tests.support.training_files import BEACON, drawn, full, halves, sampled
from tests.support.trajectories import chain, public_model, recipe, step_circuit, step_key

_FOLDER = Path(__file__).resolve().parent.parent / "vectors"
TRAINING, TRAINING_FILE = _FOLDER / "training_v2.json", _FOLDER / "training_file_v1.json"


def make_training() -> dict[str, Any]:
    """A recipe, the steps of a chain number by number, and the envelopes that prove them."""
    return {
        "recipe": recipe().to_manifest(),
        "recipe_digest": recipe().digest.hex(),
        "start": start(recipe(), public_model()).tolist(),
        "steps": [
            {
                "images": step.trace.batch.images[: step.trace.batch.n_real].tolist(),
                "labels": (step.trace.batch.y[: step.trace.batch.n_real] - 1).tolist(),
                "batch_wires": step.trace.batch.wires.tolist(),
                "logits": step.trace.logits.tolist(),
                "delta": step.trace.loss.delta.tolist(),
                "after": step.trace.after.tolist(),
                "statement": step.proven.statement.encode().hex(),
                "envelope": step.proven.envelope.hex(),
            }
            for step in chain()
        ],
        "export": export(recipe(), chain()[-1].trace.after).wires.tolist(),
        "card": StepCard.of(step_circuit()).encode().decode("ascii"),
        "verifying_key": step_key().verifying.encode().hex(),
    }


def make_files() -> dict[str, Any]:
    """Both keys of the recipe, and proofs of training that are valid under them."""
    return {
        "step_key": halves().step.encode().hex(),
        "step_card": halves().step_card.encode().decode("ascii"),
        "export_key": halves().export.encode().hex(),
        "export_card": halves().export_card.encode().decode("ascii"),
        "keys_digest": halves().digest.hex(),
        "beacon": BEACON.hex(),
        "sampled_steps": list(sampled().chosen),
        "full": full().encode().hex(),
        "sampled": sampled().encode().hex(),
        "drawn": drawn().encode().hex(),
    }


def encode(value: dict[str, Any]) -> str:
    """One line for each of what a reader looks for."""
    lines = [f"  {json.dumps(name)}: {json.dumps(part)}" for name, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TRAINING.write_text(encode(make_training()), encoding="ascii")
    TRAINING_FILE.write_text(encode(make_files()), encoding="ascii")
