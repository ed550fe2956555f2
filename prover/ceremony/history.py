"""Whether powers of tau came about by the contributions that their file names.

For a contribution with shares t, a, b of tau, alpha, beta, and s' hashed from the challenge before
it, a number 0, 1 or 2, s and s x:

    e(s x, s') = e(s, s' x)                                      for each share x: it was known
    tau_1, alpha_1, beta_1 went up by t, a, b                    compared with (s', s' x)
    tau_2, beta_2 went up by t, b                                compared with (s, s x)
    a beacon's keys are those that its hashes draw

The powers of the file are those after the last contribution. Where the file is the whole ceremony's
and not truncated, its bytes hash to the challenge after the last:

    challenge = H( H(response) | tau_1 ... | tau_2 ... | alpha_1 ... | beta_1 ... | beta_2 )

and the challenge before the first is that of generators alone. Responses are gone; of each the file
has a state of its hash. Source: snarkjs 0.7.6, src/powersoftau_verify.js, keypair.js.
"""

from __future__ import annotations

import os
from hashlib import blake2b, sha256

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend
from kernels.reference import mul_g1
from prover.ceremony.beacon_limit import DEFAULT_EXPONENT_LIMIT, BeaconLimit
from prover.ceremony.blake import finish
from prover.ceremony.draws import Draws, hash_to_g2
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR, have_same_ratio
from prover.ceremony.transcript import encode_big_endian
from prover.errors import CeremonyInvalid
from prover.formats.binfile import BinFile
from prover.formats.contributions import HASH_BYTES
from prover.formats.power_contributions import (
    After,
    History,
    PowerContribution,
    Share,
    read_history,
)
from prover.formats.ptau import ALPHA_1, BETA_1, BETA_2, TAU_1, TAU_2, Powers
from prover.progress import StageProgress, silent

_AT_ONCE = 1 << 16  # points
_NAMES = ("tau", "alpha", "beta")
_FIRST = After(
    tau_1=G1_GENERATOR,
    tau_2=G2_GENERATOR,
    alpha_1=G1_GENERATOR,
    beta_1=G1_GENERATOR,
    beta_2=G2_GENERATOR,
)


def require_history(
    path: str | os.PathLike[str],
    powers: Powers,
    backend: Backend,
    *,
    exponent_limit: int = DEFAULT_EXPONENT_LIMIT,
    progress: StageProgress = silent,
) -> History:
    """The history of a file, which led to these powers of it.

    powers         : tested (`prover.ceremony.phase1`)
    exponent_limit : of all beacons together
    cost           : hashes 384 bytes for each power of the ceremony, and once more those of the
                     file if it is whole; some 50 ms for each contribution
    raises         : CeremonyInvalid, which names the first thing that is wrong; FormatError
    """
    history = read_history(path)
    if not history.contributions:
        raise CeremonyInvalid("nobody contributed to the powers of tau, and everybody knows tau")
    challenge, before = _hash_first(history.ceremony_power, progress), _FIRST
    limit = BeaconLimit(exponent_limit)
    for i, one in enumerate(history.contributions):
        progress("contributions to powers", i, len(history.contributions))
        fault = limit.take(one.origin) or _find_fault(one, challenge, before, backend)
        if fault is not None:
            name = f" ({one.origin.label!r})" if one.origin.name else ""
            raise CeremonyInvalid(f"contribution {i + 1}{name} to the powers of tau {fault}")
        challenge, before = one.next_challenge, one.after
    progress("contributions to powers", len(history.contributions), len(history.contributions))
    if all(one.origin.is_public for one in history.contributions):
        raise CeremonyInvalid("nobody but beacons contributed to the powers of tau: all know tau")
    _require_end(powers, before)
    if history.power == history.ceremony_power:
        last = history.contributions[-1]
        if _hash_whole(path, history.power, _hash_response(last)) != last.next_challenge:
            raise CeremonyInvalid("the powers of tau do not hash to the challenge after them")
    return history


