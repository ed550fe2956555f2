"""Standard streams that cannot end a process: a log's disk fills, a pipe's reader goes away.

Who runs for long logs for others, and goes on without them. A command whose standard output is its
result still fails when that cannot be written: only `outlast_output` covers it.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any


class Outlasting:
    """A text stream that drops what cannot be written; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except (OSError, ValueError):  # the latter: it is closed
            return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def outlasting(stream: Any) -> Any:
    """The stream, or nowhere if it is None, so that writing to it never fails."""
    if isinstance(stream, Outlasting):
        return stream
    return Outlasting(_Nowhere() if stream is None else stream)


def outlast_errors() -> None:
    """For the start of every process: standard error never fails, and no file takes its number."""
    for descriptor in range(3):
        _occupy(descriptor)
    sys.stderr = outlasting(sys.stderr)


def outlast_output() -> None:
    """Does the same for a process that serves: nor does standard output fail, where it only says
    that it is up.
    """
    sys.stdout = outlasting(sys.stdout)


def _occupy(descriptor: int) -> None:
    """A closed one goes to the next file that is opened, into which children would then print."""
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
