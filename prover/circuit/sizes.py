"""How large a circuit is, exactly and without compiling it: arithmetic on shapes.

`prover.circuit.layer_counts` reads like the gadgets with numbers in place of tensors; a test
compares both over extreme parameters. Whoever is about to compile a circuit, to make or load its
key or to take a request for its proofs asks `require_circuit` first: a few hundred bytes of public
description can ask for more rows than any machine holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from prover.circuit.layer_counts import LayerCounts
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.r1cs import choose_domain, choose_power
from prover.errors import CircuitTooLarge
from prover.model.network import Architecture

MAX_ROWS = 1 << 27
"""Of any circuit: a key has no more, since its quotient lies on a domain of twice as many."""

# The most that compiling takes, matrices included: measured, and asserted of shapes of all kinds.
_COMPILE_ENTRY_BYTES, _COMPILE_ROW_BYTES = 80, 32
_COMPILE_LAYER_BYTES, _COMPILE_BYTES = 1 << 16, 1 << 21  # labels, blocks and forms of few rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSizes:
    """Counts of a compiled circuit, as its matrices have them. Entries and occurring wires are at
    least those where windows of sums overlap, or pools leave numbers out.

    n_samples : 0 for a circuit that is about no samples
    n_public  : statement wires, without the constant one
    nnz       : entries of A, B and C
    occurring : wires with an entry in A, in B, in C; every private wire has one in C
    n_private_in_a : private ones among those in A
    tables    : rows of each lookup table
    is_padded : whether the key's rows are on one power of two, as those of ceremonies are
    """

    n_layers: int
    n_samples: int
    n_rows: int
    n_public: int
    n_model: int
    n_advice: int
    n_private: int
    nnz: tuple[int, int, int]
    occurring: tuple[int, int, int]
    n_private_in_a: int
    tables: dict[str, int]
    is_padded: bool = False

    @property
    def n_wires(self) -> int:
        return 1 + self.n_public + self.n_model + self.n_advice + self.n_private

    @property
    def domain(self) -> int:
        """Points of the evaluation domain, one of `domains`."""
        return self.domains[self.is_padded]

    @property
    def domains(self) -> tuple[int, int]:
        """Points that keys may have, as `R1CS.domains`."""
        return choose_domain(self.n_rows), choose_power(self.n_rows)

    @property
    def compile_bytes(self) -> int:
        """At least the memory that compiling takes at its peak, the matrices included."""
        return (
            _COMPILE_ENTRY_BYTES * sum(self.nnz)
            + _COMPILE_ROW_BYTES * self.n_rows
            + _COMPILE_LAYER_BYTES * self.n_layers
            + _COMPILE_BYTES
        )

    def require_fit(
        self, name: str, n_samples: int, *, max_rows: int, max_bytes: int | None
    ) -> None:
        """CircuitTooLarge for more rows, or more memory to compile in; None: as much as it takes.

        n_samples : of the circuit, 0 where `name` says all of what it is of
        """
        too_much = max_bytes is not None and self.compile_bytes > max_bytes
        if self.n_rows > max_rows or too_much:
            raise CircuitTooLarge(
                name=name,
                n_samples=n_samples,
                n_rows=self.n_rows,
                max_rows=max_rows,
                n_bytes=self.compile_bytes,
                max_bytes=max_bytes,
            )


def require_circuit(
    architecture: Architecture,
    n_samples: int,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int | None = None,
) -> CircuitSizes:
    """The sizes of a circuit that may be compiled.

    max_bytes : of memory that there is for compiling; None: as much as it takes
    raises    : ArchitectureInvalid as `compute_sizes`; CircuitTooLarge
    """
    sizes = compute_sizes(architecture, n_samples)
    sizes.require_fit(architecture.name, n_samples, max_rows=max_rows, max_bytes=max_bytes)
    return sizes


def compute_sizes(architecture: Architecture, n_samples: int) -> CircuitSizes:
    """What `compile_accuracy` makes of the same arguments, in some ten thousand additions a layer.

    raises : ArchitectureInvalid for a max pool of windows too large, or n_samples out of range
    """
    counts = LayerCounts.of(PublicLayout(architecture, n_samples))
    a, b, c = counts.nnz
    return CircuitSizes(
        n_layers=len(architecture.layers),
        n_samples=n_samples,
        n_rows=counts.n_rows,
        n_public=counts.layout.n_public,
        n_model=counts.n_model,
        n_advice=counts.n_advice,
        n_private=counts.n_private,
        nnz=(a, b, c),
        occurring=counts.occurring,
        n_private_in_a=counts.n_private_in_a,
        tables=counts.tables,
    )
