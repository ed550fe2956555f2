"""Section 7 of a ptau: who has a share in tau, alpha and beta, and proofs that each knew its own.

    count u32 | count x
        ( after: tau G1 | tau G2 | alpha G1 | beta G1 | beta G2
          | of tau, alpha, beta each: s G1 | s x G1 | then of each: s' x G2
          | state of a hash [216] | next challenge [64] | origin )

    state : 128 bytes waiting | h, 8 x u64 | bytes hashed u64 | bytes waiting u64 | 8 unused

Origins are as in `prover.formats.contributions`. The state is that of BLAKE2b-512 over the response
of the contributor, all but the nine points of its key.
Source: snarkjs 0.7.6, src/powersoftau_utils.js, misc.js (fromPartialHash).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g1
from prover.errors import FormatError
from prover.formats.binfile import REGENERATE, BinFile
from prover.formats.checks import is_infinity
from prover.formats.contributions import HASH_BYTES, Origin, decode_origin
from prover.formats.ptau import CONTRIBUTIONS, read_header

STATE_BYTES = 216
_WAITING = 128
# Words of each point, in the order of the file: after, pairs of s and s x, then s' x.
_LAYOUT = (8, 16, 8, 8, 16, *[8] * 6, *[16] * 3)
_POINT_BYTES = 8 * sum(_LAYOUT)
_LEAST_BYTES = _POINT_BYTES + STATE_BYTES + HASH_BYTES + 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """The proof that a contributor knew one of its three shares; points of length 1."""

    s: G1Array
    s_x: G1Array
    spx: G2Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class After:
    """The powers that decide all others, after a contribution; points of length 1."""

    tau_1: G1Array
    tau_2: G2Array
    alpha_1: G1Array
    beta_1: G1Array
    beta_2: G2Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerContribution:
    """One contribution. Points are in their groups and finite."""

    after: After
    tau: Share
    alpha: Share
    beta: Share
    state: bytes
    next_challenge: bytes
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """What a file says of how it came about: its power, that of the ceremony, who took part."""

    power: int
    ceremony_power: int
    contributions: tuple[PowerContribution, ...]


def read_history(path: str | os.PathLike[str]) -> History:
    """Section 7 of a file. Raises FormatError; OSError as `open` does."""
    with BinFile(path, magic=b"ptau", versions=(1,)) as file:
        power, whole = read_header(file)
        raw, where = file.read(CONTRIBUTIONS), file.where(CONTRIBUTIONS)
    return History(power=power, ceremony_power=whole, contributions=_decode_all(raw, where))


def _decode_all(raw: bytes, where: str) -> tuple[PowerContribution, ...]:
    if len(raw) < 4:
        raise _refuse("too short for a count", where)
    (count,) = struct.unpack_from("<I", raw)
    if len(raw) < 4 + count * _LEAST_BYTES:
        raise _refuse(f"too short for {count} contributions", where)
    position, found = 4, []
    for i in range(count):
        one, position = _decode(raw, position, f"{where}, contribution {i + 1}")
        found.append(one)
    if position != len(raw):
        raise _refuse(f"{len(raw) - position} bytes follow the last contribution", where)
    return tuple(found)


def _decode(raw: bytes, position: int, where: str) -> tuple[PowerContribution, int]:
    if position + _LEAST_BYTES > len(raw):
        raise _refuse("ends too early", where)
    words = np.frombuffer(raw, dtype="<u8", count=_POINT_BYTES // 8, offset=position)
    parts = np.split(words.astype(np.uint64), np.cumsum(_LAYOUT)[:-1])
    g1 = G1Array(np.stack([part for part in parts if len(part) == 8]))
    g2 = G2Array(np.stack([part for part in parts if len(part) == 16]))
    is_valid = is_on_curve_g1(g1).all() and is_in_subgroup_g2(g2).all()
    if not is_valid or is_infinity(g1).any() or is_infinity(g2).any():
        raise _refuse("a point is infinity or outside its group", where)
    position += _POINT_BYTES
    state = raw[position : position + STATE_BYTES]
    if int.from_bytes(state[200:208], "little") > _WAITING:
        raise _refuse("the state of its hash is none", where)
    position += STATE_BYTES
    challenge = raw[position : position + HASH_BYTES]
    origin, end = decode_origin(raw, position + HASH_BYTES, where)
    tau, alpha, beta = (
        Share(s=g1[3 + 2 * i :][:1], s_x=g1[4 + 2 * i :][:1], spx=g2[2 + i :][:1]) for i in range(3)
    )
    after = After(tau_1=g1[:1], tau_2=g2[:1], alpha_1=g1[1:2], beta_1=g1[2:3], beta_2=g2[1:2])
    found = PowerContribution(
        after=after,
        tau=tau,
        alpha=alpha,
        beta=beta,
        state=state,
        next_challenge=challenge,
        origin=origin,
    )
    return found, end


def _refuse(what: str, where: str) -> FormatError:
    return FormatError(what, where=where, next_step=REGENERATE)
