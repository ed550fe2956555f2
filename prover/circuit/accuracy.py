"""The statement "these committed weights classify at least k of N samples correctly", as a circuit.

One circuit, hence one key, per (architecture, N): it holds shapes, shifts, table sizes and nothing
private, no sample, no label, no multiplier. PROTOCOL sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.array import FrArray
from kernels.numpy_types import UInt8Array
from prover.circuit.compiled import CompiledCircuit, Report
from prover.circuit.compiler import Compiler
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.shared import Shared
from prover.circuit.sizes import MAX_ROWS, require_circuit
from prover.circuit.sizing.choices import Choices, make_choices
from prover.model.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitReport(Report):
    """What `inspect` shows of accuracy."""

    n_samples: int
    rows_per_sample: float

    @property
    def subject(self) -> str:
        per_sample = f"{self.rows_per_sample:.0f} rows per sample"
        return f"{self.architecture} on {self.n_samples} samples ({per_sample})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyCircuit(CompiledCircuit):
    """The compiled statement for one architecture and number of samples."""

    architecture: Architecture
    n_samples: int
    public_layout: PublicLayout
    choices: Choices

    @property
    def n_challenges(self) -> int:
        return len(self.public_layout.challenges)

    def public_inputs(
        self,
        *,
        claimed: int,
        images: UInt8Array,
        labels: UInt8Array,
        challenges: Sequence[int],
    ) -> FrArray:
        """`PublicLayout.compute` with the architecture's multipliers, shape [n_public]."""
        return self.public_layout.compute(
            claimed=claimed,
            multipliers=self.architecture.multipliers,
            images=images,
            labels=labels,
            challenges=challenges,
        )

    def explain(self) -> CircuitReport:
        """Rows and wires per part and gadget, and the reasons of the compiler."""
        return CircuitReport(
            architecture=self.architecture.name,
            n_samples=self.n_samples,
            rows_per_sample=self.r1cs.n_rows / self.n_samples,
            width_reason=self.choices.widths.reason,
            **self.measure("model"),
        )


def compile_accuracy(
    architecture: Architecture, n_samples: int, *, max_rows: int = MAX_ROWS
) -> AccuracyCircuit:
    """The circuit for `n_samples` samples (padding allowed) of any dataset of the right shape.

    raises : ArchitectureInvalid for a max pool of windows too large, or n_samples out of range;
             CircuitTooLarge for more than `max_rows` rows, before anything is allocated
    cost   : about a second per million rows; memory as `prover.circuit.sizes` says
    """
    require_circuit(architecture, n_samples, max_rows=max_rows)
    layout = PublicLayout(architecture, n_samples)
    choices = make_choices(architecture, n_samples)
    shared = Shared.start(layout, choices)
    Compiler(shared).add_layers()
    shared.close_tables()
    return AccuracyCircuit(
        architecture=architecture,
        n_samples=n_samples,
        circuit=shared.system.build(shared.parameters()),
        public_layout=layout,
        choices=choices,
    )
