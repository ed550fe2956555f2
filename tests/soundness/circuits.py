"""The circuits whose sizes are written down in counts.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prover.circuit.accuracy import compile_accuracy
from prover.circuit.r1cs import R1CS
from prover.circuit.training.export import compile_export
from prover.circuit.training.step import compile_step
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.training.recipe import TrainingRecipe
from tests.support.conv_nets import make_lenet, make_residual
from tests.support.training import make_small_recipe

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


class Compiled(Protocol):
    """A compiled circuit of any kind."""

    @property
    def r1cs(self) -> R1CS: ...

    @property
    def digest(self) -> bytes: ...


def compile_training() -> Iterator[tuple[str, Compiled]]:
    """Training steps and exports: a small one, one that is deep, and the one of MNIST."""
    mnist = TrainingRecipe(architecture=parse_architecture("mlp-784-128-10"))
    yield "step mlp-6-5-3 B=4", compile_step(make_small_recipe([6, 5, 3]))
    yield "step mlp-4-6-5-2 B=9", compile_step(make_small_recipe([4, 6, 5, 2], batch_size=9))
    yield "step mlp-784-128-10 B=64", compile_step(mnist)
    yield "export mlp-6-5-3", compile_export(make_small_recipe([6, 5, 3]))
    yield "export mlp-784-128-10", compile_export(mnist)


def count(circuit: Compiled) -> tuple[object, ...]:
    """The values of COLUMNS; the digest says whether anything else changed, so that keys expire."""
    r1cs = circuit.r1cs
    return (
        r1cs.n_rows,
        r1cs.n_public,
        r1cs.n_linked,
        r1cs.n_advice,
        r1cs.n_private,
        r1cs.a.nnz,
        r1cs.b.nnz,
        r1cs.c.nnz,
        circuit.digest.hex()[:16],
    )


def count_all() -> list[tuple[str, ...]]:
    """All lines of counts.csv, the header first."""
    lines: list[tuple[str, ...]] = [("circuit", *COLUMNS)]
    for name, (architecture, n_samples) in CIRCUITS.items():
        counts = count(compile_accuracy(architecture, n_samples))
        lines.append((name, *map(str, counts)))
    lines += [(name, *map(str, count(circuit))) for name, circuit in compile_training()]
    return lines
