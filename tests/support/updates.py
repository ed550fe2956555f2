"""Circuits of bounds on updates, one of each plan, and updates within and beyond them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kernels.numpy_types import Int64Array
from prover.circuit.norm.circuit import SQUARES, NormCircuit, compile_norm
from prover.circuit.sizes import CircuitSizes
from prover.model.network import Architecture, QuantizedModel, label_parameters
from prover.model.update import UpdateBounds, compute_squares
from tests.support.assignments import Assignment

TINY = Architecture.mlp([6, 4])  # 24 weights, 4 biases
BOUNDS: Mapping[tuple[str, ...], UpdateBounds] = {
    ("weight", "bias"): UpdateBounds(weight=4, bias=1, squares=60),
    ("weight",): UpdateBounds(weight=4, bias=100, squares=60),
    ("bias",): UpdateBounds(weight=254, bias=1, squares=5000),
    (): UpdateBounds(weight=254, bias=1000, squares=5000),
}
"""By what the plan for TINY has tables of its own for."""


def compile_tiny(tabled: tuple[str, ...]) -> NormCircuit:
    norm = compile_norm(TINY, BOUNDS[tabled])
    assert norm.plan.tabled == tabled
    return norm


def split_update(architecture: Architecture, update: list[int]) -> dict[str, list[int]]:
    """The blocks of linked wires, flat."""
    parts, at = {}, 0
    shapes = zip(architecture.weight_shapes, architecture.bias_shapes, strict=True)
    for index, of_layer in enumerate(shapes):
        for label, shape in label_parameters(index, *of_layer).items():
            end = at + int(np.prod(shape))
            if end > at:  # layers without parameters have no wires
                parts[label], at = update[at:end], end
    return parts


def assign_update(
    norm: NormCircuit,
    update: list[int],
    challenges: list[int],
    *,
    squares: int | None = None,
) -> Assignment:
    """Any integers mod r as an update, with limbs and multiplicities that fit them.

    squares : the sum that is claimed; default what the squares give
    """
    if squares is None:
        squares = compute_squares(norm.architecture, np.array(update, dtype=object))
    public = {f"challenge/{n}": c for n, c in zip(norm.plan.challenges, challenges, strict=True)}
    parts = split_update(norm.architecture, update)
    return Assignment.of(norm.circuit, {**public, **parts, SQUARES: squares})


def measure_norm(norm: NormCircuit) -> CircuitSizes:
    """The sizes, counted in the compiled circuit."""
    r1cs = norm.r1cs
    matrices = (r1cs.a, r1cs.b, r1cs.c)
    occurs = [np.bincount(m.cols, minlength=m.n_cols) > 0 for m in matrices]
    return CircuitSizes(
        n_layers=len(norm.architecture.layers),
        n_samples=0,
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
            for label, block in norm.circuit.wire_blocks.items()
            if label.endswith("/multiplicity")
        },
    )


def shift_model(model: QuantizedModel, update: Int64Array) -> QuantizedModel:
    """The model W = G + d."""
    wires, at = model.wires + update, 0
    tensors = {}
    for label, tensor in model.parameters.items():
        tensors[label] = wires[at : at + tensor.size].reshape(tensor.shape).astype(tensor.dtype)
        at += tensor.size
    ordered = list(tensors.values())
    return QuantizedModel(
        architecture=model.architecture, weights=tuple(ordered[::2]), biases=tuple(ordered[1::2])
    )
