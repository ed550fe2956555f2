"""F_r elementwise on arrays of a device: uint64[..., 4], Montgomery form unless said otherwise.

Every function returns a new array of the device; none changes its inputs or waits, except where a
result is a number.
"""

from __future__ import annotations

import numpy as np

from kernels.array import FrMont, words_from_ints
from kernels.bn254 import R
from kernels.cuda.launch.runtime import Array, Device, ceil_div, grid_for
from kernels.cuda.plan import ELEMENT_BYTES, plan_inversion

BLOCK = 256
POWERS_RUN = 16  # neighbours made by one thread: about two products per power
MAX_ELEMENTS = (1 << 32) - 1  # indices of zeros have 32 bits
NO_ZERO = (1 << 32) - 1


def combine(device: Device, kernel: str, a: Array, b: Array) -> Array:
    """`add_all`, `sub_all` or `mul_all` of equal shapes."""
    out = device.empty(a.shape, np.uint64)
    n = count(a)
    _launch(device, kernel, n, (out, a, b, np.uint64(n)))
    return out


def multiply_by(device: Device, a: Array, factor: int) -> Array:
    """a * factor / 2^256 of stored words, 0 <= factor < r: scaling, and both changes of form."""
    out = device.empty(a.shape, np.uint64)
    constant = device.upload_constant(words_from_ints([factor]))
    n = count(a)
    _launch(device, "mul_one", n, (out, a, constant, np.uint64(n)))
    return out


def fold(device: Device, a: Array, n: int, level: int) -> Array:
    """a(X) mod X^n - level, shape [n, 4], for at least n coefficients."""
    out = device.empty((n, FrMont.WORDS), np.uint64)
    constant = device.upload_constant(FrMont.from_ints([level]).data)
    _launch(device, "fold_all", n, (out, a, constant, np.uint64(n), np.uint64(count(a))))
    return out


def powers(device: Device, base: int, n: int, first: int = 1) -> Array:
    """first * base^i for 0 <= i < n, shape [n, 4]."""
    out = device.empty((n, FrMont.WORDS), np.uint64)
    squares = [base % R]
    for _ in range(max(n - 1, 1).bit_length() - 1):
        squares.append(squares[-1] * squares[-1] % R)
    table = device.asarray(FrMont.from_ints(squares).data)
    start = device.asarray(FrMont.from_ints([first]).data)
    arguments = (out, start, table, np.uint32(POWERS_RUN), np.uint64(n))
    _launch(device, "powers_all", ceil_div(n, POWERS_RUN), arguments)
    return out


def dot(device: Device, a: Array, b: Array) -> int:
    """sum a_i b_i mod r, as a canonical integer."""
    n = count(a)
    if n == 0:
        return 0
    n_blocks = min(ceil_div(n, BLOCK), 8 * device.n_processors)
    partial = device.empty((n_blocks, FrMont.WORDS), np.uint64)
    total = device.empty((1, FrMont.WORDS), np.uint64)
    module, block, shared = device.load_module("pointwise"), (BLOCK, 1, 1), BLOCK * ELEMENT_BYTES
    module.kernel("dot_all")(
        (n_blocks, 1, 1), block, (partial, a, b, np.uint64(n)), shared_bytes=shared
    )
    module.kernel("sum_all")(
        (1, 1, 1), block, (total, partial, np.uint64(n_blocks)), shared_bytes=shared
    )
    return FrMont(device.to_host(total)).to_ints()[0]


def batch_inverse(device: Device, a: Array) -> Array:
    """1 / a. Raises ZeroDivisionError naming the first zero's index in row-major order.

    cost : 3 products per element, and one power per CHAIN^k elements at the last level k
    """
    n = count(a)
    if n > MAX_ELEMENTS:
        raise ValueError(f"batch_inverse: {n} elements, {MAX_ELEMENTS} at most")
    if n == 0:
        return device.empty(a.shape, np.uint64)
    first_zeros = device.asarray(np.full(2, NO_ZERO, np.uint32))
    inverses = start_inverse(device, a, first_zeros[:1], first_zeros[1:])
    refuse_zero(int(device.to_host(first_zeros)[0]))
    return inverses


def start_inverse(device: Device, a: Array, first_zero: Array, of_products: Array) -> Array:
    """1 / a of at least one element; nothing of meaning if one is zero.

    first_zero  : uint32[1], which falls to the index of the first zero if there is one
    of_products : uint32[1], for those of products of elements
    """
    n, of_level = count(a), first_zero
    prefixes: list[Array] = []
    elements = [a.reshape(n, FrMont.WORDS)]
    for level in plan_inversion(n):
        prefix = device.empty((level.n, FrMont.WORDS), np.uint64)
        products = device.empty((level.n_chains, FrMont.WORDS), np.uint64)
        sizes = np.uint64(level.n_chains), np.uint64(level.n)
        arguments = (prefix, products, of_level, elements[-1], *sizes)
        _launch(device, "chain_products", level.n_chains, arguments)
        of_level = of_products
        prefixes.append(prefix)
        elements.append(products)
    last = elements.pop()
    inverses = device.empty(last.shape, np.uint64)
    _launch(device, "invert_each", len(last), (inverses, last, np.uint64(len(last))))
    for level, prefix in zip(reversed(plan_inversion(n)), reversed(prefixes), strict=True):
        sizes = np.uint64(level.n_chains), np.uint64(level.n)
        arguments = (prefix, prefix, inverses, elements.pop(), *sizes)
        _launch(device, "chain_inverses", level.n_chains, arguments)
        inverses = prefix
    return inverses.reshape(a.shape)


def count(a: Array) -> int:
    """Elements of uint64[..., 4]."""
    return int(a.size) // FrMont.WORDS


def refuse_zero(index: int) -> None:
    """ZeroDivisionError for an index that `start_inverse` found."""
    if index != NO_ZERO:
        raise ZeroDivisionError(f"batch_inverse: element {index} is zero")


def _launch(device: Device, kernel: str, n_threads: int, arguments: tuple[object, ...]) -> None:
    module = device.load_module("pointwise")
    module.kernel(kernel)(grid_for(n_threads, BLOCK), (BLOCK, 1, 1), arguments)
