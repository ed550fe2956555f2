"""Calls through addresses, so that a large kernel is compiled once and not into each of its callers.

numba links the code of a callee into every caller and optimizes it there again. For the few kernels that
hold the bulk of the code (batched additions over inlined field arithmetic) that would multiply compile
time, so their callers take an address instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir


def kernel_address(dispatcher: Any) -> int:
    """Address of a kernel that was declared with one signature; compiles it if need be.

    The code stays loaded as long as the dispatcher lives, which for module-level kernels is for good.
    """
    dispatcher.compile(dispatcher._declared)
    (result,) = dispatcher.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def numba_function(result: Any, arguments: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """(result type, argument types) of a callee, as `call_address` takes them."""
    return result, list(arguments)


def call_address(
    context: Any,
    builder: Any,
    address: Any,
    callee: tuple[Any, Sequence[Any]],
    values: Sequence[Any],
) -> Any:
    """IR for the call of a kernel at `address` by numba's own convention; returns its result.

    Kernels raise nothing, so the status is not looked at.
    """
    result, arguments = callee
    function_type = context.call_conv.get_function_type(result, arguments)
    pointer = builder.inttoptr(address, function_type.as_pointer())
    result_slot = builder.alloca(context.get_value_type(result))
    builder.store(ir.Constant(context.get_value_type(result), None), result_slot)
    error_slot = builder.alloca(function_type.args[1].pointee)
    builder.store(ir.Constant(function_type.args[1].pointee, None), error_slot)
    builder.call(pointer, [result_slot, error_slot, *values])
    return builder.load(result_slot)
