"""Calls through addresses: a large kernel is compiled once and not into each of its callers.

numba links the code of a callee into every caller and optimizes it there again. For the few kernels
that hold the bulk of the code (batched additions over field arithmetic) that would multiply compile
time, so their callers take an address instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba.core import cgutils


def kernel_address(dispatcher: Any) -> int:
    """Address of a kernel that was declared with one signature; compiles it if need be.

    The code stays loaded as long as the dispatcher lives: keep it while the address is in use.
    """
    dispatcher.compile(dispatcher._declared)
    (result,) = dispatcher.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def call_address(
    context: Any,
    builder: Any,
    address: Any,
    result: Any,
    arguments: Sequence[Any],
    values: Sequence[Any],
) -> Any:
    """IR for the call of a kernel at `address` by numba's own convention; returns its result.

    result, arguments : numba types of the kernel, values : IR values of the arguments. Kernels
    raise nothing, so the status is not looked at.
    """
    function_type = context.call_conv.get_function_type(result, arguments)
    pointer = builder.inttoptr(address, function_type.as_pointer())
    # in the caller's entry block: an alloca inside a loop would take more stack at every turn
    result_slot = cgutils.alloca_once(builder, context.get_value_type(result), zfill=True)
    error_slot = cgutils.alloca_once(builder, function_type.args[1].pointee, zfill=True)
    builder.call(pointer, [result_slot, error_slot, *values])
    return builder.load(result_slot)
