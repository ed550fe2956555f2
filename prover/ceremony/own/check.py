"""Whether a ceremony's states and contributions are what they say: for contributors and verifiers.

The chain, of records alone: every contribution's proof of knowledge holds at its place, and a
beacon's shares are those that it draws. A state, against the first key in one pass, whatever lies
between; with random weights r,

    queries but for their last point, wires, bases of linked groups     as in the first key
    e(sum r X, delta)     = e(sum r X_first, [1])          X of C, H and blinders over delta
    e(sum r X, delta_A)   = e(sum r X_first, [1])          X of the advice and its blinder
    e(sum r P, [1])       = prod_g e(sum r h_i, C1_g) e(sum r K, C2)      h_0 and eta's among them
    e(delta_1, [1])       = e([1], delta), delta_1 at the ends of A, B1 and in the correction

Intermediate states are needed by nobody: shares multiply delta and delta_A, and k1, k2 add up.
That the first key is the circuit's is asked by making it again (`prover.ceremony.own.first`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend
from kernels.cpu.words.group import neg_g1
from kernels.pairing import pairing_product_is_one
from prover.ceremony.beacon_limit import DEFAULT_EXPONENT_LIMIT, BeaconLimit
from prover.ceremony.own.record import Anchors, Contribution, Transcript, follow
from prover.ceremony.own.shares import apply, draw_shares, is_proven, listen
from prover.ceremony.own.state import DELTA_ENDS, OVER_DELTA, State, list_pieces
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR, draw_weights, have_same_ratio
from prover.errors import CeremonyInvalid
from prover.keys.halves import KeyArray, Role
from prover.keys.streamed import PIECE
from prover.pedersen.bases import load_bases
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes


def require_chain(
    transcript: Transcript,
    backend: Backend,
    *,
    exponent_limit: int = DEFAULT_EXPONENT_LIMIT,
    progress: StageProgress = silent,
) -> Anchors:
    """The anchors that the contributions lead to. Raises CeremonyInvalid, naming the first fault.

    exponent_limit : of all beacons together
    cost : some 10 ms for each contribution
    """
    before, limit = Anchors.first(transcript.head.n_linked), BeaconLimit(exponent_limit)
    n = len(transcript.contributions)
    place = next(transcript.list_places())
    for i, one in enumerate(transcript.contributions):
        progress("contributions", i, n)
        fault = _find_fault(one, before, place, limit, backend)
        if fault is not None:
            name = f" ({one.change.label!r})" if one.change.name else ""
            raise CeremonyInvalid(f"contribution {i + 1}{name} {fault}")
        before, place = one.change.anchors, follow(place, one)
    progress("contributions", n, n)
    return before


def _find_fault(
    one: Contribution, before: Anchors, place: bytes, limit: BeaconLimit, backend: Backend
) -> str | None:
    change = one.change
    if change.beacon and (fault := limit.take_hashes(change.exponent)) is not None:
        return fault
    if not is_proven(one, before, place, backend):
        return "does not prove, at this place, that it knew its shares"
    if change.beacon:
        source = listen(change.beacon, change.exponent, place)
        shares = draw_shares(source, len(before.links) - 1)
        if not apply(shares, before, backend).points.equals(change.anchors.points):
            return "is not what its beacon draws"
    return None


def require_contributors(transcript: Transcript) -> None:
    """CeremonyInvalid unless somebody contributed: what beacons draw is known to everybody."""
    if all(one.change.beacon for one in transcript.contributions):
        raise CeremonyInvalid("nobody contributed but a beacon: anybody can forge proofs")


def require_beacon(transcript: Transcript) -> None:
    """CeremonyInvalid unless a beacon closes the ceremony; when it became known nothing here tells.

    Without one the last contributor may have drawn shares until its key suited it.
    """
    if not transcript.contributions or not transcript.contributions[-1].change.beacon:
        raise CeremonyInvalid(
            "no beacon closes the ceremony, and the key is not known by its digest (--key-digest)"
        )


def require_secret(anchors: Anchors) -> None:
    """CeremonyInvalid for anchors of secrets that everybody knows: shares that multiply to one, or
    secrets that are one and the same, or opposite.

    With a k1 in common one group's wires are linked into another's commitment; with k1 = k2 what is
    taken from D' is put into D, whatever point it is. A program that draws one share for all makes
    such a key of shares that nobody knows.
    """
    if not anchors.links.data.any(axis=1).all():
        raise CeremonyInvalid("a link has no secret: anybody can forge proofs")
    points = G2Array.concat([G2_GENERATOR, anchors.points])
    abscissas = {row.tobytes() for row in points.data[:, :8]}
    if len(abscissas) < len(points):
        raise CeremonyInvalid(
            "one, delta, delta_A, each k1 and k2 are not secrets of their own: "
            "anybody can forge proofs"
        )


def require_state(
    first: State,
    state: State,
    transcript: Transcript,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress = silent,
) -> None:
    """Returns for the state that the transcript's anchors make of the first.

    transcript   : whose chain holds (`require_chain`)
    random_bytes : cryptographic; a wrong point passes with probability 2^-128 at most
    raises       : CeremonyInvalid, which names the first array that is wrong
    cost         : two sums of half-size scalars for each base that contributions change
    """
    if first.digest != transcript.head.first_digest:
        raise CeremonyInvalid("the first key is not the one that the transcript begins with")
    if state.digest != transcript.state:
        raise CeremonyInvalid("the key is not the one that the last contribution names")
    _require_first(first, transcript, backend)
    if not transcript.contributions:
        return
    if state.shape != first.shape:
        raise CeremonyInvalid("the key has other sizes than the first one")
    _Comparison(first, state, transcript.anchors, random_bytes, backend, progress).run()


def _require_first(first: State, transcript: Transcript, backend: Backend) -> None:
    """A first key, which a stranger may have made, can be multiplied by secrets.

    Off the curve there are points of small order, whose multiples tell shares.
    """
    if len(first.counts.linked) != transcript.head.n_linked:
        raise CeremonyInvalid("the first key has not the linked groups that the transcript tells")
    for array, value in first.arrays.items():
        if array.name in (*OVER_DELTA, "advice", "correction", "basis"):
            for points in list_pieces(value):
                if not backend.is_on_curve_g1(points).all():  # type: ignore[arg-type]
                    raise _altered(array, "of the first key has a point that is not on the curve")


class _Comparison:
    """A state beside the first one."""

    def __init__(
        self,
        first: State,
        state: State,
        anchors: Anchors,
        random_bytes: RandomBytes,
        backend: Backend,
        progress: StageProgress,
    ) -> None:
        self._first, self._state, self._anchors = first, state, anchors
        self._random_bytes, self._backend, self._progress = random_bytes, backend, progress

    def run(self) -> None:
        arrays = list(self._state.arrays)
        for i, array in enumerate(arrays):
            self._progress("arrays", i, len(arrays))
            self._require(array)
        self._require_delta()
        self._progress("arrays", len(arrays), len(arrays))

    def _require(self, array: KeyArray) -> None:
        name, a = array.name, self._anchors
        own, of_first = (s.arrays[array] for s in (self._state, self._first))
        if array.role is Role.WIRES:
            if not np.array_equal(own, of_first):
                raise _altered(array)
        elif name in OVER_DELTA:
            self._require_scaled(array, list_pieces(own), list_pieces(of_first), a.delta)
        elif name == "advice":
            self._require_scaled(array, list_pieces(own), list_pieces(of_first), a.delta_a)
        elif name == "correction":
            self._require_scaled(array, iter([own[1:]]), iter([of_first[1:]]), a.delta)
        elif name == "link":
            self._require_link(array)
        else:
            _require_same(array, own, of_first, n_changed=int(name in DELTA_ENDS))

    def _weigh(self, points: Any) -> FrArray:
        """Weights for points of G1, each of which is on the curve."""
        return draw_weights(len(points), self._random_bytes)

    def _require_scaled(
        self, array: KeyArray, own: Iterator[Any], of_first: Iterator[Any], anchor: G2Array
    ) -> None:
        total, wanted = G1Array.zeros(1), G1Array.zeros(1)
        for points, firsts in zip(own, of_first, strict=True):
            self._require_curve(array, points)
            weights = self._weigh(points)
            total = self._add(total, weights, points)
            wanted = self._add(wanted, weights, firsts)
        pair = G1Array.concat([total, neg_g1(wanted)])
        if not pairing_product_is_one(pair, G2Array.concat([anchor, G2_GENERATOR])):
            raise _altered(array)

    def _require_link(self, array: KeyArray) -> None:
        linked, zeros = self._first.counts.linked, G1Array.zeros(1)
        hashed = load_bases(max(linked), self._progress)
        reading = self._state.read_link()
        total, of_key, of_h = zeros, zeros, [zeros] * len(linked)
        for group, of_group, own in self._first.list_parts_of_link(hashed, PIECE):
            points = reading.take(len(own))
            self._require_curve(array, points)
            weights = self._weigh(points)
            total = self._add(total, weights, points)
            of_h[group] = self._add(of_h[group], weights, of_group)
            of_key = self._add(of_key, weights, own)
        sums = G1Array.concat([neg_g1(total), *of_h, of_key])
        if not pairing_product_is_one(sums, G2Array.concat([G2_GENERATOR, self._anchors.links])):
            raise _altered(array)

    def _require_curve(self, array: KeyArray, points: G1Array) -> None:
        if not self._backend.is_on_curve_g1(points).all():
            raise _altered(array, "has a point that is not on the curve")

    def _add(self, total: G1Array, weights: FrArray, points: G1Array) -> G1Array:
        """The total and sum r X, length 1."""
        own = self._backend.msm_g1(weights, points)
        parts = G1Array.concat([total, own])
        return self._backend.msm_g1(FrArray.from_ints([1] * len(parts)), parts)

    def _require_delta(self) -> None:
        """delta in G1 and G2, wherever it stands."""
        state = self._state
        delta = state.find("correction")[:1]
        self._require_curve(next(a for a in state.arrays if a.name == "correction"), delta)
        ends = [state.find_end(name) for name in DELTA_ENDS]
        of_g1 = [end for end in ends if isinstance(end, G1Array)]
        of_g2 = [end for end in ends if isinstance(end, G2Array)]
        fits = all(end.equals(delta) for end in of_g1)
        fits = fits and all(end.equals(self._anchors.delta) for end in of_g2)
        if not fits or not have_same_ratio(G1_GENERATOR, delta, G2_GENERATOR, self._anchors.delta):
            raise CeremonyInvalid("delta in the key is not that of the last contribution")


def _require_same(array: KeyArray, own: Any, of_first: Any, *, n_changed: int) -> None:
    """Points that no contribution changes, but for the last n_changed."""
    left = len(own)
    for points, firsts in zip(list_pieces(own), list_pieces(of_first), strict=True):
        left -= len(points)
        n = len(points) - (0 if left else n_changed)
        if not np.array_equal(points.data[:n], firsts.data[:n]):
            raise _altered(array)


def _altered(array: KeyArray, what: str = "is not the first key's under these shares") -> Any:
    return CeremonyInvalid(f"{array.stage or array.name} {what}")
