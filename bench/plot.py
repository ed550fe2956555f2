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
    return _save(figure, path)


def plot_curves(rows: Sequence[Row], path: Path, *, title: str) -> Path:
    """Accuracies over passes, one line per seed, and those of the peer `float` broken.

    rows : with params `seed` and `epoch`
    Raises Unavailable without matplotlib.
    """
    figure, axes = _subplots()
    for seed in sorted({int(row["params"]["seed"]) for row in rows}):
        own = sorted((r for r in rows if r["params"]["seed"] == seed), key=_get_epoch)
        epochs = [_get_epoch(row) for row in own]
        values = [row["value"] for row in own]
        axes.plot(epochs, values, "-o", color=f"C{seed}", label=f"exact integers, seed {seed}")
        peers = [row["peers"]["float"] for row in own]
        axes.plot(epochs, peers, "--x", color=f"C{seed}", label=f"float SGD, seed {seed}")
    axes.set_xlabel("passes over the data")
    axes.set_ylabel("accuracy on the test split (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return _save(figure, path)


def _get_epoch(row: Row) -> int:
    return int(row["params"]["epoch"])


def _save(figure: Any, path: Path) -> Path:
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
