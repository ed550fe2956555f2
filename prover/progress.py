"""Progress of long calls, as an argument: the shells draw it, the core only reports."""

from collections.abc import Callable

StageProgress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total), within one stage never decreasing; no secrets in it."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress for callers that draw nothing."""
