"""Sizes of circuits: the arithmetic is what compiling makes, and refuses before it allocates."""

from __future__ import annotations

import tracemalloc
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.public_inputs import MAX_SAMPLES
from prover.circuit.sizes import MAX_ROWS, CircuitSizes, compute_sizes, require_circuit
from prover.errors import ArchitectureInvalid, CircuitTooLarge, QuantizationOverflow
from prover.groth16 import domain
from prover.keys import proving_file
from prover.model.layers import MAX_DIMENSION, Linear, Requant
from prover.model.network import MAX_LAYERS, MAX_MARGIN_BITS, Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool
from tests.soundness.circuits import CIRCUITS, SMALL
from tests.support.graphs import graphs

SLACK_BYTES = 4 << 20
"""Of the bound on memory, which small circuits do not come near."""

requants = st.builds(
    Requant,
    shift=st.sampled_from([1, 2, 9, 10, 13, 16, 17, 23, 24]),
    multiplier=st.sampled_from([1, 3]),
    least=st.sampled_from([0, -128]),
    q_bits=st.sampled_from([9, 9, 10, 13]),
)


@st.composite
def circuits(draw: st.DrawFn, most: int) -> tuple[Architecture, int]:
    """Shapes with one large side: width of the input, of a layer, classes, samples, or depth."""
    widths = st.integers(1, 4) | st.integers(1, most)
    sizes = draw(st.lists(widths, min_size=2, max_size=6))
    sizes[-1] = draw(st.integers(2, 4) | st.sampled_from([17, 256]))
    hidden = [draw(requants) for _ in sizes[1:-1]]
    margin = draw(st.none() | st.sampled_from([1, 2, 13, 16, 17, 33, MAX_MARGIN_BITS]))
    try:
        architecture = Architecture.mlp(sizes, requant=hidden, margin_bits=margin)
    except QuantizationOverflow:
        architecture = Architecture.mlp(sizes, margin_bits=margin)
    return architecture, draw(st.integers(2, 5) | st.integers(2, most))


def measure(accuracy: AccuracyCircuit) -> CircuitSizes:
    """The same numbers, counted in the compiled circuit."""
    r1cs = accuracy.r1cs
    matrices = (r1cs.a, r1cs.b, r1cs.c)
    occurs = [np.bincount(m.cols, minlength=m.n_cols) > 0 for m in matrices]
    return CircuitSizes(
        n_layers=len(accuracy.architecture.layers),
        n_samples=accuracy.n_samples,
        n_rows=r1cs.n_rows,
        n_public=r1cs.n_public,
        n_model=r1cs.n_linked,
        n_advice=r1cs.n_advice,
        n_private=r1cs.n_private,
        nnz=(r1cs.a.nnz, r1cs.b.nnz, r1cs.c.nnz),
        occurring=(int(occurs[0].sum()), int(occurs[1].sum()), int(occurs[2].sum())),
        n_private_in_a=int(occurs[0][r1cs.private].sum()),
        tables={
            label.removesuffix("/multiplicity").replace(" table", ""): block.size
            for label, block in accuracy.circuit.wire_blocks.items()
            if label.endswith("/multiplicity")
        },
    )


def compare(architecture: Architecture, n_samples: int) -> None:
    sizes = compute_sizes(architecture, n_samples)
    tracemalloc.start()
    try:
        accuracy = compile_accuracy(architecture, n_samples)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = measure(accuracy)
    assert asdict(found) == asdict(sizes)
    r1cs = accuracy.r1cs
    assert (sizes.n_wires, sizes.domain) == (r1cs.n_wires, r1cs.domain)
    slack = SLACK_BYTES + (sizes.n_layers << 16)
    assert peak <= sizes.compile_bytes <= 1.5 * peak + slack


@pytest.mark.parametrize("name", [*SMALL, "mlp-784-10 N=16"])
def test_sizes_are_those_of_the_golden_circuits(name: str) -> None:
    compare(*CIRCUITS[name])


