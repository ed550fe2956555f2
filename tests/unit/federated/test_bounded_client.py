"""Clients of a task that bounds updates: none in the first round, fitted models in the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consensus.disk.development import sign_permit
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.transactions import Proof, Transaction
from federated.bounds import UpdateProver
from federated.client import Client, make_committer
from federated.errors import ProvingFailed
from federated.joining.own_prover import OwnProver
from federated.rounds.store import SecretStore
from prover.errors import UpdateExceeds
from prover.model.network import QuantizedModel
from prover.model.update import compute_update, require_bounds
from prover.wire.update import UpdateEnvelope
from tests.support.bounded_lab import BOUNDS, BoundedLab, norm, norm_key
from tests.support.learning import (
    ARCHITECTURE,
    BACKEND,
    accuracy,
    committer,
    model_of,
    proving_key,
)
from tests.support.tiny_circuits import seeded


def learn_far(origin: GlobalModel | None, learning_round: int) -> QuantizedModel:
    """All weights turned round, once there is something to be far from."""
    if origin is None:
        return model_of(1)
    near = origin.rounded()
    turned = tuple(np.where(w > 0, -30, 30).astype(np.int8) for w in near.weights)
    return QuantizedModel(architecture=ARCHITECTURE, weights=turned, biases=near.biases)


def make_client(lab: BoundedLab, i: int, folder: Path, updates: UpdateProver | None) -> Client:
    return Client(
        lab.clients[i],
        validator=0,
        permit=sign_permit(lab.admission, lab.genesis.digest, lab.client(i)),
        blobs=lab.blobs,
        secrets=SecretStore(folder / f"client-{i}", lab.genesis),
        learn=learn_far if i == 1 else lambda origin, t: model_of(i),
        commit=make_committer(lab.task, random_bytes=seeded(30 + i), backend=BACKEND),
        prover=OwnProver(accuracy(), proving_key(), random_bytes=seeded(5), backend=BACKEND),
        random_bytes=seeded(40 + i),
        backend=BACKEND,
        updates=updates,
    )


def run_until(
    lab: BoundedLab, clients: list[Client], phase: Phase, learning_round: int
) -> ChainState:
    verifier, state = lab.verifier(), start(lab.genesis)
    while (state.phase, state.learning_round) != (phase, learning_round):
        sent: list[Transaction] = [tx for c in clients if (tx := c.act(state)) is not None]
        assert verifier.judge(state, sent) == [None] * len(sent)
        block = lab.block(state, sent)
        assert verifier.check(state, block) is None
        state = apply(state, block)
    return state


def test_a_client_that_went_too_far_is_fitted_and_counts(tmp_path: Path) -> None:
    lab = BoundedLab()
    updates = UpdateProver(norm=norm(), key=norm_key(), committer=committer(), backend=BACKEND)
    clients = [make_client(lab, i, tmp_path, updates) for i in range(3)]
    state = run_until(lab, clients, Phase.PROVE, 1)
    origin = GlobalModel.parse(lab.blobs.get(state.global_model)).rounded()
    far = clients[1].load_secrets(1)
    assert far is not None
    update = compute_update(far.model, origin)
    require_bounds(ARCHITECTURE, update, BOUNDS)
    wanted = learn_far(GlobalModel.parse(lab.blobs.get(state.global_model)), 1)
    with pytest.raises(UpdateExceeds):
        require_bounds(ARCHITECTURE, compute_update(wanted, origin), BOUNDS)

    sent = [client.act(state) for client in clients]
    proofs = [tx for tx in sent if isinstance(tx, Proof)]
    assert len(proofs) == 3
    assert all(UpdateEnvelope.decode(tx.norm) is not None for tx in proofs)
    after = run_until(lab, clients, Phase.MASK, 1)
    assert set(after.proofs) == {client.public_key for client in clients}


def test_a_client_without_the_key_says_what_it_lacks(tmp_path: Path) -> None:
    """In the first round it needs none."""
    lab = BoundedLab()
    updates = UpdateProver(norm=norm(), key=norm_key(), committer=committer(), backend=BACKEND)
    clients = [make_client(lab, i, tmp_path, updates if i else None) for i in range(3)]
    with pytest.raises(ProvingFailed, match="--norm-key"):
        run_until(lab, clients, Phase.PROVE, 1)
