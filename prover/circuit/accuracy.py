"""The statement "these committed weights classify at least k of N samples correctly", as a circuit.

One circuit, hence one key, per (architecture, N): it holds shapes, shifts, table sizes and nothing
private, no sample, no label, no multiplier. PROTOCOL sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernels.array import FrArray
from kernels.numpy_types import UInt8Array
from prover.circuit.compiler import Compiler
from prover.circuit.constraints import Circuit, Group
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.r1cs import R1CS
from prover.circuit.shared import Shared
from prover.circuit.sizes import MAX_ROWS, require_circuit
from prover.circuit.sizing.choices import Choices, make_choices
from prover.model.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """Rows and wires of one gadget in one part of the circuit, and why they are there."""

    part: str
    gadget: str
    rows: int
    private_wires: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitReport:
    """What `inspect` shows. All of it is public."""

    architecture: str
    n_samples: int
    rows: int
    lg_rows: int
    rows_per_sample: float
    wires: dict[str, int]
    entries: dict[str, int]
    tables: dict[str, Any]
    width_reason: str
    lines: tuple[ReportLine, ...]

    @property
    def subject(self) -> str:
        """What the circuit is about, for people."""
        per_sample = f"{self.rows_per_sample:.0f} rows per sample"
        return f"{self.architecture} on {self.n_samples} samples ({per_sample})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyCircuit:
    """The compiled statement for one architecture and number of samples."""

    architecture: Architecture
    n_samples: int
    circuit: Circuit
    public_layout: PublicLayout
    choices: Choices

    @property
    def r1cs(self) -> R1CS:
        return self.circuit.r1cs

    @property
    def digest(self) -> bytes:
        """sha256 over the circuit, its tables and limb widths."""
        return self.circuit.digest

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
        r1cs = self.r1cs
        return CircuitReport(
            architecture=self.architecture.name,
            n_samples=self.n_samples,
            rows=r1cs.n_rows,
            lg_rows=r1cs.lg_n,
            rows_per_sample=r1cs.n_rows / self.n_samples,
            wires={
                "public": r1cs.n_public,
                "model": r1cs.n_linked,
                "advice": r1cs.n_advice,
                "private": r1cs.n_private,
            },
            entries={"a": r1cs.a.nnz, "b": r1cs.b.nnz, "c": r1cs.c.nnz},
            tables=dict(self.circuit.parameters["tables"]),
            width_reason=self.choices.widths.reason,
            lines=list_report_lines(self.circuit),
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


def list_report_lines(circuit: Circuit) -> tuple[ReportLine, ...]:
    """Blocks summed up by the first two parts of their labels, in order of first use."""
    rows: dict[tuple[str, str], int] = {}
    wires: dict[tuple[str, str], int] = {}
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for block in circuit.row_blocks:
        part, gadget = block.label.split("/")[:2]
        key = (part, gadget)
        rows[key] = rows.get(key, 0) + block.size
        if block.defines is not None and block.defines.group == Group.PRIVATE:
            wires[key] = wires.get(key, 0) + block.size
        if block.why:
            reasons.setdefault(key, {})[block.why] = None
    return tuple(
        ReportLine(
            part=key[0],
            gadget=key[1],
            rows=rows[key],
            private_wires=wires.get(key, 0),
            why="; ".join(reasons.get(key, {})),
        )
        for key in rows
    )
