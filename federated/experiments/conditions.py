"""Where an experiment ran, so that its figures are read with their conditions."""

from __future__ import annotations

import platform
from importlib.metadata import version

from kernels.machine import count_processors, describe_processor


def describe_conditions() -> dict[str, str]:
    """Processor, cores, system and versions, in words."""
    return {
        "processor": describe_processor(),
        "cores": str(count_processors()),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("zkpot", "torch", "numpy")),
    }
