"""PTX of `PerThread` kernels. The only module that imports numba.cuda, and it needs no driver."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

from numba import cuda  # the simulator finds it among a function's globals

from kernels.cuda.launch.per_thread import BLOCK, Build, Form, PerThread

_ENTRY = re.compile(r"\.entry\s+([\w$]+)")

_inlined = cuda.jit(device=True, inline="always")
"""On their own numba.cuda would compile functions for the driver's device."""


@_inlined
def atomic_add(array: Any, index: Any, amount: Any) -> Any:
    """The value before."""
    return cuda.atomic.add(array, index, amount)


def compile_ptx(kernel: PerThread, form: Form, arch: str) -> str:
    """The kernel for arguments of a form and an architecture such as "sm_90", under its own name.

    Raises what numba.cuda does.
    """
    from numba.cuda import types  # the simulator has none

    arguments = [
        types.Array(getattr(types, name), n, "C") if n else getattr(types, name)
        for name, n in form.key
    ]
    ptx, _ = cuda.compile(
        build_entry(kernel.build),
        types.void(types.int64, *arguments),
        device=False,
        abi="numba",
        cc=(int(arch[3:-1]), int(arch[-1])),
        launch_bounds=BLOCK,
    )
    (mangled,) = _ENTRY.findall(ptx)
    named: str = ptx.replace(mangled, kernel.name)
    return named


def build_entry(build: Build) -> Callable[..., None]:
    """`entry(n, ...)`, for numba.cuda to compile: the body for the thread's own index, if below n.

    Written as text because numba.cuda knows no kernel with `*arguments`.
    """
    body = build(_inlined, atomic_add)
    names = ", ".join(list(signature(body).parameters)[1:])
    lines = f"def entry(n, {names}):", "i = cuda.grid(1)", "if i < n:", f"    body(i, {names})"
    scope: dict[str, Any] = {"cuda": cuda, "body": _inlined(body)}
    exec("\n    ".join(lines), scope)
    entry: Callable[..., None] = scope["entry"]
    return entry
