"""What `explain` says of circuits of training: rows, wires and the reasons of the plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prover.circuit.accuracy import ReportLine, list_report_lines
from prover.circuit.constraints import Circuit
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What `inspect` shows. All of it is public.

    kind : "a training step" or "an export"; wires : of each linked group by its name, and others
    """

    kind: str
    architecture: str
    training: dict[str, int]
    rows: int
    lg_rows: int
    wires: dict[str, int]
    entries: dict[str, int]
    tables: dict[str, Any]
    width_reason: str
    lines: tuple[ReportLine, ...]

    @classmethod
    def of(
        cls,
        circuit: Circuit,
        recipe: TrainingRecipe,
        *,
        kind: str,
        groups: tuple[str, ...],
        width_reason: str,
    ) -> TrainingReport:
        """groups : names of the linked groups, in their order"""
        r1cs = circuit.r1cs
        return cls(
            kind=kind,
            architecture=recipe.architecture.name,
            training=recipe.numbers,
            rows=r1cs.n_rows,
            lg_rows=r1cs.lg_n,
            wires={
                "public": r1cs.n_public,
                **dict(zip(groups, r1cs.linked, strict=True)),
                "advice": r1cs.n_advice,
                "private": r1cs.n_private,
            },
            entries={"a": r1cs.a.nnz, "b": r1cs.b.nnz, "c": r1cs.c.nnz},
            tables=dict(circuit.parameters["tables"]),
            width_reason=width_reason,
            lines=list_report_lines(circuit),
        )

    @property
    def subject(self) -> str:
        """What the circuit is about, for people."""
        numbers = ", ".join(f"{name} {value}" for name, value in self.training.items())
        return f"{self.kind} of {self.architecture} ({numbers})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
