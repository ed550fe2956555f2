"""Calls through addresses: a large kernel is compiled once and not into each of its callers.

numba links the code of a callee into every caller and optimizes it there again. For the few kernels
that hold the bulk of the code (batched additions over field arithmetic) that would multiply compile
time, so their callers take an address instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext

from kernels.cpu.compile.emit import Builder, Value
from kernels.cpu.compile.jit import Kernel


def kernel_address(function: Callable[..., object]) -> int:
    """Address of a `kernel` that was declared with one signature; compiles it if need be.

    The code stays loaded as long as the kernel lives: keep it while the address is in use. Raises
    TypeError for any other function.
    """
    if not isinstance(function, Kernel):
        raise TypeError(f"not a kernel: {function!r}")
    function.compile(function.declared)
    (result,) = function.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def call_address(
    context: BaseContext,
    builder: Builder,
    address: Value,
    result: types.Type,
    arguments: Sequence[types.Type],
    values: Sequence[Value],
) -> Value:
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
