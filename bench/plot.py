"""Plots of suites' rows as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.registry import Row
from kernels.files import replacing


def plot_scaling(
    rows: Sequence[Row],
    series: Mapping[str, str],
    path: Path,
    *,
    title: str,
    over: str = "lg_n",
    axis: str = "log2 n",
    tells_powers: bool = False,
) -> Path:
    """Values over `params[over]`, one line per series with its spread.

    series : id prefix -> label; rows of other ids are left out
    axis   : what `over` is, in words
    tells_powers : both axes are logarithmic, and each label tells the power of `over` by which its
                   values grow over the last two places
    Raises Unavailable without matplotlib.
    """
    figure, axes = _subplots()
    for prefix, label in series.items():
        found = sorted(
            (int(row["params"][over]), row["value"], row["iqr"] / 2, row["unit"])
            for row in rows
            if row["id"].startswith(prefix)
        )
        if not found:
            continue
        places, value, spread, units = zip(*found, strict=True)
        told = f"{label} ({units[0]})"
        if tells_powers and len(places) > 1:
            told += f", power {compute_power(places[-2:], value[-2:]):.2f}"
        axes.errorbar(places, value, yerr=spread, marker="o", capsize=3, label=told)
    axes.set_xlabel(axis)
    axes.set_yscale("log")
    if tells_powers:
        axes.set_xscale("log", base=2)
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120, bbox_inches="tight")
    return path


def compute_power(places: Sequence[float], values: Sequence[float]) -> float:
    """p of value = c * place^p through the first and the last of the points."""
    return log(values[-1] / values[0]) / log(places[-1] / places[0])


def _subplots() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unavailable("matplotlib is not installed (extra: bench)") from error
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
