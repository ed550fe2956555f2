"""The statement "these committed weights classify at least k of N samples correctly", as a circuit.

One circuit, hence one key, per (architecture, N): it holds shapes, shifts, table sizes and nothing
private, no sample, no label, no multiplier. PROTOCOL sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np

from kernels.array import FrArray
from kernels.numpy_types import UInt8Array
from prover.circuit.choices import Choices, make_choices
from prover.circuit.constraints import Circuit, Group, System
from prover.circuit.gadgets.activation import (
    Activation,
    build_activation,
    build_pair_table,
    compute_clamp_rows,
)
from prover.circuit.gadgets.correctness import build_correctness
from prover.circuit.gadgets.linear import (
    build_combinations,
    build_outputs,
    build_weight_sum,
    require_logits,
    require_requantized,
)
from prover.circuit.gadgets.lookup import RangeTable, Table, build_integer_table
from prover.circuit.gadgets.packing import Packing
from prover.circuit.linear_form import LinearForm
from prover.circuit.public_inputs import ClampKind, PublicLayout, list_clamp_kinds
from prover.circuit.r1cs import R1CS
from prover.circuit.sizes import MAX_ROWS, require_circuit
from prover.model.layers import BIAS_BITS, BIAS_MIN, WEIGHT_MAX, Requant
from prover.model.network import Architecture, label_parameters


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

    raises : ArchitectureInvalid for a kind of layer without a gadget, or n_samples out of range;
             CircuitTooLarge for more than `max_rows` rows, before anything is allocated
    cost   : about a second per million rows; memory as `prover.circuit.sizes` says
    """
    require_circuit(architecture, n_samples, max_rows=max_rows)
    layout = PublicLayout(architecture, n_samples)
    choices = make_choices(architecture, n_samples)
    compiler = _Compiler.start(layout, choices)
    compiler.add_layers()
    compiler.close_tables()
    return AccuracyCircuit(
        architecture=architecture,
        n_samples=n_samples,
        circuit=compiler.system.build(compiler.parameters()),
        public_layout=layout,
        choices=choices,
    )


