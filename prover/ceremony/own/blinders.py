"""Blinders of a ceremony's keys: points whose logarithms nobody knows, nor all makers together.

    eta_0 = hash_to_g1(0; tag) of the advice,    eta_(g + 1) = hash_to_g1(g + 1; tag) of group g

(eight bytes each, little-endian). A setup by one party draws eta; here no share of it is needed.
"""

from __future__ import annotations

from kernels.array import G1Array
from kernels.hash_to_curve import hash_to_g1

TAG = b"zkpot/v1/ceremony-blinder"


def derive_blinders(n_linked: int) -> G1Array:
    """eta_0 to eta_(n_linked)."""
    found = [hash_to_g1(i.to_bytes(8, "little"), TAG) for i in range(1 + n_linked)]
    assert None not in found, "one hash in r is infinity"
    return G1Array.from_ints(found)
