"""Atomic operations on arrays, for tasks that threads take from one counter."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


@intrinsic
def fetch_add(typing_context: Any, array: Any, index: Any, amount: Any) -> Any:
    """Atomically add to an int64 array's element; returns the value before."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, b, args[0])
        return b.atomic_rmw("add", b.gep(view.data, [args[1]]), args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen
