"""A client under bounds on updates: what it commits to is fitted, and its second proof holds."""

from __future__ import annotations

import numpy as np
import pytest

from consensus.learning.aggregate import ONE, GlobalModel
from federated.bounds import UpdateProver
from kernels.backend import get_backend
from prover.circuit.norm.circuit import compile_norm
from prover.circuit.norm.inputs import UpdateInputs
from prover.errors import KeyMismatch, UpdateExceeds
from prover.groth16.setup_norm import setup_norm
from prover.groth16.verify import verify_updates
from prover.keys.card import UpdateCard
from prover.keys.folder import save_key
from prover.model.network import Architecture, QuantizedModel
from prover.model.update import UpdateBounds
from prover.pedersen.commitment import SecretCommitment, draw_blinding
from prover.pipeline import commit_job
from prover.wire.statement import Occasion
from prover.wire.verdict import Verdict
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded

NETWORK = Architecture.mlp([5, 3])
BOUNDS = UpdateBounds(weight=3, bias=50, squares=30)
OCCASION = Occasion(
    chain_id=b"c", task_id=b"t", round_index=1, commit_height=4, client_key=b"client"
)


@pytest.fixture(scope="module")
def prover(tmp_path_factory: pytest.TempPathFactory) -> UpdateProver:
    folder, backend = tmp_path_factory.mktemp("norm") / "key", get_backend("cpu")
    norm = compile_norm(NETWORK, BOUNDS)
    key = setup_norm(norm, random_bytes=seeded(1), backend=backend)
    save_key(key, folder, UpdateCard.of(norm))
    with pytest.raises(KeyMismatch, match="the digest of the key is"):
        UpdateProver.load(folder, key_digest=bytes(32), backend=backend)
    return UpdateProver.load(folder, key_digest=key.verifying.digest, backend=backend)


@pytest.fixture(scope="module")
def global_model() -> GlobalModel:
    """A mean whose fractions round both ways."""
    wires = random_model(NETWORK, np.random.default_rng(3)).wires // 2
    numbers = wires * ONE + np.arange(len(wires)) % 4 * (ONE // 4)
    return GlobalModel(architecture=NETWORK, numbers=numbers)


def commit(prover: UpdateProver, model: QuantizedModel) -> SecretCommitment:
    blinding = draw_blinding(seeded(7))
    public = commit_job(model, blinding, prover.committer)
    return SecretCommitment(public=public, blinding=blinding)


def test_a_fitted_model_is_proven(prover: UpdateProver, global_model: GlobalModel) -> None:
    trained = random_model(NETWORK, np.random.default_rng(4))
    fitted = prover.fit(trained, global_model)
    envelope = prover.prove(
        fitted, global_model, occasion=OCCASION, commitment=commit(prover, fitted)
    )
    inputs = UpdateInputs.of(prover.norm.plan, global_model.rounded(), prover.committer)
    verdicts = verify_updates(
        [envelope], key=prover.key.verifying, inputs=inputs, random_bytes=seeded(2)
    )
    assert verdicts == [Verdict.VALID]
    with pytest.raises(UpdateExceeds):
        prover.prove(trained, global_model, occasion=OCCASION, commitment=commit(prover, trained))
