"""Blinders of a ceremony's keys: points whose logarithms nobody knows, nor all makers together.

    advice: hash_to_g1(0; tag)    the proof: hash_to_g1(1; tag)    group g: hash_to_g1(g + 2; tag)

(eight bytes each, little-endian). A setup by one party draws them; here no share is needed.
"""

from __future__ import annotations

from kernels.array import G1Array
from kernels.hash_to_curve import hash_to_g1

TAG = b"zkpot/v2/ceremony-blinder"

_ADVICE, _PROOF, _GROUPS = 0, 1, 2


def derive_blinders(n_linked: int) -> G1Array:
    """eta_A of the advice, eta_g of each linked group, eta: as they follow each other in a key."""
    places = (_ADVICE, *range(_GROUPS, _GROUPS + n_linked), _PROOF)
    found = [hash_to_g1(i.to_bytes(8, "little"), TAG) for i in places]
    assert None not in found, "one hash in r is infinity"
    return G1Array.from_ints(found)
