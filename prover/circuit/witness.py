"""The witness in two phases around the commitments, and the check that names what fails.

Phase 1 (`solve_committed`): integer inference gives model and advice wires, all small integers.
Phase 2 (`solve_private`): once the challenges are drawn, every private wire follows from its
defining rows. An array of wire values never enters an error or a log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend, Inverses
from kernels.bn254 import R
from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array, UInt8Array
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.constraints import Circuit, Group, Rule, WireBlock
from prover.circuit.reading import ReadingPlan, Together, plan_reading, read_one_by_one
from prover.circuit.steps import Step, plan_steps
from prover.errors import ShapeMismatch, UnsatisfiedConstraint
from prover.model.layers import RequantTrace
from prover.model.network import LayerTrace, QuantizedModel, require_labels


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
    steps = _trace_padded(model, images, accuracy.n_samples, integers)
    inputs: dict[str, Int64Array] = {
        label: tensor.astype(np.int64)
        for label, tensor in model.parameters.items()
        if tensor.size  # layers without parameters have no wires
    }
    inputs |= _solve_activations(accuracy, steps, integers)
    count, claimed = _solve_count(steps[-1].z, labels, claimed, integers)
    values = solve_advice(accuracy.circuit, inputs | count, integers)
    r1cs = accuracy.r1cs
    return Committed(
        model=values[r1cs.linked_wires],
        advice=values[r1cs.advice],
        claimed=claimed,
        integers=integers,
    )


def _trace_padded(
    model: QuantizedModel, images: UInt8Array, n_samples: int, integers: Integers
) -> list[LayerTrace]:
    """The trace of the samples and of padding after them.

    Padding is the zero sample n_samples - n_real times, so it is traced once and its values are
    repeated: a circuit of many samples would else ask for their memory, however few a shard has.
    """
    n_real = len(images)
    if n_real == n_samples:
        return list(model.trace(images, integers))
    blank = np.zeros((min(1, n_samples - n_real), *images.shape[1:]), dtype=np.uint8)
    index = integers.upload(np.minimum(np.arange(n_samples), n_real))

    def spread(step: LayerTrace) -> LayerTrace:
        found = step.requant
        if found is not None:
            found = RequantTrace(q=found.q[index], rem=found.rem[index], y=found.y[index])
        return LayerTrace(x=step.x, z=step.z[index], requant=found)

    return list(map(spread, model.trace(np.concatenate([images, blank]), integers)))


def solve_advice(
    circuit: Circuit, inputs: Mapping[str, Int64Array], integers: Integers = HOST
) -> Int64Array:
    """Committed wires from the labelled inputs and the circuit's hints.

    inputs  : one array per block of model and advice wires that has no hint, where `integers` are,
              or on the host: neighbours of those go there together
    returns : int64 over (1 | public | model | advice); public entries stay 0, no hint reads them
    raises  : ShapeMismatch for a missing, unknown or misshapen block; UnsatisfiedConstraint for a
              lookup outside its table
    """
    hinted = {hint.block.label for hint in circuit.hints}
    committed = {
        label: block
        for label, block in circuit.wire_blocks.items()
        if block.group in (Group.LINKED, Group.ADVICE)
    }
    if set(inputs) != set(committed) - hinted:
        raise ShapeMismatch(f"expected inputs {sorted(set(committed) - hinted)}")
    values: Int64Array = integers.zeros((circuit.r1cs.advice.stop,))
    values[0] = 1

    def write(block: WireBlock, tensor: Int64Array) -> None:
        _require_shape(block, tensor)
        values[circuit.columns(block)] = tensor.reshape(-1)

    to_bring = {
        label: tensor
        for label, tensor in inputs.items()
        if integers.is_remote and type(tensor) is np.ndarray
    }
    for places, tensors in _join_neighbours(circuit, to_bring, committed):
        values[places] = integers.upload(np.concatenate([t.reshape(-1) for t in tensors]))
    for label, tensor in inputs.items():
        if label not in to_bring:
            write(committed[label], tensor)
    plan = plan_reading(circuit) if integers.is_remote else None
    if plan is not None:
        for batch, hints in plan.hints:
            together = Together(batch, values, integers)
            for hint in hints:
                write(hint.block, hint.derivation.solve(together, integers))
        _check_lookups(circuit, plan, values, integers)
        return values
    read = read_one_by_one(values, integers)
    for hint in circuit.hints:
        write(hint.block, hint.derivation.solve(read, integers))
    for lookup in circuit.lookups:
        index = read(lookup.index)
        outside = np.argwhere((index < 0) | (index >= lookup.n_rows))
        if len(outside):
            place = tuple(int(i) for i in outside[0])
            raise UnsatisfiedConstraint(label=lookup.label, index=place, n_failing=len(outside))
    return values


def _join_neighbours(
    circuit: Circuit, inputs: Mapping[str, Int64Array], blocks: Mapping[str, WireBlock]
) -> Iterator[tuple[slice, list[Int64Array]]]:
    """Runs of tensors whose blocks follow each other, and the columns of each run.

    Raises ShapeMismatch for one that does not have its block's shape.
    """
    labels = sorted(inputs, key=lambda label: circuit.columns(blocks[label]).start)
    run: list[Int64Array] = []
    start = stop = 0
    for label in labels:
        columns, tensor = circuit.columns(blocks[label]), inputs[label]
        _require_shape(blocks[label], tensor)
        if columns.start != stop and run:
            yield slice(start, stop), run
            run = []
        start, stop = (start if run else columns.start), columns.stop
        run.append(tensor)
    if run:
        yield slice(start, stop), run


def _require_shape(block: WireBlock, tensor: Int64Array) -> None:
    if tensor.shape != block.shape:
        raise ShapeMismatch(f"{block.label!r} has shape {list(block.shape)}")


def _check_lookups(
    circuit: Circuit, plan: ReadingPlan, values: Int64Array, integers: Integers
) -> None:
    """UnsatisfiedConstraint for the first lookup outside its table; all are read together."""
    if not circuit.lookups:
        return
    index = Together(plan.lookups, values, integers).found
    outside = np.flatnonzero((index < 0) | (index >= integers.keep(plan.limits)))
    if len(outside) == 0:
        return
    for lookup in circuit.lookups:
        found = plan.lookups.places[id(lookup.index)]
        n_failing = int(((outside >= found.start) & (outside < found.stop)).sum())
        if n_failing:
            where = np.unravel_index(int(outside[0]) - found.start, lookup.index.shape)
            place = tuple(int(i) for i in where)
            raise UnsatisfiedConstraint(label=lookup.label, index=place, n_failing=n_failing)


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


def _solve_count(
    logits: Int64Array, labels: UInt8Array, claimed: int | None, integers: Integers
) -> tuple[dict[str, Int64Array], int]:
    """Labels, hits and levels; the first `claimed` correct samples are counted."""
    require_labels(labels, len(labels), logits.shape[1])
    there: UInt8Array = integers.upload(labels)
    correct = integers.find_correct(logits, there)
    wanted = int(correct.sum()) if claimed is None else claimed
    if not 0 <= wanted <= correct.sum():
        raise UnsatisfiedConstraint(label="correctness/count/count", index=(), n_failing=1)
    y, hit, level = integers.mark_hits(logits, there, correct & (correct.cumsum() <= wanted))
    part = "correctness/count"
    return {f"{part}/label": y, f"{part}/hit": hit, f"{part}/level": level}, wanted
