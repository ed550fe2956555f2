"""A contribution to a key of ours: new points, in a new file, and a record of them.

    delta' = d delta                    C, H, blinders over delta    times 1/d
    delta_A' = d_A delta_A              advice and its blinder       times 1/d_A
    P_i' = P_i + k1_g h_i + k2 [K_i]    P_g' = P_g + k1_g h_0 + k2 eta_g    P_eta' = P_eta + k2 eta

**k1_g h_i and k2 [K_i] leave this module as sums only.** Who had them apart, of one contributor,
and of the others by collusion, links any two vectors (`tests/soundness/test_link.py`).

**A state is verified before anything is computed from it.** A share is an oracle otherwise: who
hands out a state with a foreign point X in place of one that follows from others (w*_k of a
committed wire follows from H) gets X/d, for X = K_i of a committed wire the one point that must not
exist, and puts the right point back into its place; and a wrong base K_i draws k1_g h_i out alone.
The proof of knowledge is bound to the transcript, and that to the first key's digest, so that what
a contributor does for one ceremony serves no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1
from kernels.files import write_whole
from prover.ceremony.beacon_limit import BEACON_BYTES
from prover.ceremony.draws import MAX_EXPONENT, MIN_EXPONENT
from prover.ceremony.own.check import require_chain, require_state
from prover.ceremony.own.record import (
    MAX_CONTRIBUTIONS,
    MAX_NAME_BYTES,
    Anchors,
    Change,
    Contribution,
    Transcript,
)
from prover.ceremony.own.shares import Shares, apply, draw_shares, listen, prove
from prover.ceremony.own.state import (
    DELTA_ENDS,
    OVER_DELTA,
    State,
    list_pieces,
)
from prover.errors import CeremonyInvalid, FieldInvalid
from prover.keys.halves import KeyArray
from prover.keys.proving_file import Part, Words, list_file
from prover.keys.streamed import PIECE
from prover.pedersen.bases import load_bases
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes

_SLICE = PIECE // 4
"""Points of a link that are made at a time: each takes several points of working memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who contributes: somebody of a name, or a beacon by 2^exponent hashes."""

    name: str = ""
    beacon: bytes = b""
    exponent: int = 0

    def __post_init__(self) -> None:
        if not (self.name.isascii() and self.name.isprintable()):
            raise FieldInvalid("is no printable ASCII", where="name")
        if len(self.name) > MAX_NAME_BYTES:
            raise FieldInvalid(f"is longer than {MAX_NAME_BYTES} characters", where="name")
        if len(self.beacon) > BEACON_BYTES:
            raise FieldInvalid(f"has more than {BEACON_BYTES} bytes", where="beacon")
        if self.beacon and not MIN_EXPONENT <= self.exponent <= MAX_EXPONENT:
            raise FieldInvalid(f"is not {MIN_EXPONENT} to {MAX_EXPONENT}", where="exponent")


def contribute(
    first: State,
    before: State,
    transcript: Transcript,
    origin: Origin,
    out: Path,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress = silent,
) -> Transcript:
    """Writes the state after a contribution; the transcript with it, which the caller writes.

    first, before : the first state and the last, which is verified here against the first
    random_bytes  : cryptographic. The shares are drawn of it and forgotten, unless a beacon draws
    raises        : CeremonyInvalid, FormatError for a wrong state, OSError; then nothing is left
    memory        : a few pieces of 2^18 points, and the bases h_i of the largest linked group
    """
    if len(transcript.contributions) == MAX_CONTRIBUTIONS:
        raise CeremonyInvalid(f"the transcript has {MAX_CONTRIBUTIONS} contributions already")
    anchors = require_chain(transcript, backend, progress=progress)
    require_state(
        first, before, transcript, random_bytes=random_bytes, backend=backend, progress=progress
    )
    place = transcript.place
    source = random_bytes
    if origin.beacon:
        source = listen(origin.beacon, origin.exponent, place)
    shares = draw_shares(source, transcript.head.n_linked)
    after = apply(shares, anchors, backend)
    digest = write_state(before, shares, after, out, backend, progress)
    change = Change(
        name=origin.name.encode(),
        beacon=origin.beacon,
        exponent=origin.exponent if origin.beacon else 0,
        delta=after.delta,
        delta_a=after.delta_a,
        links=after.links,
        state=digest,
    )
    one: Contribution = prove(shares, anchors, change, place, source, backend)
    return transcript.behind(one)


def write_state(
    before: State,
    shares: Shares,
    after: Anchors,
    out: Path,
    backend: Backend,
    progress: StageProgress = silent,
) -> bytes:
    """Writes the state with these shares, whole or not at all; its digest."""
    digest = sha256()

    def hashed(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    update = _Update(before, shares, after, backend, progress)
    parts: list[Part] = [
        (array, len(value), update.list_words(array, value))
        for array, value in before.arrays.items()
    ]
    write_whole(out, hashed(list_file(before.counts, parts)))
    return digest.digest()


class _Update:
    """The arrays of the next state, piece by piece."""

    def __init__(
        self,
        before: State,
        shares: Shares,
        after: Anchors,
        backend: Backend,
        progress: StageProgress,
    ) -> None:
        self._before, self._shares, self._after = before, shares, after
        self._progress, self._cpu = progress, CpuBackend()
        delta = before.find("correction")[:1]
        self._delta = backend.msm_g1(FrArray.from_ints([shares.delta]), delta)

    def list_words(self, array: KeyArray, value: Any) -> Iterator[Words]:
        for i, points in enumerate(self._list_points(array, value)):
            self._progress(array.stage or array.name, i + 1, i + 1)
            yield points if isinstance(points, np.ndarray) else points.data

    def _list_points(self, array: KeyArray, value: Any) -> Iterator[Any]:
        name = array.name
        if name in DELTA_ENDS:
            yield from self._end_with_delta(value)
        elif name in OVER_DELTA:
            yield from self._divide(value, self._shares.delta)
        elif name == "advice":
            yield from self._divide(value, self._shares.delta_a)
        elif name == "correction":
            inverse = pow(self._shares.delta, -1, R)
            yield G1Array.concat([self._delta, self._cpu.scale_g1(inverse, value[1:])])
        elif name == "link":
            yield from self._add_parts()
        elif isinstance(value, np.ndarray):
            yield value
        else:
            yield from list_pieces(value)

    def _end_with_delta(self, value: Any) -> Iterator[Any]:
        left = len(value)
        for points in list_pieces(value):
            left -= len(points)
            if left:
                yield points
            elif isinstance(points, G2Array):
                yield G2Array.concat([points[:-1], self._after.delta])
            else:
                yield G1Array.concat([points[:-1], self._delta])

    def _divide(self, value: Any, share: int) -> Iterator[G1Array]:
        inverse = pow(share, -1, R)
        for points in list_pieces(value):
            assert isinstance(points, G1Array)
            yield self._cpu.scale_g1(inverse, points)

    def _add_parts(self) -> Iterator[G1Array]:
        """The sums alone: see above."""
        before, shares, scale = self._before, self._shares, self._cpu.scale_g1
        hashed = load_bases(max(before.counts.linked), self._progress)
        reading = before.read_link()
        for group, of_h, of_key in before.list_parts_of_link(hashed, _SLICE):
            own = add_g1(scale(shares.k1[group], of_h), scale(shares.k2, of_key))
            yield add_g1(reading.take(len(of_h)), own)
