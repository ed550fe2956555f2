"""Suite `circuits`: what a proof costs as samples and networks grow, in seconds, bytes and memory.

The same children as of the suite `cnn`, over three sweeps: more samples of one MLP, more samples of
one convolutional network, and MLPs of more parameters. Keys go to a folder that is removed. The
plots tell by which power of N each figure grows at the end: transforms and sums of points take
N log N at most, so a power well above 1 is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.plot import plot_scaling
from bench.registry import BenchCase, Row, Suite
from bench.scratch import Scratch
from bench.suites.cnn import Builder, Net

SAMPLES, SIZES = "samples", "parameters"
FIGURES = {
    "prove": "one proof",
    "setup": "setup",
    "key": "key on disk",
    "memory": "peak of a prover",
    "setup_memory": "peak of a setup",
}
Sweep = Sequence[Net]


def _of_samples(name: str, counts: Sequence[int]) -> list[Net]:
    return [Net(name=name, samples=n, peers={}) for n in counts]


def _of_widths(widths: Sequence[int], n_samples: int) -> list[Net]:
    return [Net(name=f"mlp-784-{w}-10", samples=n_samples, peers={}) for w in widths]


FULL: dict[str, Sweep] = {
    "mlp": _of_samples("mlp-784-128-10", (16, 64, 256, 1024)),
    "lenet5": _of_samples("lenet5", (2, 8, 32, 64)),
    "width": _of_widths((64, 256, 1024, 2560), 16),
}
QUICK: dict[str, Sweep] = {
    "mlp": _of_samples("mlp-64-16-10", (4, 16)),
    "width": _of_widths((4, 16), 4),
}


def build_suite(*, quick: bool) -> Suite:
    """All sweeps; `quick`: two small ones of two points each."""
    return make_suite(QUICK if quick else FULL)


def make_suite(sweeps: dict[str, Sweep]) -> Suite:
    """The cases of these sweeps, and their plots."""
    keys = Scratch()
    cases = [
        case
        for name, nets in sweeps.items()
        for case in Builder(nets, keys.path, suite=f"circuits.{name}").cases()
    ]

    def draw(rows: Sequence[Row], out: Path) -> Sequence[Path]:
        assert keys.path.exists(), "the keys live as long as the suite"
        return [path for name in sweeps for path in _draw(name, rows, out)]

    return Suite(cases=[case for case in cases if _is_drawn(case)], draw=draw)


def _is_drawn(case: BenchCase) -> bool:
    return case.params["figure"] in (*FIGURES, "rows")


def _draw(name: str, rows: Sequence[Row], out: Path) -> list[Path]:
    """The plot of a sweep, if any of its rows is there."""
    series = {f"circuits.{name}.{figure}.": label for figure, label in FIGURES.items()}
    if not any(row["id"].startswith(tuple(series)) for row in rows):
        return []
    over = SIZES if name == "width" else SAMPLES
    title = {"mlp": "Samples of an MLP", "width": "Parameters of an MLP"}.get(
        name, f"Samples of {name}"
    )
    path = out / f"circuits-{name}.png"
    return [plot_scaling(rows, series, path, title=title, over=over, axis=over, tells_powers=True)]
