"""A client that trains from a public model: steps with their commitments, keys and proofs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import count
from typing import Any

import numpy as np

from kernels.backend import get_backend
from kernels.encoding import encode_g1
from kernels.numpy_types import Int64Array
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.inputs import Drawn
from prover.circuit.training.step import StepCircuit, compile_step
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer, SecretCommitment, draw_blinding
from prover.steps import (
    PUBLIC,
    ProvedStep,
    commit_values,
    prove_step,
)
from prover.training.masters import start
from prover.training.recipe import TrainingRecipe
from prover.training.step import StepTrace, train_step
from prover.wire.statement import Occasion
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training import draw_batch, make_small_recipe

BACKEND = get_backend("cpu")
OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"client"
)
N_STEPS = 3
VALID, FAILED = Verdict.VALID, Verdict.PAIRING_FAILED


@cache
def recipe() -> TrainingRecipe:
    return make_small_recipe([4, 3, 2])


@cache
def step_circuit() -> StepCircuit:
    return compile_step(recipe())


@cache
def export_circuit() -> ExportCircuit:
    return compile_export(recipe())


@cache
def step_key() -> ProvingKey:
    return setup_step(step_circuit(), random_bytes=seeded(5), backend=BACKEND)


@cache
def export_key() -> ProvingKey:
    return setup_export(export_circuit(), random_bytes=seeded(6), backend=BACKEND)


@cache
def committer() -> Committer:
    return Committer(max(step_circuit().r1cs.linked), BACKEND)


@cache
def public_model() -> QuantizedModel:
    """The round's global model."""
    rng = np.random.default_rng(4)
    shapes = zip(
        recipe().architecture.weight_shapes, recipe().architecture.bias_shapes, strict=True
    )
    weights, biases = zip(
        *((rng.integers(-30, 31, w), 128 * rng.integers(-3, 4, b)) for w, b in shapes), strict=True
    )
    return QuantizedModel(
        architecture=recipe().architecture,
        weights=tuple(w.astype(np.int8) for w in weights),
        biases=tuple(b.astype(np.int32) for b in biases),
    )


def commit(values: Int64Array, seed: int) -> SecretCommitment:
    return commit_values(values, draw_blinding(seeded(seed)), committer())


@dataclass(frozen=True)
class Step:
    """A step of a client, with the commitments to what it starts from, ends at and is on."""

    t: int
    trace: StepTrace
    before: SecretCommitment
    after: SecretCommitment
    data: SecretCommitment
    occasion: Occasion = OCCASION

    def prove(self, seed: int | None = None, **change: Any) -> ProvedStep:
        ticks = count()
        given = {
            "t": self.t,
            "occasion": self.occasion,
            "before": self.before,
            "after": self.after,
            "data": self.data,
        } | change
        return prove_step(
            step_circuit(),
            step_key(),
            self.trace,
            random_bytes=seeded(self.t + 1 if seed is None else seed),
            backend=BACKEND,
            clock=lambda: float(next(ticks)),
            **given,
        )

    @cached_property
    def proven(self) -> ProvedStep:
        return self.prove()

    @property
    def drawn(self) -> Drawn:
        return Drawn(data=encode_g1(self.data.public.d), n_real=self.trace.batch.n_real)


def train(masters: Int64Array, before: SecretCommitment, sizes: list[int], seed: int) -> list[Step]:
    """Steps one after the other, on batches of these sizes."""
    rng, found = np.random.default_rng(seed), []
    for t, n in enumerate(sizes):
        trace = train_step(recipe(), masters, *draw_batch(recipe(), rng, n))
        after = commit(trace.after, 100 * seed + t)
        data = commit(trace.batch.wires, 100 * seed + 50 + t)
        found.append(Step(t, trace, before, after, data))
        masters, before = trace.after, after
    return found


@cache
def chain() -> tuple[Step, ...]:
    """Steps on one sample, all but one, and a whole batch, from the public model."""
    masters = start(recipe(), public_model())
    return tuple(train(masters, commit_values(masters, PUBLIC, committer()), [1, 3, 4], seed=1))
