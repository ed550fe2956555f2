"""A place for temporary files where the system has none: a read-only root without /tmp."""

from __future__ import annotations

import tempfile


def ensure_scratch() -> None:
    """For the start of every process: where no folder for temporary files can be written, one in
    the cache of compiled kernels takes its place, for this program and for the packages it uses."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        from kernels.cpu.compile.jit import cache_directory  # not at the top: it loads the compiler

        directory = cache_directory()
        if directory is not None:
            scratch = directory / "tmp"
            scratch.mkdir(mode=0o700, exist_ok=True)
            tempfile.tempdir = str(scratch)
