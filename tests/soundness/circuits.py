"""The circuits whose sizes are written down in counts.csv."""

from __future__ import annotations

from collections.abc import Mapping

from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from tests.support.conv_nets import make_lenet, make_residual

RELU = Requant(shift=10, multiplier=3, q_bits=9)
COLUMNS = ("rows", "public", "model", "advice", "private", "nnz_a", "nnz_b", "nnz_c", "digest")

CIRCUITS: Mapping[str, tuple[Architecture, int]] = {
    "mlp-6-4-3 N=4": (Architecture.mlp([6, 4, 3], requant=RELU), 4),
    "mlp-6-4-3 N=8": (Architecture.mlp([6, 4, 3], requant=RELU), 8),
    "mlp-6-5-4-3 N=4, one layer without ReLU": (
        Architecture.mlp(
            [6, 5, 4, 3], requant=[RELU, Requant(shift=3, least=-128, greatest=127, q_bits=10)]
        ),
        4,
    ),
    "mlp-784-10 N=16": (Architecture.mlp([784, 10]), 16),
    "mlp-784-128-10 N=1024": (parse_architecture("mlp-784-128-10"), 1024),
    "cnn-2x7x6-3 N=1": (make_lenet(), 1),
    "cnn-2x7x6-3 N=11": (make_lenet(), 11),
    "cnn-2x6x8-3 N=1": (make_residual(), 1),
    "cnn-2x6x8-3 N=11": (make_residual(), 11),
    "lenet-small N=64": (parse_architecture("lenet-small"), 64),
    "resnet20 N=1": (parse_architecture("resnet20"), 1),
}

SMALL = [name for name, (x, n) in CIRCUITS.items() if x.n_parameters * n < 10_000]
"""For tests whose work grows faster than the circuit."""


def count(accuracy: AccuracyCircuit) -> tuple[object, ...]:
    """The values of COLUMNS; the digest says whether anything else changed, so that keys expire."""
    r1cs = accuracy.r1cs
    return (
        r1cs.n_rows,
        r1cs.n_public,
        r1cs.n_linked,
        r1cs.n_advice,
        r1cs.n_private,
        r1cs.a.nnz,
        r1cs.b.nnz,
        r1cs.c.nnz,
        accuracy.digest.hex()[:16],
    )


def count_all() -> list[tuple[str, ...]]:
    """All lines of counts.csv, the header first."""
    lines: list[tuple[str, ...]] = [("circuit", *COLUMNS)]
    for name, (architecture, n_samples) in CIRCUITS.items():
        counts = count(compile_accuracy(architecture, n_samples))
        lines.append((name, *map(str, counts)))
    return lines
