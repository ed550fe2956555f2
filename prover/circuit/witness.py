"""The witness in two phases around the commitments, and the check that names what fails.

Phase 1 (`solve_committed`): integer inference gives model and advice wires, all small integers.
Phase 2 (`solve_private`): once the challenges are drawn, every private wire follows from its
defining rows. An array of wire values never enters an error or a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend, Inverses
from kernels.bn254 import R
from kernels.integers import ALL, HOST, Integers
from kernels.numpy_types import Int64Array, UInt8Array
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.advice import fill_wires, refuse_outside, run_phase
from prover.circuit.constraints import Circuit, Rule
from prover.circuit.steps import Step, plan_steps
from prover.errors import ShapeMismatch, UnsatisfiedConstraint
from prover.model.layers import RequantTrace
from prover.model.network import QuantizedModel, label_parameters, require_labels
from prover.model.trace import LayerTrace, trace_layers

COUNT = "correctness/count"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Committed:
    """Phase 1: all committed wires, int64, and the count claimed. Private but for `claimed`.

    model, advice : where `integers` computes
    """

    model: Int64Array
    advice: Int64Array
    claimed: int
    integers: Integers = HOST

    def __repr__(self) -> str:
        return f"Committed({len(self.model)} model wires, {len(self.advice)} advice wires)"

    @property
    def model_scalars(self) -> FrArray:
        return self.integers.to_scalars(self.model)

    @property
    def advice_scalars(self) -> FrArray:
        return self.integers.to_scalars(self.advice)


def solve_committed(
    accuracy: AccuracyCircuit,
    model: QuantizedModel,
    images: UInt8Array,
    labels: UInt8Array,
    *,
    claimed: int | None = None,
    integers: Integers = HOST,
) -> Committed:
    """Phase 1 for a model on n_real <= N samples; the rest is padding (zero samples, y = 0).

    integers : where it is computed; samples, labels and parameters go there once
    claimed : how many correct samples to count, default all; a claim may be lower than the truth
    raises  : ShapeMismatch; UnsatisfiedConstraint when the claim is too high or a value leaves a
              table (`prover.model.ranges` tells the owner which, before anything is committed)
    """
    if model.architecture.encode() != accuracy.architecture.encode():
        raise ShapeMismatch("the model has another architecture than the circuit")
    accuracy.public_layout.check_shard(images, labels)
    with integers.active():
        return _solve_committed(accuracy, model, images, labels, claimed, integers)


def _solve_committed(
    accuracy: AccuracyCircuit,
    model: QuantizedModel,
    images: UInt8Array,
    labels: UInt8Array,
    claimed: int | None,
    integers: Integers,
) -> Committed:
    require_labels(labels, len(labels), accuracy.architecture.n_classes)
    wanted = ALL if claimed is None else max(claimed, 0)

    def work(given: Sequence[Any]) -> tuple[Int64Array, Any]:
        counters = integers.counters(2)
        return _infer(accuracy, given, counters, integers), counters

    values, counters = run_phase(
        accuracy.circuit,
        "committed",
        [_add_blank(images, accuracy.n_samples), labels, np.array([wanted]), *model.tensors],
        work,
        integers,
    )
    n_outside, n_correct = integers.read(counters)
    if claimed is not None and not 0 <= claimed <= n_correct:
        raise UnsatisfiedConstraint(label=f"{COUNT}/count", index=(), n_failing=1)
    refuse_outside(accuracy.circuit, values, n_outside, integers)
    r1cs = accuracy.r1cs
    return Committed(
        model=values[r1cs.linked_wires],
        advice=values[r1cs.advice],
        claimed=n_correct if claimed is None else claimed,
        integers=integers,
    )


def _add_blank(images: UInt8Array, n_samples: int) -> UInt8Array:
    """The samples, and one of zeros where some are padding.

    Padding is traced once and its values are repeated: a circuit of many samples would else ask for
    their memory, however few a shard has.
    """
    if len(images) == n_samples:
        return images
    return np.concatenate([images, np.zeros((1, *images.shape[1:]), dtype=np.uint8)])


def _infer(
    accuracy: AccuracyCircuit, given: Sequence[Any], counters: Any, integers: Integers
) -> Int64Array:
    """All committed wires, where everything is.

    given    : samples, labels, how many are claimed, then the model's tensors
    counters : of lookups outside their tables, and of samples that are correct
    """
    samples, labels, claimed, *tensors = given
    layers = accuracy.architecture.layers
    steps = [
        _spread(step, accuracy.n_samples, integers)
        for step in trace_layers(layers, samples, tensors, integers)
    ]
    inputs: dict[str, Any] = {}
    for index, (w, b) in enumerate(
        zip(tensors[: len(layers)], tensors[len(layers) :], strict=True)
    ):
        if w.size:  # layers without parameters have no wires
            inputs |= label_parameters(index, w, b)
    inputs |= _solve_activations(accuracy, steps, integers)
    correct = integers.find_correct(steps[-1].z, labels, counters[1:])
    marks = integers.mark_hits(steps[-1].z, labels, correct, claimed)
    inputs |= zip((f"{COUNT}/{name}" for name in ("label", "hit", "level")), marks, strict=True)
    return fill_wires(accuracy.circuit, inputs, counters[:1], integers)


def _spread(step: LayerTrace, n: int, integers: Integers) -> LayerTrace:
    """Of n samples, those behind the traced ones like the last of them."""
    found = step.requant
    if found is not None:
        parts = (integers.spread(part, n) for part in (found.q, found.rem, found.y))
        found = RequantTrace(*parts)
    return LayerTrace(x=step.x, z=integers.spread(step.z, n), requant=found)


def solve_private(
    circuit: Circuit, *, public: FrArray, model: FrArray, advice: FrArray, backend: Backend
) -> FrMont:
    """Phase 2: the whole assignment z = (1 | public | model | advice | private), [n_wires].

    holds  : every private wire has one defining row, so what comes out is the only candidate;
             `check` says whether it satisfies the other rows
    raises : ShapeMismatch; UnsatisfiedConstraint where a defining quotient divides by zero
    """
    r1cs = circuit.r1cs
    sizes = (len(public), len(model), len(advice))
    if sizes != (r1cs.n_public, r1cs.n_linked, r1cs.n_advice):
        raise ShapeMismatch("public, model or advice wires do not fit the circuit")
    with backend.integers.active():
        return _solve_private(circuit, public, model, advice, backend)


def _solve_private(
    circuit: Circuit, public: FrArray, model: FrArray, advice: FrArray, backend: Backend
) -> FrMont:
    r1cs, one = circuit.r1cs, FrArray.from_ints([1])
    known = backend.to_mont(backend.upload(backend.concat([one, public, model, advice])))
    z = FrMont(backend.stack([known], r1cs.n_wires).data[0])
    phases = groupby(plan_steps(circuit), lambda step: step.rule is Rule.POWERS)
    for k, (are_powers, steps) in enumerate(phases):
        if are_powers:
            _solve_powers(circuit, list(steps), z, backend)
        else:
            z = _solve_phase(circuit, k, list(steps), z, backend)
    if (
        backend.integers.is_remote
    ):  # the next proof's replay writes where z is, this one outlives it
        z = FrMont(backend.stack([z], r1cs.n_wires).data[0])
    return z


def _solve_powers(circuit: Circuit, steps: Sequence[Step], z: FrMont, backend: Backend) -> None:
    """Wires of these steps into z, of one block of powers each."""
    for step in steps:
        (block,) = step.blocks
        first = backend.matvec(circuit.r1cs.b, z, rows=((block.start, block.start + 1),))
        base = backend.download(backend.from_mont(first)).to_ints()[0]
        powers = backend.powers(base, block.size, first=base * base % R)
        backend.put(z, step.places, backend.upload(powers))


def _solve_phase(
    circuit: Circuit, number: int, steps: Sequence[Step], z: FrMont, backend: Backend
) -> FrMont:
    """z with the wires of these steps, none of which needs the host: a device replays them."""
    quotients = [step for step in steps if step.rule is Rule.QUOTIENT]

    def work(z: FrMont) -> tuple[FrMont, Inverses]:
        inverses = backend.inverses(len(quotients))
        for step in steps:
            backend.put(z, step.places, _solve_step(circuit, step, z, inverses, backend))
        return z, inverses

    z, inverses = backend.replay(("steps", number, circuit), z, work)
    if (zero := inverses.find_zero()) is not None:
        which, at = zero
        label, index = _find_label(quotients[which], at)
        raise UnsatisfiedConstraint(label=label, index=index, n_failing=1)
    return z


def check(circuit: Circuit, z: FrMont, backend: Backend) -> None:
    """Raises UnsatisfiedConstraint naming the first row of A z o B z = C z that fails."""
    failing = find_failing_rows(circuit, z, backend)
    if len(failing):
        label, index = circuit.locate(int(failing[0]))
        raise UnsatisfiedConstraint(label=label, index=index, n_failing=len(failing))


def find_failing_rows(circuit: Circuit, z: FrMont, backend: Backend) -> Int64Array:
    """Rows of A z o B z = C z that fail, ascending."""
    r1cs = circuit.r1cs
    left = backend.download(backend.mul(backend.matvec(r1cs.a, z), backend.matvec(r1cs.b, z)))
    right = backend.download(backend.matvec(r1cs.c, z))
    different = (left.data != right.data).any(axis=-1)
    return np.flatnonzero(different).astype(np.int64)


def _solve_step(
    circuit: Circuit, step: Step, z: FrMont, inverses: Inverses, backend: Backend
) -> FrMont:
    """Values of the wires that a step defines; they are still zero in z."""
    r1cs = circuit.r1cs

    def times(matrix: SparseMatrix) -> FrMont:
        return backend.matvec(matrix, z, rows=step.rows)

    match step.rule:
        case Rule.PRODUCT:
            return backend.mul(times(r1cs.a), times(r1cs.b))
        case Rule.QUOTIENT:
            return backend.mul(times(r1cs.c), inverses.invert(times(r1cs.b)))
        case _:
            return times(r1cs.c)


def _find_label(step: Step, at: int) -> tuple[str, tuple[int, ...]]:
    """The label of the block with a divisor that is zero, the step's at-th, and an index without
    meaning: where it is says which value met a challenge."""
    for block in step.blocks:
        if at < block.size:
            return block.label, (0,) * len(block.shape)
        at -= block.size
    raise AssertionError("one of the blocks has it")


def _solve_activations(
    accuracy: AccuracyCircuit, steps: Sequence[LayerTrace], integers: Integers
) -> dict[str, Int64Array]:
    """Advice of every layer, from the integer model's own trace."""
    inputs: dict[str, Int64Array] = {}
    pools = accuracy.choices.pools
    fused = {choice.source for choice in pools.values()}
    for index, step in enumerate(steps):
        part = f"layer {index}/activation"
        if step.requant is not None:
            inputs |= {f"{part}/q": step.requant.q, f"{part}/rem": step.requant.rem}
            if index not in fused:
                inputs[f"{part}/y"] = step.requant.y
        if index in pools:
            inputs[f"layer {index}/max/y"] = step.z
            source = pools[index].source
            if source is not None:
                inputs[f"layer {index}/max/q"] = _pool(accuracy, index, steps[source], integers)
    inputs[f"layer {len(steps) - 1}/logits"] = steps[-1].z
    return inputs


def _pool(
    accuracy: AccuracyCircuit, index: int, source: LayerTrace, integers: Integers
) -> Int64Array:
    """The greatest quotients of the windows of a max pool."""
    pool = accuracy.architecture.layers[index]
    assert source.requant is not None
    none = np.zeros(0)
    return pool.accumulate(
        [source.requant.q], none.astype(np.int8), none.astype(np.int32), integers
    )