def _find_fault(
    one: PowerContribution, challenge: bytes, before: After, backend: Backend
) -> str | None:
    shares = (one.tau, one.alpha, one.beta)
    points = [_hash_to_point(i, challenge, share) for i, share in enumerate(shares)]
    for name, share, sp in zip(_NAMES, shares, points, strict=True):
        if not have_same_ratio(share.s, share.s_x, sp, share.spx):
            return f"does not prove that it knew its share of {name}"
    after = one.after
    for name, share, sp, then, now in (
        ("tau", one.tau, points[0], before.tau_1, after.tau_1),
        ("alpha", one.alpha, points[1], before.alpha_1, after.alpha_1),
        ("beta", one.beta, points[2], before.beta_1, after.beta_1),
    ):
        if not have_same_ratio(then, now, sp, share.spx):
            return f"has another share than its {name} in G1"
    if not have_same_ratio(one.tau.s, one.tau.s_x, before.tau_2, after.tau_2):
        return "has another share than its tau in G2"
    if not have_same_ratio(one.beta.s, one.beta.s_x, before.beta_2, after.beta_2):
        return "has another share than its beta in G2"
    return _find_beacon_fault(one, points, backend)


def _find_beacon_fault(
    one: PowerContribution, points: list[G2Array], backend: Backend
) -> str | None:
    exponent, beacon = one.origin.exponent, one.origin.beacon
    if exponent is None or beacon is None:
        return None
    digest = beacon
    for _ in range(1 << exponent):
        digest = sha256(digest).digest()
    draws = Draws(digest)
    secrets = [draws.scalar() for _ in range(3)]
    for share, secret, sp in zip((one.tau, one.alpha, one.beta), secrets, points, strict=True):
        s = draws.point_g1()
        drawn = G1Array.from_ints([s, mul_g1(secret, s)])
        spx = backend.msm_g2(FrArray.from_ints([secret]), sp)
        if not drawn.equals(G1Array.concat([share.s, share.s_x])) or not spx.equals(share.spx):
            return "is not what its beacon draws"
    return None


def _hash_to_point(number: int, challenge: bytes, share: Share) -> G2Array:
    points = encode_big_endian(G1Array.concat([share.s, share.s_x]))
    return hash_to_g2(blake2b(bytes([number]) + challenge + points).digest())


def _hash_response(one: PowerContribution) -> bytes:
    shares = (one.tau, one.alpha, one.beta)
    g1 = G1Array.concat([point for share in shares for point in (share.s, share.s_x)])
    g2 = G2Array.concat([share.spx for share in shares])
    return finish(one.state, encode_big_endian(g1) + encode_big_endian(g2))


def _hash_first(power: int, progress: StageProgress) -> bytes:
    """The challenge before the first contribution: of a ceremony's powers when all are one."""
    hasher = blake2b(blake2b(digest_size=HASH_BYTES).digest(), digest_size=HASH_BYTES)
    n = 1 << power
    g1, g2 = encode_big_endian(G1_GENERATOR), encode_big_endian(G2_GENERATOR)
    for i, (point, count) in enumerate(((g1, 2 * n - 1), (g2, n), (g1, n), (g1, n), (g2, 1))):
        progress("first challenge", i, 5)
        many = point * min(count, _AT_ONCE)
        for _ in range(count // _AT_ONCE):
            hasher.update(many)
        hasher.update(point * (count % _AT_ONCE))
    progress("first challenge", 5, 5)
    return hasher.digest()


def _hash_whole(path: str | os.PathLike[str], power: int, response: bytes) -> bytes:
    """The challenge after a response, from all powers of the file."""
    hasher, n = blake2b(response, digest_size=HASH_BYTES), 1 << power
    counts = {TAU_1: 2 * n - 1, TAU_2: n, ALPHA_1: n, BETA_1: n, BETA_2: 1}
    with BinFile(path, magic=b"ptau", versions=(1,)) as file:
        for section, count in counts.items():
            kind = G2Array if section in (TAU_2, BETA_2) else G1Array
            for first in range(0, count, _AT_ONCE):
                size = min(_AT_ONCE, count - first)
                words = file.part(section, 8 * kind.WORDS * first, kind.WORDS * size, kind.WORDS)
                hasher.update(encode_big_endian(kind(words)))
    return hasher.digest()


def _require_end(powers: Powers, last: After) -> None:
    for name, own, wanted in (
        ("tau in G1", powers.tau_1[1:2], last.tau_1),
        ("alpha in G1", powers.alpha_1[:1], last.alpha_1),
        ("beta in G1", powers.beta_1[:1], last.beta_1),
    ):
        if not own.equals(wanted):
            raise CeremonyInvalid(f"{name} is not what the last contribution to the powers left")
    for name, of_g2, left in (
        ("tau in G2", powers.tau_2[1:2], last.tau_2),
        ("beta in G2", powers.beta_2, last.beta_2),
    ):
        if not of_g2.equals(left):
            raise CeremonyInvalid(f"{name} is not what the last contribution to the powers left")
