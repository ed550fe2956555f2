"""What the suite `proof` proves: the committed MNIST model, and foreign circuits of known shape.

Keys are made here, single-party, and kept in `bench/out/keys` for the next run. An answer is what
an independent verifier says about the proof, and about the same proof for a false statement.

`python -m bench.proving N_SAMPLES` makes one proof and prints {answers, value}: its peak in MiB.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.errors import Unavailable
from bench.isolated import MIB, read_status_bytes
from federated.data import load
from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import R
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.public_inputs import PublicWires, ShardInputs
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_accuracy
from prover.groth16.verify import verify, verify_batch
from prover.keys.card import KeyCard
from prover.keys.folder import VERIFYING_NAME, load_proving_key, load_verifying_half, save_key
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.model.network import QuantizedModel, is_correct
from prover.model.zkq import decode_model
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, draw_blinding
from prover.pipeline import ProvedJob, commit_job, prove_job
from prover.series import prove_shards
from prover.wire.envelope import Envelope, Proof
from prover.wire.statement import Occasion, Statement
from prover.wire.verdict import Verdict

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "tests" / "vectors" / "mnist-mlp.zkq"
KEYS = Path("bench") / "out" / "keys"
DATA = Path("data")  # where `zkpot data fetch` puts full data sets; a part is packaged

OCCASION = Occasion(
    chain_id=b"bench",
    task_id=b"proof",
    round_index=0,
    commit_height=0,
    client_key=b"bench",
)


class AccuracyBench:
    """The trained 784-128-10 model on MNIST test samples, one circuit of `n_samples`.

    make_backend : called when a backend is first needed; default: the CPU
    max_bytes    : for each query of the key, how much precomputation may take
    """

    def __init__(
        self,
        n_samples: int,
        keys: Path = KEYS,
        *,
        make_backend: Callable[[], Backend] = get_backend,
        max_bytes: int | None = None,
    ) -> None:
        self.n_samples = n_samples
        self._keys = keys
        self._make_backend, self._max_bytes = make_backend, max_bytes

    @cached_property
    def backend(self) -> Backend:
        return self._make_backend()

    @cached_property
    def model(self) -> QuantizedModel:
        """Raises Unavailable outside a checkout: the model is no part of the package."""
        if not MODEL.exists():
            raise Unavailable(f"{MODEL.name} is not here: run it in a checkout of the repository")
        return decode_model(MODEL.read_bytes())

    @cached_property
    def circuit(self) -> AccuracyCircuit:
        return compile_accuracy(self.model.architecture, self.n_samples)

    def samples(self, n: int) -> tuple[UInt8Array, UInt8Array]:
        """The first n test samples; those there are, again and again, if n is more."""
        images, labels = load("mnist", "test", DATA)
        index = np.arange(n) % len(labels)
        return images[index], labels[index]

    def count_correct(self, images: UInt8Array, labels: UInt8Array) -> int:
        """Correct samples, by the integer model alone."""
        return int(is_correct(self.model.trace(images)[-1].z, labels).sum())

    # -- keys ------------------------------------------------------------------------------------
    @property
    def key_folder(self) -> Path:
        return self._keys / f"accuracy-{self.card.digest.hex()[:16]}"

    @property
    def card(self) -> KeyCard:
        return KeyCard.of(self.circuit)

    def make_key(self) -> ProvingKey:
        """A fresh key of the circuit."""
        return setup_accuracy(self.circuit, random_bytes=secrets.token_bytes, backend=self.backend)

    @cached_property
    def key(self) -> ProvingKey:
        """The key on disk, prepared as for many proofs; made if there is none."""
        if not (self.key_folder / VERIFYING_NAME).exists():
            save_key(self.make_key(), self.key_folder, self.card)
        return prepare(self.load_key(), self.backend, max_bytes=self._max_bytes)

    def load_key(self) -> ProvingKey:
        """What lies in `key_folder`."""
        verifying, _ = load_verifying_half(self.key_folder)
        return load_proving_key(self.key_folder, verifying)

    def key_bytes(self) -> int:
        """Bytes of the key on disk, both halves."""
        assert self.key.verifying.circuit_digest == self.circuit.digest
        return sum(path.stat().st_size for path in self.key_folder.iterdir())

    # -- proofs ----------------------------------------------------------------------------------
    @cached_property
    def blinding(self) -> Blinding:
        return draw_blinding(secrets.token_bytes)

    @cached_property
    def committer(self) -> Committer:
        return Committer(self.model.architecture.n_parameters, self.backend)

    @cached_property
    def commitment(self) -> ModelCommitment:
        return commit_job(self.model, self.blinding, self.committer)

    def prove(self, images: UInt8Array, labels: UInt8Array, shard_index: int = 0) -> ProvedJob:
        """Witness, proof and its own check."""
        return prove_job(
            self.circuit,
            self.key,
            self.model,
            images=images,
            labels=labels,
            occasion=OCCASION,
            shard_index=shard_index,
            commitment=self.commitment,
            blinding=self.blinding,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            clock=perf_counter,
        )

    def prove_shards(self, images: UInt8Array, labels: UInt8Array) -> list[bytes]:
        """One envelope for each `n_samples` samples."""
        starts = range(0, len(labels), self.n_samples)
        cuts = [slice(start, start + self.n_samples) for start in starts]
        jobs = prove_shards(
            self.circuit,
            self.key,
            self.model,
            [self.inputs(images[c], labels[c]) for c in cuts],
            occasion=OCCASION,
            commitment=self.commitment,
            blinding=self.blinding,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            clock=perf_counter,
        )
        return [job.envelope for job in jobs]

    def inputs(self, images: UInt8Array, labels: UInt8Array) -> ShardInputs:
        return ShardInputs.of(self.circuit.public_layout, images, labels)

    @property
    def verifying(self) -> VerifyingKey:
        return self.key.verifying

    def verify(self, envelope: bytes, inputs: ShardInputs) -> bool:
        verdict = verify(
            envelope, key=self.verifying, public_inputs=inputs, random_bytes=secrets.token_bytes
        )
        return verdict is Verdict.VALID

    def verify_all(self, envelopes: Sequence[bytes], shards: Sequence[ShardInputs]) -> list[bool]:
        """One batch, as a node verifies it; every shard is told by the digest of its data."""
        by_digest = {shard.digest: shard for shard in shards}

        def public_inputs(statement: Statement, challenges: list[int]) -> PublicWires | None:
            shard = by_digest.get(statement.dataset_digest)
            return None if shard is None else shard.defer(statement, challenges)

        verdicts = verify_batch(
            envelopes,
            key=self.verifying,
            public_inputs=public_inputs,
            random_bytes=secrets.token_bytes,
        )
        return [v is Verdict.VALID for v in verdicts]

    def judge(self, envelope: bytes, inputs: ShardInputs) -> list[bool]:
        """[valid, valid with a claim of one sample less, the claim is the model's own count]."""
        claimed = decode(envelope).statement.claimed_correct
        return [
            self.verify(envelope, inputs),
            self.verify(claim_one_less(envelope), inputs),
            claimed == self.count_correct(inputs.images, inputs.labels),
        ]


PROVEN = [True, False, True]  # what `judge` says about a sound proof


def decode(envelope: bytes) -> Envelope:
    decoded = Envelope.decode(envelope)
    assert decoded is not None, "our own envelope"
    return decoded


def claim_one_less(envelope: bytes) -> bytes:
    """The same proof under a statement that it does not prove."""
    decoded = decode(envelope)
    count = decoded.statement.claimed_correct - 1
    return replace(decoded, statement=replace(decoded.statement, claimed_correct=count)).encode()


def randomize_again(envelope: bytes, n: int, backend: Backend) -> list[bytes]:
    """n different valid proofs of one statement: (A/t, t B, C) for t = 2, ..., n + 1."""
    decoded = decode(envelope)
    proof = Proof.decode(decoded.proof)
    assert isinstance(proof, Proof), "our own proof"
    factors = list(range(2, n + 2))
    inverses = FrArray.from_ints([pow(t, -1, R) for t in factors])
    a: G1Array = backend.fixed_base_g1(inverses, proof.a)
    b: G2Array = backend.fixed_base_g2(FrArray.from_ints(factors), proof.b)
    return [
        replace(decoded, proof=replace(proof, a=a[i : i + 1], b=b[i : i + 1]).encode()).encode()
        for i in range(n)
    ]


def main(arguments: list[str]) -> None:
    """Entry of the child process that measures memory; its key must be on disk."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m bench.proving N_SAMPLES")
    bench = AccuracyBench(int(arguments[0]))
    images, labels = bench.samples(bench.n_samples)
    job = bench.prove(images, labels)
    peak = read_status_bytes("VmHWM") / MIB
    answers = bench.judge(job.envelope, bench.inputs(images, labels))
    print(json.dumps({"answers": answers, "value": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
