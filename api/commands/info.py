"""`zkpot info`: what this installation would use."""

from __future__ import annotations

from typing import Any

import typer

from api.console.output import AsJson, emit_json, refuse_error

PARTS = ("numpy", "numba", "llvmlite")
GPU_PARTS = ("cupy-cuda13x", "numba-cuda", "cuda-core")


def register(app: typer.Typer) -> None:
    app.command()(info)


def info(backend: str = "cpu", as_json: AsJson = False) -> None:
    """Show the backend, its lanes and threads, the device and the versions."""
    from api.console.refusals import naming_device
    from kernels.errors import BackendUnavailable

    try:
        with naming_device():
            found = describe(backend)
    except BackendUnavailable as error:
        refuse_error(error, as_json=as_json)
    if as_json:
        emit_json(found)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key, value in found.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        )
        table.add_row(key, str(shown))
    Console().print(table)


def describe(backend: str) -> dict[str, Any]:
    """Facts as JSON types. Raises as `kernels.backend.get_backend` does."""
    import platform

    from bench.device import describe_commit, describe_device
    from kernels.backend import get_backend
    from kernels.versions import find_own_version, find_version

    used = get_backend(backend).info()
    parts = PARTS + GPU_PARTS if used.name == "cuda" else PARTS
    return {
        "backend": used.name,
        "lanes": used.lanes,
        "threads": used.n_threads,
        "detail": dict(used.detail),
        "device": describe_device(),
        "commit": describe_commit(),
        "versions": {
            "zkpot": find_own_version(),
            "python": platform.python_version(),
            **{name: find_version(name) for name in parts},
        },
    }