@settings(max_examples=30)
@given(circuits(300))
@example((Architecture.mlp([1, 2], margin_bits=1), 2))
@example((Architecture.mlp([1, 1, 2], requant=Requant(shift=24, q_bits=9)), 3))
@example((Architecture.mlp([2, 2, 2], requant=Requant(q_bits=16)), 2))
@example((Architecture.mlp([3, 2, 2, 2], requant=Requant(least=-128, greatest=127, q_bits=9)), 2))
@example((Architecture.mlp([1] * 40 + [2], requant=Requant(q_bits=9)), 2))
def test_sizes_are_what_compiling_makes(circuit: tuple[Architecture, int]) -> None:
    assume(compute_sizes(*circuit).n_rows <= 30_000)
    compare(*circuit)


LONE_MAXIMA = Architecture.of(
    (1, 3, 1),
    [
        Conv2d(n_out=1, window=Window(kernel=(1, 1)), inputs=(0,), requant=Requant(q_bits=9)),
        Add(inputs=(1, 1), scales=(2, 2), requant=Requant(shift=2, q_bits=12)),
        MaxPool(window=Window(kernel=(3, 1), pads=(0, 0, 2, 0)), inputs=(2,)),
        MaxPool(window=Window(kernel=(2, 2), stride=(2, 2), pads=(1, 1, 1, 0)), inputs=(3,)),
        Flatten(inputs=(4,)),
        Linear(n_out=2, inputs=(5,)),
    ],
)
"""Two pools in a row, each with windows that meet one number: one's maximum is the other's."""


def make_pools_behind_pools() -> Architecture:
    """The first makes its last row of single numbers, the second its first: other wires in C."""
    requant = Requant(shift=17, q_bits=9)
    layers = [
        Conv2d(n_out=3, window=Window(kernel=(1, 1)), inputs=(0,), requant=requant),
        MaxPool(window=Window(kernel=(3, 1), pads=(0, 0, 2, 0)), inputs=(1,)),
        MaxPool(window=Window(kernel=(3, 1), pads=(2, 0, 0, 0)), inputs=(2,)),
        Add(inputs=(3, 1), scales=(1, 1), requant=Requant(shift=5, q_bits=10)),
        Flatten(inputs=(4,)),
        Linear(n_out=2, inputs=(5,)),
    ]
    return Architecture.of((1, 2, 1), layers)


@settings(max_examples=30)
@given(graphs(), st.integers(1, 30))
@example(LONE_MAXIMA, 8)
@example(make_pools_behind_pools(), 13)
def test_sizes_are_what_compiling_makes_of_graphs(architecture: Architecture, n: int) -> None:
    """Exactly, but for entries and occurring wires where sums overlap or pools skip numbers."""
    sizes = compute_sizes(architecture, n)
    assume(sizes.n_rows <= 30_000)
    found = measure(compile_accuracy(architecture, n))
    for entries, exact in zip(
        (*sizes.nnz, *sizes.occurring, sizes.n_private_in_a),
        (*found.nnz, *found.occurring, found.n_private_in_a),
        strict=True,
    ):
        assert exact <= entries <= 1.5 * exact
    assert found == replace(
        sizes, nnz=found.nnz, occurring=found.occurring, n_private_in_a=found.n_private_in_a
    )


