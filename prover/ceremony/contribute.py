"""A share of delta: the new key, and the proof that who made it knew the share.

    delta' = x delta      C' = C / x      H' = H / x      everything else stays

The share x is a secret until it is forgotten: whoever knows all shares of a key forges proofs under
it. One share that nobody knows is enough. A share that a beacon draws is known to everybody; it
keeps the last contributor from choosing the key.
"""

from __future__ import annotations

from dataclasses import replace

from kernels.array import FrArray, G1Array
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.cpu.backend import CpuBackend
from prover.ceremony.beacon_limit import BEACON_BYTES
from prover.ceremony.draws import MAX_EXPONENT, MIN_EXPONENT, draw_by_beacon, hash_to_g2
from prover.ceremony.ratios import G1_GENERATOR
from prover.ceremony.transcript import compute_transcript
from prover.errors import FieldInvalid
from prover.formats.contributions import (
    MAX_NAME_LENGTH,
    Ceremony,
    Contribution,
    Origin,
)
from prover.formats.key_sections import KeySections
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_nonzero_scalar


def contribute(
    key: KeySections,
    name: str,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress = silent,
) -> KeySections:
    """The key with a share that is drawn and forgotten here. Nothing of the key is verified.

    random_bytes : cryptographic; the share rests on it
    raises       : FieldInvalid for a name that snarkjs would cut
    """
    share = draw_nonzero_scalar(random_bytes)
    scalars = FrArray.from_ints([draw_nonzero_scalar(random_bytes)])
    s = backend.fixed_base_g1(scalars, G1_GENERATOR)
    s_x = backend.msm_g1(FrArray.from_ints([share]), s)
    return _apply(key, share, s, s_x, Origin(name=_encode_name(name)), backend, progress)


def contribute_beacon(
    key: KeySections,
    name: str,
    beacon: bytes,
    exponent: int,
    *,
    backend: Backend,
    progress: StageProgress = silent,
) -> KeySections:
    """The key with the share that a beacon draws by 2^exponent hashes: the same for everybody.

    raises : FieldInvalid for a name, beacon or exponent that snarkjs would not take
    """
    if not 1 <= len(beacon) <= BEACON_BYTES:
        raise FieldInvalid(f"has {len(beacon)} bytes, not 1 to {BEACON_BYTES}", where="beacon")
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT:
        raise FieldInvalid(f"is not {MIN_EXPONENT} to {MAX_EXPONENT}", where="exponent")
    label = _encode_name(name)
    share, s, s_x = draw_by_beacon(beacon, exponent)
    origin = Origin(name=label, exponent=exponent, beacon=beacon)
    return _apply(key, share, s, s_x, origin, backend, progress)


def _apply(
    key: KeySections,
    share: int,
    s: G1Array,
    s_x: G1Array,
    origin: Origin,
    backend: Backend,
    progress: StageProgress,
) -> KeySections:
    x, inverse, cpu = FrArray.from_ints([share]), pow(share, -1, R), CpuBackend()
    before = key.ceremony
    transcript = compute_transcript(before.circuit_hash, before.contributions, s, s_x)
    delta_1 = backend.msm_g1(x, key.delta_1)
    contribution = Contribution(
        delta_after=delta_1,
        s=s,
        s_x=s_x,
        spx=backend.msm_g2(x, hash_to_g2(transcript)),
        transcript=transcript,
        origin=origin,
    )
    progress("scaling", 0, 2)
    c = cpu.scale_g1(inverse, key.c)
    progress("scaling", 1, 2)
    h = cpu.scale_g1(inverse, key.h)
    progress("scaling", 2, 2)
    return replace(
        key,
        delta_1=delta_1,
        delta_2=backend.msm_g2(x, key.delta_2),
        c=c,
        h=h,
        ceremony=Ceremony(
            circuit_hash=before.circuit_hash,
            contributions=(*before.contributions, contribution),
        ),
    )


def _encode_name(name: str) -> bytes | None:
    """UTF-8; None for no name."""
    if any(0xD800 <= ord(unit) < 0xE000 for unit in name):
        raise FieldInvalid("is no text", where="name")
    if len(name.encode("utf-16-le")) // 2 > MAX_NAME_LENGTH:
        raise FieldInvalid(f"is longer than {MAX_NAME_LENGTH} characters", where="name")
    return name.encode() or None
