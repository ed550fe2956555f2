"""Where an experiment ran, so that its figures are read with their conditions."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from kernels.machine import count_processors, describe_processor

CONDITIONS = frozenset({"processor", "cores", "system", "versions"})
"""The names of `describe_conditions`."""


def join_conditions(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The conditions of all cells of a run; where they differ, all that there were, in turn."""
    return {name: " / ".join(dict.fromkeys(one[name] for one in each)) for name in each[0]}


def tell_origins(results: Iterable[Mapping[str, Any]]) -> str:
    """Where samples came from, of results with an `origin`: more than one where some cells were
    kept before a data set was fetched."""
    return ", ".join(sorted({str(result["origin"]) for result in results}))


def describe_conditions() -> dict[str, str]:
    """Processor, cores, system and versions, in words."""
    return {
        "processor": describe_processor(),
        "cores": str(count_processors()),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("zkpot", "torch", "numpy")),
    }