@pytest.mark.parametrize("kernel", [(1 << 12, 1 << 12), (3000, 4000)])
def test_windows_without_end_cost_nothing_to_count(kernel: tuple[int, int]) -> None:
    """A plane of 2^24 numbers: nothing of its size is allocated before it is refused."""
    plane = Window(kernel=kernel, stride=(1, 2), pads=(kernel[0] - 1, 0, 5, 7))
    layers = [
        Conv2d(n_out=1, window=plane, inputs=(0,), requant=Requant(q_bits=9)),
        SumPool(window=Window(kernel=(2, 2), stride=(3, 3)), inputs=(1,)),
        MaxPool(window=Window(kernel=(64, 64), pads=(63, 63, 0, 0)), inputs=(2,)),
        Conv2d(n_out=1, window=Window(kernel=(2, 1)), inputs=(3,), requant=Requant(q_bits=9)),
        Flatten(inputs=(4,)),
        Linear(n_out=2, inputs=(5,)),
    ]
    architecture = Architecture.of((1, 4200, 4200), layers)
    tracemalloc.start()
    with pytest.raises(CircuitTooLarge):
        compile_accuracy(architecture, MAX_SAMPLES)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_max_pool_has_no_window_without_end() -> None:
    layers = [
        Conv2d(n_out=1, window=Window(kernel=(1, 1)), inputs=(0,), requant=Requant(q_bits=9)),
        MaxPool(window=Window(kernel=(64, 65)), inputs=(1,)),
        Flatten(inputs=(2,)),
        Linear(n_out=2, inputs=(3,)),
    ]
    with pytest.raises(ArchitectureInvalid, match="at most 4096 numbers"):
        compute_sizes(Architecture.of((1, 65, 65), layers), 1)


@pytest.mark.soak
@settings(max_examples=300)
@given(circuits(5_000))
@example((Architecture.mlp([2, 2, 2], requant=Requant(q_bits=20)), 4))
@example((Architecture.mlp([1, 2]), 100_000))
@example((Architecture.mlp([400_000, 2]), 2))
def test_sizes_are_what_compiling_makes_of_large_ones(circuit: tuple[Architecture, int]) -> None:
    assume(compute_sizes(*circuit).n_rows <= 2_000_000)
    compare(*circuit)


def test_a_few_bytes_cannot_ask_for_much() -> None:
    """Each of these is below 500 bytes of manifest; none is compiled, whoever asks."""
    deep = Architecture.mlp([2, 2, 2], requant=Requant(q_bits=24))
    shallow = compile_accuracy(Architecture.mlp([2, 2, 2], requant=Requant(q_bits=9)), 4)
    assert compute_sizes(deep, 4).n_rows == shallow.r1cs.n_rows + (1 << 24) - (1 << 9)
    many = Architecture.mlp([6, 2, 3], requant=Requant(q_bits=9))
    assert compute_sizes(many, MAX_SAMPLES).n_rows > 20 * MAX_SAMPLES
    for architecture, n_samples in ((deep, 4), (many, MAX_SAMPLES)):
        assert len(architecture.encode()) < 500
        tracemalloc.start()
        with pytest.raises(CircuitTooLarge, match="limit is 4194304; take fewer samples"):
            compile_accuracy(architecture, n_samples, max_rows=1 << 22)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_no_circuit_has_more_rows_than_a_key() -> None:
    assert MAX_ROWS == 1 << domain.MAX_LG_N == proving_file.MAX_DOMAIN
    wide = Architecture.mlp([2, MAX_DIMENSION, 2])
    assert compute_sizes(wide, MAX_SAMPLES).n_rows > 1 << 40
    with pytest.raises(CircuitTooLarge, match=f"limit is {MAX_ROWS}"):
        require_circuit(wide, MAX_SAMPLES)
    thin = [1] * MAX_LAYERS + [2]
    assert compute_sizes(Architecture.mlp(thin), 2).n_rows < MAX_ROWS


def test_memory_is_a_bound_of_its_own() -> None:
    architecture = Architecture.mlp([6, 4, 3])
    sizes = require_circuit(architecture, 1024, max_bytes=None)
    assert require_circuit(architecture, 1024, max_bytes=sizes.compile_bytes) == sizes
    with pytest.raises(CircuitTooLarge, match="MiB to compile, and there are") as caught:
        require_circuit(architecture, 1024, max_bytes=sizes.compile_bytes - 1)
    assert caught.value.code == "circuit_too_large"
    assert isinstance(caught.value, ArchitectureInvalid)


@pytest.mark.parametrize("n_samples", [-1, 0, MAX_SAMPLES + 1])
def test_numbers_of_samples_without_a_circuit_are_refused(n_samples: int) -> None:
    with pytest.raises(ArchitectureInvalid, match="samples"):
        compute_sizes(Architecture.mlp([6, 4, 3]), n_samples)
