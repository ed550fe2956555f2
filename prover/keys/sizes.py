"""How many bytes the files of a key take, exactly, from the counts of its circuit alone."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.encoding import G1_BYTES, G2_BYTES
from prover.circuit.sizes import CircuitSizes
from prover.keys.halves import ARRAYS, VerifyingKey, count_blinders, count_links
from prover.keys.proving_file import count_file_bytes
from prover.wire.kinds import DIGEST_BYTES, NUMBER_BYTES
from prover.wire.records import LENGTH_BYTES

_G1, _G2 = 2 * G1_BYTES, 2 * G2_BYTES  # not compressed
_DIGESTS, _G2_POINTS, _FIELDS = 4, 3, 8  # of a verifying key; its alpha is one field with `public`


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBytes:
    """Bytes of a key with one linked group.

    proving, verifying : of the two files; the card, a few hundred, lies beside them
    bases              : of the proving half, the points of its sums alone
    """

    proving: int
    verifying: int
    bases: int


def count_key_bytes(sizes: CircuitSizes) -> KeyBytes:
    """What `prover.keys.folder.save_key` writes for a circuit of these sizes."""
    lengths = _count_items(sizes)
    of_arrays = [lengths[a.name] * a.item_bytes for a in ARRAYS]
    return KeyBytes(
        proving=count_file_bytes(of_arrays),
        verifying=_count_verifying(sizes),
        bases=sum(n for n, a in zip(of_arrays, ARRAYS, strict=True) if a.role.is_sum),
    )


def _count_items(sizes: CircuitSizes) -> dict[str, int]:
    """Lengths of the arrays of a key, by their names."""
    n_a, n_b, n_c = sizes.occurring
    return {
        "a_wires": n_a,
        "b_wires": n_b,
        "c_wires": n_c,
        "a": n_a + 2,
        "b1": n_b + 2,
        "b2": n_b + 2,
        "c": n_c,
        "h": sizes.domain,
        "advice": sizes.n_advice + 1 if sizes.n_advice else 0,
        "basis": count_links([sizes.n_model]),
        "link": count_links([sizes.n_model]),
        "correction": 2 + count_blinders(1),
    }


def _count_verifying(sizes: CircuitSizes) -> int:
    return (
        len(VerifyingKey.HEADER)
        + _FIELDS * LENGTH_BYTES
        + _DIGESTS * DIGEST_BYTES
        + NUMBER_BYTES
        + _G1 * (2 + sizes.n_public)  # alpha; the constant one and the public wires
        + _G2 * (_G2_POINTS + count_blinders(1))
    )
