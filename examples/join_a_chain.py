"""Clients join a chain: they register, commit, prove, mask their models; then all is verified.

    python examples/join_a_chain.py

A development chain of one validator is made in a temporary folder and gone afterwards. The network
is tiny and random: what a client really brings is a model that it has trained, see `learn`.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from api.settings import Settings
from api.valkey.shared import sharing
from consensus.content.blobs import FileBlobs
from consensus.disk.development import ADMISSION, BLOBS, create_chain, sign_permit
from consensus.disk.identity import create_key, get_public_key, load_key
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import Phase
from consensus.learning.samples import SamplePool
from consensus.node.stream import FINAL, Transport
from consensus.node.watch import Watch
from consensus.wire.genesis import Genesis, Task, Timeouts, set_phases
from federated.client import Client, make_committer
from federated.joining.own_prover import OwnProver
from federated.rounds.duties import find_duty
from federated.rounds.store import SecretStore
from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.groth16.setup import setup_accuracy
from prover.model.network import QuantizedModel
from prover.model.presets import parse_architecture

ARCHITECTURE = parse_architecture("mlp-8-4")
N_CLIENTS = 3  # a sum of fewer models would tell of each
N_SAMPLES = 256  # the least that a task may draw: of fewer, k would tell about single samples
WAIT_S = 1.0
PROGRAM = (sys.executable, "-c", "from api.cli import main; main()")  # `zkpot`, wherever it lies

backend = get_backend("cpu")
circuit = compile_accuracy(ARCHITECTURE, N_SAMPLES)
key = setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend)


def make_chain(folder: Path) -> Genesis:
    """A chain with one validator, one round, room for three clients; all keys are dealt here."""
    rng = np.random.default_rng(1)
    pool = SamplePool.of(
        images=rng.integers(0, 256, (2 * N_SAMPLES, 8), dtype=np.uint8),
        labels=rng.integers(0, 4, 2 * N_SAMPLES, dtype=np.uint8),
    )
    folder.mkdir(mode=0o700)  # keys will lie there
    blobs = FileBlobs(folder / BLOBS)
    task = Task(
        task_id=b"example",
        architecture=ARCHITECTURE,
        circuit_digest=circuit.digest,
        verifying_key_digest=blobs.put(key.verifying.encode()),
        sealed=False,
        pools=(blobs.put(pool.encode()),),
        n_samples=N_SAMPLES,
        threshold=1,
        margin=None,
        n_rounds=1,
        n_expected=N_CLIENTS,
        collusion=1,
        **set_phases(60_000),
    )
    timeouts = Timeouts(
        propose_ms=1000,
        prevote_ms=1000,
        precommit_ms=1000,
        increase_ms=500,
        empty_block_ms=200,
        longest_empty_ms=1000,
    )
    return create_chain(
        folder,
        chain_id=b"example",
        task=task,
        timeouts=timeouts,
        n_validators=1,
        random_bytes=secrets.token_bytes,
    )


def learn(start: GlobalModel | None, learning_round: int) -> QuantizedModel:
    """Where a client trains from the global model; here its weights are random."""
    rng = np.random.default_rng()
    return QuantizedModel(
        architecture=ARCHITECTURE,
        weights=tuple(rng.integers(-9, 10, s, dtype=np.int8) for s in ARCHITECTURE.weight_shapes),
        biases=tuple(rng.integers(-9, 10, s, dtype=np.int32) for s in ARCHITECTURE.bias_shapes),
    )


def make_client(folder: Path, chain: Path, genesis: Genesis) -> Client:
    """A client with a key of its own, and the permit of whoever holds the admission key."""
    own = create_key(folder, secrets.token_bytes(32), "client.key")
    permit = sign_permit(load_key(chain, ADMISSION), genesis.digest, get_public_key(own))
    return Client(
        own,
        validator=0,
        permit=permit,
        blobs=FileBlobs(chain / BLOBS),
        secrets=SecretStore(folder, genesis),
        learn=learn,
        commit=make_committer(genesis.task, random_bytes=secrets.token_bytes, backend=backend),
        # It shows the model to nobody; `api.client.prover` asks a service that is trusted with it.
        prover=OwnProver(circuit, key, random_bytes=secrets.token_bytes, backend=backend),
        random_bytes=secrets.token_bytes,
        backend=backend,
    )


def take_part(clients: list[Client], watch: Watch) -> None:
    """Sends what is due until it is final, through all phases, and says what it sends.

    Three clients in one process, for the example's sake: each has a folder and a key of its own.
    """
    sent_at, sent = float("-inf"), list[object]()
    while watch.state.phase is not Phase.DONE:
        state = watch.state
        due = [tx for client in clients if (tx := client.act(state)) is not None]
        if due and (due != sent or time.monotonic() - sent_at > WAIT_S):
            duties = {find_duty(state, client.public_key) for client in clients}
            if due != sent and len(due) == len(clients):
                print(f"height {state.height}: {', '.join(duties)}")
            for tx in due:
                watch.send(tx)  # the transport may lose it: it is sent again
            sent_at, sent = time.monotonic(), list(due)
        watch.poll(100)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="zkpot-") as name:
        folder, chain = Path(name), Path(name) / "chain"
        genesis = make_chain(chain)
        settings = Settings(data_dir=folder / "data")
        environment = {**os.environ, "ZKPOT_DATA_DIR": str(settings.data_dir)}
        node = subprocess.Popen(
            [*PROGRAM, "node", str(chain / "node-0"), "--archive"],  # keeps what it adds up
            env=environment,
            stderr=(folder / "node.log").open("wb"),
        )
        try:
            with sharing(settings) as (redis, _):
                watch = Watch(genesis, Transport(redis, genesis.digest, (FINAL,)))
                names = [f"client-{i}" for i in range(N_CLIENTS)]
                take_part([make_client(folder / name, chain, genesis) for name in names], watch)
            print(f"height {watch.state.height}: {watch.state.phase}")
        finally:
            node.terminate()
            node.wait()
        subprocess.run(
            [
                *(*PROGRAM, "chain", "verify", str(chain / "node-0")),
                *("--genesis-digest", genesis.digest.hex()),
                *("--head", watch.state.head.hex()),
            ],
            env=environment,
            check=True,
        )


if __name__ == "__main__":
    main()
