"""What `zkpot import` says of a network that it has read."""

from __future__ import annotations

from typing import Any

from prover.model.layers import Layer, Multiplier, Shape
from prover.model.network import QuantizedModel
from prover.model.ranges import LayerRange


def describe_layers(
    model: QuantizedModel, ranges: tuple[LayerRange, ...], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A row per layer, for machines: kind, the file's node, shapes, requantization, worst cases."""
    architecture = model.architecture
    rows = []
    for index, layer in enumerate(architecture.layers):
        weights, made = architecture.weight_shapes[index], architecture.shapes[index + 1]
        rows.append(
            {
                "kind": layer.kind,
                "node": names[index] if names else None,
                "inputs": list(layer.inputs),
                "weights": list(weights) if weights != (0,) else None,
                "makes": list(made),
                "requant": None if layer.requant is None else layer.requant.to_manifest(),
                "quotients": None if ranges[index].q is None else list(ranges[index].q or ()),
            }
        )
    return rows


def show_layers(model: QuantizedModel, ranges: tuple[LayerRange, ...]) -> None:
    """The same as a table, for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("layer", justify="right")
    for name in ("kind", "of", "weights", "makes", "M", "activations", "quotients"):
        table.add_column(name)
    architecture = model.architecture
    for index, layer in enumerate(architecture.layers):
        table.add_row(
            str(index + 1),
            layer.kind,
            ", ".join(map(str, layer.inputs)),
            _show_shape(architecture.weight_shapes[index]),
            _show_shape(architecture.shapes[index + 1]),
            *_show_requant(layer, ranges[index]),
        )
    Console(markup=False, highlight=False).print(table)


def _show_shape(shape: Shape) -> str:
    return "" if shape == (0,) else "x".join(map(str, shape))


def _show_requant(layer: Layer, worst: LayerRange) -> tuple[str, str, str]:
    requant = layer.requant
    if requant is None or worst.q is None:
        return "", "", ""
    return (
        f"{_show_multiplier(requant.multiplier)} / 2^{requant.shift}",
        f"{requant.least} to {requant.greatest}",
        f"{worst.q[0]} to {worst.q[1]}, of {requant.q_bits} bits",
    )


def _show_multiplier(multiplier: Multiplier) -> str:
    if isinstance(multiplier, int):
        return str(multiplier)
    return f"{min(multiplier)} to {max(multiplier)} by channel"
