"""What every compiled statement has, and what `explain` says of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prover.circuit.constraints import Circuit, Group
from prover.circuit.r1cs import R1CS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """Rows and wires of one gadget in one part of the circuit, and why they are there."""

    part: str
    gadget: str
    rows: int
    private_wires: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `inspect` shows of any circuit. All of it is public.

    wires : of each linked group by its name, and of the other groups
    """

    architecture: str
    rows: int
    domain: int
    wires: dict[str, int]
    entries: dict[str, int]
    tables: dict[str, Any]
    width_reason: str
    lines: tuple[ReportLine, ...]

    @property
    def subject(self) -> str:
        """What the circuit is about, for people."""
        return self.architecture

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledCircuit:
    """A statement as a circuit, with what else its kind knows of it."""

    circuit: Circuit

    @property
    def r1cs(self) -> R1CS:
        return self.circuit.r1cs

    @property
    def digest(self) -> bytes:
        """sha256 over the circuit, its tables and limb widths."""
        return self.circuit.digest

    def measure(self, *groups: str) -> dict[str, Any]:
        """The fields of a `Report` that are the same for all kinds.

        groups : names of the linked groups, in their order
        """
        r1cs = self.r1cs
        return {
            "rows": r1cs.n_rows,
            "domain": r1cs.domain,
            "wires": {
                "public": r1cs.n_public,
                **dict(zip(groups, r1cs.linked, strict=True)),
                "advice": r1cs.n_advice,
                "private": r1cs.n_private,
            },
            "entries": {"a": r1cs.a.nnz, "b": r1cs.b.nnz, "c": r1cs.c.nnz},
            "tables": dict(self.circuit.parameters["tables"]),
            "lines": list_lines(self.circuit),
        }


def list_lines(circuit: Circuit) -> tuple[ReportLine, ...]:
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
