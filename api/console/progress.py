"""Progress bars on standard error, for every command that takes longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

Update = Callable[[str, int, int], None]
Columns = Callable[[], "tuple[ProgressColumn, ...]"]

MOMENT_S = 0.4
"""What ends before has no bars: to load what draws them takes a tenth of a second."""


@contextmanager
def show_bytes() -> Iterator[Update]:
    """Yields update(what, done, total) for transfers; one bar per `what`."""
    with _show(_list_byte_columns) as update:
        yield update


@contextmanager
def show_steps() -> Iterator[Update]:
    """Yields update(what, done, total) for countable work; one bar per `what`."""
    with _show(_list_step_columns) as update:
        yield update


def _list_byte_columns() -> tuple[ProgressColumn, ...]:
    from rich.progress import BarColumn, DownloadColumn, TextColumn

    return TextColumn("{task.description}"), BarColumn(), DownloadColumn()


def _list_step_columns() -> tuple[ProgressColumn, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return (*columns, TimeElapsedColumn())


@contextmanager
def _show(columns: Columns, clock: Callable[[], float] = monotonic) -> Iterator[Update]:
    started = clock()
    bars: dict[str, TaskID] = {}
    shown: list[Progress] = []
    with ExitStack() as stack:

        def update(what: str, done: int, total: int) -> None:
            if not shown:
                if clock() - started < MOMENT_S:
                    return
                shown.append(stack.enter_context(_open_bars(columns)))
            (progress,) = shown
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield update


def _open_bars(columns: Columns) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns(), console=Console(stderr=True))
