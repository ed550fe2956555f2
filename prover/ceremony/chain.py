"""Whether a key came from a circuit and powers of tau by the contributions that it names.

For contribution i with share x, s' hashed from its transcript, delta_0 = [1]:

    its transcript is the hash of all before it, s and s x
    e(s x, s') = e(s, s' x)                             it knew x
    e(delta_i, s') = e(delta_(i-1), s' x)               and x is the ratio of the deltas
    a beacon's s and s x are those that its hashes draw

delta is not +-1; then, with the first key of the circuit made again:

    circuit hash, header and sections 3 to 7 are the first key's
    e([1], delta_2) = e(delta_1, [1])
    e(sum rho_k C_k, delta_2) = e(sum rho_k C_k of the first key, [1])          H alike

Source: snarkjs 0.7.6, src/zkey_verify_frominit.js.
"""

from __future__ import annotations

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from kernels.cpu.words.group import neg_g1
from kernels.pairing import pairing_product_is_one
from prover.ceremony.beacon_limit import DEFAULT_EXPONENT_LIMIT, BeaconLimit
from prover.ceremony.draws import draw_by_beacon, hash_to_g2
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR, draw_weights, have_same_ratio
from prover.ceremony.transcript import Transcript
from prover.errors import CeremonyInvalid
from prover.formats.contributions import Ceremony, Contribution
from prover.formats.key_sections import NAMES, UNCHANGED, C, H, KeySections
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes


def require_chain(
    key: KeySections,
    initial: KeySections,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    exponent_limit: int = DEFAULT_EXPONENT_LIMIT,
    progress: StageProgress = silent,
) -> None:
    """Returns for a key that its contributions made of the first one.

    key, initial   : as `read_sections` and `make_initial` give them, points in their groups
    random_bytes   : cryptographic; a wrong point passes with probability 2^-128 at most
    exponent_limit : of all beacons together; more is refused, since a file could name 2^63 hashes
    raises         : CeremonyInvalid, which names the first thing that is wrong
    """
    _require_contributions(key.ceremony, exponent_limit, progress)
    _require_head(key, initial)
    for section in UNCHANGED:
        if not np.array_equal(key.kept[section], initial.kept[section]):
            raise CeremonyInvalid(f"section {section} ({NAMES[section]}) is not the circuit's")
    progress("ratios", 0, 2)
    _require_scaled(C, key.c, initial.c, key, random_bytes, backend)
    progress("ratios", 1, 2)
    _require_scaled(H, key.h, initial.h, key, random_bytes, backend)
    progress("ratios", 2, 2)


def _require_contributions(
    ceremony: Ceremony, exponent_limit: int, progress: StageProgress
) -> None:
    found = ceremony.contributions
    if not found:
        raise CeremonyInvalid("nobody contributed: delta is one, and anybody can forge proofs")
    delta, transcript = G1_GENERATOR, Transcript(ceremony.circuit_hash)
    limit = BeaconLimit(exponent_limit)
    for i, one in enumerate(found):
        progress("contributions", i, len(found))
        fault = limit.take(one.origin) or _find_fault(one, transcript, delta)
        if fault is not None:
            name = f" ({one.origin.label!r})" if one.origin.name else ""
            raise CeremonyInvalid(f"contribution {i + 1}{name} {fault}")
        delta = one.delta_after
        transcript.add(one)
    progress("contributions", len(found), len(found))
    if all(one.origin.is_public for one in found):
        raise CeremonyInvalid("nobody contributed but a beacon: anybody can forge proofs")
    if np.array_equal(delta.data[:, :4], G1_GENERATOR.data[:, :4]):  # +-[1], of all shares
        raise CeremonyInvalid("delta is one or minus one, and anybody can forge proofs")


def _find_fault(one: Contribution, transcript: Transcript, delta: G1Array) -> str | None:
    """What is wrong with a contribution to a key of this transcript and delta; or None."""
    if transcript.finish(one.s, one.s_x) != one.transcript:
        return "has the transcript of another place"
    sp = hash_to_g2(one.transcript)
    if not have_same_ratio(one.s, one.s_x, sp, one.spx):
        return "does not prove that it knew its share"
    if not have_same_ratio(delta, one.delta_after, sp, one.spx):
        return "has another share than its delta"
    return _find_beacon_fault(one)


def _find_beacon_fault(one: Contribution) -> str | None:
    exponent, beacon = one.origin.exponent, one.origin.beacon
    if exponent is None or beacon is None:
        return None
    _, s, s_x = draw_by_beacon(beacon, exponent)
    return None if s.equals(one.s) and s_x.equals(one.s_x) else "is not what its beacon draws"


def _require_head(key: KeySections, initial: KeySections) -> None:
    if key.counts != initial.counts:
        names = ("wires", "public wires", "rows")
        differing = zip(names, key.counts, initial.counts, strict=True)
        what = "; ".join(f"{a} {name}, not {b}" for name, a, b in differing if a != b)
        raise CeremonyInvalid(f"the key is of another circuit: {what}")
    for name in ("alpha_1", "beta_1", "beta_2", "gamma_2"):
        if not getattr(key, name).equals(getattr(initial, name)):
            raise CeremonyInvalid(f"{name} in the header is not that of the powers of tau")
    if not key.delta_1.equals(key.ceremony.contributions[-1].delta_after):
        raise CeremonyInvalid("delta_1 in the header is not that of the last contribution")
    if not have_same_ratio(G1_GENERATOR, key.delta_1, G2_GENERATOR, key.delta_2):
        raise CeremonyInvalid("delta_2 in the header is of another delta than delta_1")
    if key.ceremony.circuit_hash != initial.ceremony.circuit_hash:
        raise CeremonyInvalid("the circuit hash is of another circuit, or of other powers of tau")


def _require_scaled(
    section: int,
    points: G1Array,
    first: G1Array,
    key: KeySections,
    random_bytes: RandomBytes,
    backend: Backend,
) -> None:
    """The points times delta are the first ones."""
    weights = draw_weights(len(points), random_bytes)
    own, of_first = backend.msm_g1(weights, points), backend.msm_g1(weights, first)
    pair = G1Array.concat([own, neg_g1(of_first)])
    if not pairing_product_is_one(pair, G2Array.concat([key.delta_2, G2_GENERATOR])):
        raise CeremonyInvalid(f"section {section} ({NAMES[section]}) is not the first over delta")
