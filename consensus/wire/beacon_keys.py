"""Public keys of the beacon's shares, and that they are shares of one key.

F(0) is the group's key and F(i) that of validator i - 1, i from 1 to n, each times the generator of
G2. They lie on a polynomial F of degree f at most if and only if, for every polynomial g of degree
n - f - 1 at most,

    sum_(i = 0..n) (-1)^i C(n, i) g(i) F(i) = 0

since the n-th difference of what has a degree below n vanishes, and these weights span the dual of
that code, which has n - f dimensions. One g with coefficients of a hash of the keys is tried: keys
on no such F pass it for one g in r. The degree is f and not less if the f-th difference at 0, f!
times the leading coefficient, is not 0; else fewer than f + 1 validators could sign.

Source: Cascudo, David, SCRAPE, eprint.iacr.org/2017/216, section 2.1. By pairings, since a node
loads no sums in G2: 0.2 ms for each key.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import shake_256
from math import comb

from consensus.errors import GenesisInvalid
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, R
from kernels.cpu.words import group
from kernels.encoding import Refused, decode_g2, encode_g2
from kernels.pairing import pairing_product_is_one

_DOMAIN = b"zkpot beacon keys v1\x00"
_WIDE_BYTES = 48  # of a number that is uniform mod r but for 2^-130


def decode_share_keys(where: str, keys: Sequence[bytes]) -> G2Array:
    """Compressed points as they are in a genesis. GenesisInvalid names the place."""
    points = decode_g2(b"".join(keys), len(keys), backend=group)
    if isinstance(points, Refused) or not points.data.any(axis=1).all():
        raise GenesisInvalid(where, "is no compressed point of order r in G2")
    return points


def require_one_sharing(group_key: G2Array, shares: G2Array, n_faulty: int) -> None:
    """The keys are those of one secret of which f + 1 of n shares are needed, and suffice.

    group_key : length 1
    shares    : by validator, length n
    raises    : GenesisInvalid; which key is at fault only who dealt them can tell
    """
    keys, n, f = G2Array.concat([group_key, shares]), len(shares), n_faulty
    g = _draw(keys, n - f)
    if not _vanishes([(-1) ** i * comb(n, i) * evaluate(g, i) for i in range(n + 1)], keys):
        raise GenesisInvalid(
            "validators.beacon_share",
            f"do not lie with beacon_key on one polynomial of degree {f}",
        )
    if _vanishes([(-1) ** i * comb(f, i) for i in range(f + 1)], keys[: f + 1]):
        raise GenesisInvalid(
            "validators.beacon_share",
            f"lie on a polynomial of a degree below {f}, so that fewer than {f + 1} validators "
            "could sign",
        )


def _draw(keys: G2Array, n_coefficients: int) -> list[int]:
    seed = shake_256(_DOMAIN + encode_g2(keys)).digest(n_coefficients * _WIDE_BYTES)
    cut = (seed[i : i + _WIDE_BYTES] for i in range(0, len(seed), _WIDE_BYTES))
    return [int.from_bytes(part, "little") % R for part in cut]


def evaluate(coefficients: Sequence[int], x: int) -> int:
    """The polynomial at x, mod r. coefficients : the constant first"""
    value = 0
    for c in reversed(coefficients):
        value = (value * x + c) % R
    return value


def _vanishes(weights: Sequence[int], keys: G2Array) -> bool:
    """Whether the weighted sum of the keys is infinity."""
    scalars = FrArray.from_ints([w % R for w in weights])
    return pairing_product_is_one(
        group.mul_g1(scalars, G1Array.from_ints([G1] * len(weights))), keys
    )
