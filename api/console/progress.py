"""Progress bars on standard error, for every command that takes longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Update = Callable[[str, int, int], None]


@contextmanager
def show_bytes() -> Iterator[Update]:
    """Yields update(what, done, total) for transfers; one bar per `what`."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn

    with _show(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as update:
        yield update


@contextmanager
def show_steps() -> Iterator[Update]:
    """Yields update(what, done, total) for countable work; one bar per `what`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with _show(*columns, TimeElapsedColumn()) as update:
        yield update


@contextmanager
def _show(*columns: ProgressColumn) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def update(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield update
