"""What benchmarks take from the environment."""

from __future__ import annotations

import os
import sys


def ezkl_python() -> str:
    """`$EZKL_PYTHON`, the interpreter that has `ezkl` and `onnx`; default: this one."""
    return os.environ.get("EZKL_PYTHON") or sys.executable


def jstprove_python() -> str:
    """`$JSTPROVE_PYTHON`, the interpreter that has `jstprove` 2.1; default: this one."""
    return os.environ.get("JSTPROVE_PYTHON") or sys.executable


def rapidsnark_prover() -> str:
    """`$RAPIDSNARK_PROVER`, the program `prover` of rapidsnark; default: one of its name."""
    return os.environ.get("RAPIDSNARK_PROVER") or "rapidsnark"


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of this process with changes, for a program under measurement."""
    return {**os.environ, **changes}