@dataclass(slots=True, kw_only=True)
class _Compiler:
    """The shared wires and tables of a circuit while its layers are added."""

    system: System
    layout: PublicLayout
    choices: Choices
    public: dict[str, LinearForm]
    ranges: RangeTable
    weights: Table
    clamps: dict[ClampKind, Table]
    powers: LinearForm
    weight_sums: dict[tuple[int, int], LinearForm] = field(default_factory=dict)

    @classmethod
    def start(cls, layout: PublicLayout, choices: Choices) -> _Compiler:
        system = System()
        public = {label: system.public(label, shape) for label, shape in layout.blocks.items()}
        weights = build_integer_table(
            system,
            "weight table",
            public["challenge/weight"],
            np.arange(-WEIGHT_MAX, WEIGHT_MAX + 1),
        )
        clamps = {
            kind: build_pair_table(
                system,
                f"clamp table {i}",
                public[f"challenge/clamp {i}"],
                public["challenge/pair"],
                compute_clamp_rows(*kind),
            )
            for i, kind in enumerate(list_clamp_kinds(layout.architecture))
        }
        powers = system.powers(
            "samples/powers/power", public["challenge/s"], layout.n_samples, why="one per sample"
        )
        return cls(
            system=system,
            layout=layout,
            choices=choices,
            public=public,
            ranges=RangeTable.build(
                system, "range table", public["challenge/range"], choices.widths.table_bits
            ),
            weights=weights,
            clamps=clamps,
            powers=powers,
        )

    def add_layers(self) -> None:
        """All layers in order, then the count over the last one's logits."""
        inputs, n_hidden = self.public["first layer"], 0
        for index, layer in enumerate(self.layout.architecture.layers):
            part, choice = f"layer {index}", self.choices.packings[index]
            outputs = self._add_parameters(index, inputs)
            if layer.requant is None:
                self._add_count(part, index, outputs)
                continue
            activation = self._add_activation(part, index, layer.requant)
            require_requantized(
                self.system,
                f"{part}/linear",
                outputs=outputs,
                multiplier=self.public["multiplier"][n_hidden],
                powers=self.powers,
                weight_sum=self._sum_weights(choice.packing),
                activation=activation,
                shift=layer.requant.shift,
                packing=choice.packing,
                why=choice.reason,
            )
            n_hidden += 1
            inputs = build_combinations(
                self.system,
                f"layer {index + 1}/input",
                powers=self.powers,
                activations=activation.y,
                packing=self.choices.packings[index + 1].packing,
            )

    def close_tables(self) -> None:
        for table in (self.ranges.table, self.weights, *self.clamps.values()):
            table.close()

    def parameters(self) -> dict[str, Any]:
        """What the digest covers beside the matrices: the choices a reader would ask for."""
        architecture = self.layout.architecture
        return {
            "n_samples": self.layout.n_samples,
            "challenges": list(self.layout.challenges),
            "margin_bits": self.choices.margin_bits,
            "level_bits": self.choices.level_bits,
            "packings": [asdict(choice.packing) for choice in self.choices.packings],
            "shifts": [x.requant.shift for x in architecture.layers if x.requant is not None],
            "tables": {
                "range": {"bits": self.choices.widths.table_bits},
                "weight": {"least": -WEIGHT_MAX, "greatest": WEIGHT_MAX},
                **{
                    f"clamp {i}": {"q": list(q), "y": list(y)}
                    for i, (q, y) in enumerate(self.clamps)
                },
            },
        }

    def _add_parameters(self, index: int, inputs: LinearForm) -> LinearForm:
        """Weights and biases of a layer, in range, and its outputs at the random combination."""
        architecture, part = self.layout.architecture, f"layer {index}"
        packing = self.choices.packings[index].packing
        shapes = label_parameters(
            index, architecture.weight_shapes[index], architecture.bias_shapes[index]
        )
        weights, biases = (self.system.model(*parameter) for parameter in shapes.items())
        self.weights.lookup(
            f"{part}/weights/range",
            weights,
            index=weights + WEIGHT_MAX,
            why="a weight is of [-127, 127]",
        )
        # Exact: nothing else makes a bias an integer, and B/2^a mod r would poison the aggregate.
        self.ranges.require_range(
            f"{part}/biases/range",
            biases - BIAS_MIN,
            BIAS_BITS,
            exact=True,
            why="an unchecked bias could be any field element",
        )
        return build_outputs(
            self.system,
            f"{part}/linear",
            inputs=inputs,
            weight_sum=self._sum_weights(packing),
            weights=weights,
            biases=biases,
            packing=packing,
        )

    def _sum_weights(self, packing: Packing) -> LinearForm:
        """One wire for all layers whose samples have the same weights."""
        samples, bits = packing.samples, packing.bits if packing.samples > 1 else 0
        if (samples, bits) not in self.weight_sums:
            self.weight_sums[samples, bits] = build_weight_sum(
                self.system,
                f"samples/weights/sum, {samples} a pack of {bits} bits each",
                powers=self.powers,
                packing=packing,
                n_samples=self.layout.n_samples,
            )
        return self.weight_sums[samples, bits]

    def _add_activation(self, part: str, index: int, requant: Requant) -> Activation:
        kind = (requant.q_range, requant.y_range)
        return build_activation(
            self.system,
            f"{part}/activation",
            shape=(self.layout.n_samples, prod(self.layout.architecture.shapes[index + 1])),
            shift=requant.shift,
            q_min=requant.q_range[0],
            clamp=self.clamps[kind],
            g=self.public["challenge/pair"],
            ranges=self.ranges,
        )

    def _add_count(self, part: str, index: int, outputs: LinearForm) -> None:
        architecture, choice = self.layout.architecture, self.choices.packings[index]
        logits = self.system.advice(
            f"{part}/logits", (self.layout.n_samples, architecture.n_classes)
        )
        require_logits(
            self.system,
            f"{part}/linear",
            outputs=outputs,
            powers=self.powers,
            logits=logits,
            packing=choice.packing,
            why=choice.reason,
        )
        build_correctness(
            self.system,
            "correctness/count",
            logits=logits,
            powers=self.powers,
            label_sum=self.public["label sum"],
            claimed=self.public["claimed"],
            margin_bits=self.choices.margin_bits,
            level_bits=self.choices.level_bits,
            ranges=self.ranges,
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
