"""Plots of suites' rows as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.registry import Row
from kernels.files import replacing


def plot_scaling(rows: Sequence[Row], series: Mapping[str, str], path: Path, *, title: str) -> Path:
    """Cost per unit of work over `params["lg_n"]`, one line per series with its spread.

    series : id prefix -> label; rows of other ids are left out
    Raises Unavailable without matplotlib.
    """
    figure, axes = _subplots()
    for prefix, label in series.items():
        found = sorted(
            (int(row["params"]["lg_n"]), row["value"], row["iqr"] / 2, row["unit"])
            for row in rows
            if row["id"].startswith(prefix)
        )
        if not found:
            continue
        lg_n, value, spread, units = zip(*found, strict=True)
        axes.errorbar(
            lg_n, value, yerr=spread, marker="o", capsize=3, label=f"{label} ({units[0]})"
        )
    axes.set_xlabel("log2 n")
    axes.set_yscale("log")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120, bbox_inches="tight")
    return path


def _subplots() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unavailable("matplotlib is not installed (extra: bench)") from error
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
