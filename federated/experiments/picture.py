"""Pictures of experiments: one PNG, one style, no window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernels.files import replacing

_DPI = 120


@contextmanager
def open_sheet(path: Path, *, width: float, height: float) -> Iterator[Any]:
    """An empty figure to lay panels out on; saved where nothing is raised.

    width, height : in inches
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    with replacing(path) as stream:
        figure.savefig(stream, format="png", dpi=_DPI)


@contextmanager
def open_picture(
    path: Path, *, columns: int = 1, width: float = 8.0, height: float = 4.5
) -> Iterator[Any]:
    """The axes to draw on, several side by side for more columns; saved as `open_sheet` does.

    width, height : of the whole, in inches
    """
    with open_sheet(path, width=width, height=height) as figure:
        yield figure.subplots(ncols=columns)
