"""Calls through addresses: a large kernel is compiled once and not into each of its callers.

numba links the code of a callee into every caller and optimizes it there again. For the few kernels
that hold the bulk of the code (batched additions over field arithmetic) that would multiply compile
time, so their callers take an address instead.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target

from kernels.cpu.compile.emit import I64, Emitter, SignedFunction, Value
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


def make_call(n_operands: int) -> Callable[..., int]:
    """call(address, *operands) for numba code, of a kernel from int64 operands to an int64.

    By numba's own convention. Kernels raise nothing, so the status is not looked at.
    """

    def body(e: Emitter, address: Value, *operands: Value) -> Value:
        convention = cpu_target.target_context.call_conv
        kind = convention.get_function_type(types.int64, [types.int64] * n_operands)
        # in the caller's entry block: an alloca inside a loop would take more stack at every turn
        result = cgutils.alloca_once(e.builder, I64, zfill=True)
        error = cgutils.alloca_once(e.builder, kind.args[1].pointee, zfill=True)
        kernel = e.builder.inttoptr(address, kind.as_pointer())
        e.builder.call(kernel, [result, error, *operands])
        return e.builder.load(result)

    return SignedFunction(
        f"call{n_operands}", "i" * (1 + n_operands), body, inline=True
    ).intrinsic()
