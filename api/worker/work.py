"""The work behind one task of the queue: from its spec to the bytes of its result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from api.errors import TaskFailed
from api.queue.jobs import AccuracyWork, Groth16Work, JobSpec, TrainingWork
from api.queue.queue import MAX_RESULT_BYTES, JobQueue
from api.store.keycache import KeyCache
from api.store.private import PrivatePart
from api.store.uploads import UploadKind, UploadStore
from api.worker.seats import Seat
from api.worker.training import TrainingPart
from federated.provable.orders import TrainingOrder
from kernels.backend import Backend
from prover.circuit.public_inputs import PublicLayout, ShardInputs
from prover.circuit.sizes import compute_sizes
from prover.costs import measure_foreign
from prover.foreign import make_foreign
from prover.formats.json_io import encode_proof, encode_public
from prover.formats.key_memory import KeyMemory
from prover.formats.wtns import read_wtns
from prover.formats.zkey import Zkey, read_zkey
from prover.groth16.prove import prepare
from prover.model.network import QuantizedModel
from prover.model.zkq import decode_model
from prover.pedersen.commitment import Committer, SecretCommitment, draw_blinding
from prover.pipeline import commit_job, make_proof
from prover.plan import measure_circuit
from prover.progress import StageProgress
from prover.randomness import RandomBytes
from prover.shards import split_range
from prover.wire.statement import Occasion

Agree = Callable[[str], str]
"""agree(name) gives the name of the job's private files: the first one offered; "" only asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """raw : an envelope, or the JSON object {"proof", "public"} of a Groth16 job

    n_samples : that accuracy is proven on
    """

    raw: bytes
    n_samples: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskProver:
    """What tasks are proven with, on whatever device they are given."""

    store: UploadStore
    keys: KeyCache
    random_bytes: RandomBytes

    def prove(
        self,
        spec: JobSpec,
        task: int,
        *,
        backend: Backend,
        report: StageProgress,
        agree: Agree,
        seat: Seat,
    ) -> TaskResult:
        """The result of a task, verified. Inputs are read before the device is the task's, and what
        it made is verified after.

        Raises TaskFailed, KeysFull, UploadGone, PrivateGone, ProverError, FederatedError and
        OSError, what the device raises, and what `report`, `agree` and `seat` raise to stop the
        work.
        """
        if isinstance(spec.work, AccuracyWork):
            made = self._prove_shard(spec.owner, spec.work, task, backend, report, agree, seat)
        elif isinstance(spec.work, TrainingWork):
            made = self._prove_training(task, backend, report, agree, seat)
        else:
            made = self._prove_groth16(spec, spec.work, backend, report, agree, seat)
        if len(made.raw) > MAX_RESULT_BYTES:
            raise TaskFailed(
                "result_too_large",
                f"the proof with its public values takes {len(made.raw)} bytes, the limit is "
                f"{MAX_RESULT_BYTES}; use a circuit with fewer public values",
            )
        return made

    def sweep(self, queue: JobQueue) -> tuple[int, int]:
        """Deletes expired uploads, private files that no job has, and keys left half made; how many
        files of callers, and how many keys. Raises RedisError, OSError."""
        files = self.store.sweep() + self.store.private.sweep(queue)
        return files, self.keys.folder.sweep()

    def _prove_shard(
        self,
        owner: str,
        work: AccuracyWork,
        task: int,
        backend: Backend,
        report: StageProgress,
        agree: Agree,
        seat: Seat,
    ) -> TaskResult:
        model = decode_model(self.store.get(owner, UploadKind.MODEL, work.model_id))
        images, labels = self.store.load_samples(owner, work.dataset)
        if len(labels) != work.n_total:
            raise TaskFailed(
                "dataset_changed",
                f"{work.dataset} has {len(labels)} samples here and had {work.n_total} when the "
                "job came; fetch the same data on every machine, then submit again",
            )
        part = split_range(work.n_total, work.n_samples)[task]
        layout = PublicLayout(model.architecture, work.n_samples)
        inputs = ShardInputs.of(layout, images[part], labels[part])
        seat.claim(
            lambda: measure_circuit(
                compute_sizes(model.architecture, work.n_samples), self.keys.memory_bytes
            )
        )
        with seat.device():
            ready = self.keys.get(model.architecture, work.n_samples, backend, report)
            committed = self._commit(owner, work, model, backend, report, agree)
            made = make_proof(
                ready.circuit,
                ready.key,
                model,
                inputs=inputs,
                occasion=_occasion(work),
                shard_index=task,
                commitment=committed.public,
                blinding=committed.blinding,
                random_bytes=self.random_bytes,
                backend=backend,
                clock=time.perf_counter,
                progress=report,
            )
        done = made.check(seat.device())
        return TaskResult(raw=done.envelope, n_samples=part.stop - part.start)

    def _commit(
        self,
        owner: str,
        work: AccuracyWork,
        model: QuantizedModel,
        backend: Backend,
        report: StageProgress,
        agree: Agree,
    ) -> SecretCommitment:
        """The owner's, or else one for the job: of whichever of its tasks comes first."""
        if work.commitment_id is not None:
            raw = self.store.get(owner, UploadKind.COMMITMENT, work.commitment_id)
            return SecretCommitment.decode(raw)
        private, shares = self.store.private, work.n_tasks > 1
        name = agree("") if shares else ""
        if not name:
            blinding = draw_blinding(self.random_bytes)
            committer = self._load_committer(model.architecture.n_parameters, backend, report)
            made = commit_job(model, blinding, committer)
            secret = SecretCommitment(public=made, blinding=blinding)
            if not shares:
                return secret
            with private.new() as folder:
                folder.write(PrivatePart.BLINDING, BytesIO(secret.encode()))
                name = agree(folder.name)
                if name == folder.name:
                    folder.keep()
        return SecretCommitment.decode(private.read(name, PrivatePart.BLINDING))

    def _prove_training(
        self, task: int, backend: Backend, report: StageProgress, agree: Agree, seat: Seat
    ) -> TaskResult:
        """A step of a trajectory or, as the last task, its export; all on the device, which
        compares the commitments first."""
        name, private = agree(""), self.store.private

        def read(start: int, length: int) -> bytes:
            return private.read_piece(name, PrivatePart.ORDER, start, length)

        part = TrainingPart(
            order=TrainingOrder(read),
            keys=self.keys,
            load_committer=lambda n_wires: self._load_committer(n_wires, backend, report),
            random_bytes=self.random_bytes,
            backend=backend,
            report=report,
        )
        seat.claim(lambda: measure_circuit(part.compute_sizes(task), self.keys.memory_bytes))
        with seat.device():
            return TaskResult(raw=part.prove(task), n_samples=0)

    def _load_committer(self, n_wires: int, backend: Backend, report: StageProgress) -> Committer:
        """The bases of that many wires, kept as keys are."""

        def load() -> tuple[Committer, int]:
            committer = Committer(n_wires, backend, report)
            return committer, committer.n_bytes

        found = self.keys.memory.get(("commitments", n_wires, backend.info().name), load)
        assert isinstance(found, Committer)
        return found

    def _prove_groth16(
        self,
        spec: JobSpec,
        work: Groth16Work,
        backend: Backend,
        report: StageProgress,
        agree: Agree,
        seat: Seat,
    ) -> TaskResult:
        report("witness 1", 0, 1)
        with self.store.private.open_file(agree(""), PrivatePart.WITNESS) as path:
            wires = read_wtns(path)
        zkey_bytes = self.store.measure(spec.owner, UploadKind.ZKEY, work.zkey_id)
        report("witness 1", 1, 1)
        report("load key", 0, 1)
        seat.claim(lambda: measure_foreign(zkey_bytes))

        def load() -> tuple[object, int]:
            with self.store.open_file(spec.owner, UploadKind.ZKEY, work.zkey_id) as path:
                zkey = read_zkey(
                    path, backend, random_bytes=self.random_bytes, memory=KeyMemory.of(backend)
                )
                return replace(zkey, key=prepare(zkey.key, backend)), path.stat().st_size

        with seat.device():
            name = ("groth16", work.zkey_id, backend.info().name)
            zkey = self.keys.memory.get(name, load)
            assert isinstance(zkey, Zkey)
            report("prove", 0, 1)
            made = make_foreign(
                zkey, wires, random_bytes=self.random_bytes, backend=backend, progress=report
            )
            report("prove", 1, 1)
        proof = made.check()
        both: dict[str, Any] = {
            "proof": json.loads(encode_proof(proof)),
            "public": json.loads(encode_public(made.public)),
        }
        return TaskResult(raw=json.dumps(both).encode("ascii"), n_samples=0)


def _occasion(work: AccuracyWork) -> Occasion:
    return Occasion(
        chain_id=work.chain_id.encode(),
        task_id=work.task_id.encode(),
        round_index=work.round_index,
        commit_height=work.commit_height,
        client_key=bytes.fromhex(work.client_key),
    )
