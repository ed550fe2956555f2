"""A ceremony for the toy's key, of powers that everybody knows: honest states, and crafted ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kernels.array import G1Array
from kernels.files import write_whole
from prover.ceremony.own.check import (
    require_chain,
    require_contributors,
    require_secret,
    require_state,
)
from prover.ceremony.own.contribute import Origin, contribute, write_state
from prover.ceremony.own.finish import make_verifying
from prover.ceremony.own.first import FirstKey, make_first
from prover.ceremony.own.record import Change, Head, Transcript
from prover.ceremony.own.shares import Shares, apply, prove
from prover.ceremony.own.state import State, open_state
from prover.ceremony.phase1 import require_powers
from prover.circuit.r1cs import R1CS
from prover.formats.ptau import Powers, Prepared, read_powers
from prover.keys.folder import PROVING_NAME, TRANSCRIPT_NAME, VERIFYING_NAME
from prover.keys.proving_file import list_file
from tests.support.known_powers import write_powers
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import BACKEND, TOY

LG_N, POWER = 4, 5
SHARES = Shares(delta=3, delta_a=5, k1=(7,), k2=11)
"""Those of an attacker."""
BEACON = Origin(name="beacon", beacon=b"tomorrow's headline", exponent=10)


@cache
def toy_powers() -> tuple[Powers, Prepared]:
    with TemporaryDirectory() as folder:
        powers = read_powers(write_powers(Path(folder) / "p.ptau", POWER), LG_N, doubled=True)
    return powers, require_powers(powers, BACKEND, seeded(1))


@cache
def first_of(r1cs: R1CS) -> FirstKey:
    return make_first(r1cs, *toy_powers(), BACKEND)


def toy_first() -> FirstKey:
    return first_of(TOY.r1cs)


class Ceremony:
    """States in a folder, from the first on; `contribute` and `craft` add one."""

    def __init__(
        self, folder: Path, *, circuit_digest: bytes = TOY.digest, r1cs: R1CS = TOY.r1cs
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, first, powers = folder, first_of(r1cs), toy_powers()[0]
        write_whole(folder / "first.key", list_file(first.counts, first.list_parts()))
        self.first = open_state(folder / "first.key")
        head = Head(
            circuit_digest=circuit_digest,
            first_digest=self.first.digest,
            n_challenges=TOY.n_challenges,
            n_linked=len(r1cs.linked),
            alpha=powers.alpha_1[:1],
            public=first.public,
            tau=powers.tau_2[1:2],
            beta=powers.beta_2,
        )
        self.transcript, self.last = Transcript(head=head, contributions=()), self.first
        self._n = 0

    def begin_with(self, name: str, change: Callable[[Any], Any]) -> None:
        """Begins anew with a first key of whose arrays one is changed, and may be shorter."""
        parts = []
        for array in self.first.arrays:
            words = read_whole(self.first, array.name)
            if array.name == name:
                words = change(words)
            parts.append((array, len(words), [words]))
        path = self.new_path()
        write_whole(path, list_file(self.first.counts, parts))
        self.first = self.last = open_state(path)
        head = replace(self.transcript.head, first_digest=self.first.digest)
        self.transcript = Transcript(head=head, contributions=())

    def fork(self) -> Ceremony:
        """Another ceremony that has gone on so far."""
        other = object.__new__(Ceremony)
        other.__dict__ |= self.__dict__
        return other

    def new_path(self) -> Path:
        self._n += 1
        return self.folder / f"{id(self)}-{self._n}.key"

    def contribute(self, seed: int, origin: Origin | None = None) -> Path:
        """By the book; the new state's file."""
        out = self.new_path()
        self.transcript = contribute(
            self.first,
            self.last,
            self.transcript,
            origin or Origin(name=f"seed {seed}"),
            out,
            random_bytes=seeded(seed),
            backend=BACKEND,
        )
        self.last = open_state(out, self.transcript.state)
        return out

    def craft(self, shares: Shares, edit: Callable[[State, Path], bytes] | None = None) -> None:
        """A contribution of who verifies nothing, and may put another state into the place of its
        own; its proof holds.

        edit : (state, path of another file) -> digest of that file
        """
        after = apply(shares, self.transcript.anchors, BACKEND)
        out = self.new_path()
        digest = write_state(self.last, shares, after, out, BACKEND)
        if edit is not None:
            path = self.new_path()
            digest, out = edit(open_state(out), path), path
        change = Change(
            name=b"crafted",
            beacon=b"",
            exponent=0,
            delta=after.delta,
            delta_a=after.delta_a,
            links=after.links,
            state=digest,
        )
        before, place = self.transcript.anchors, self.transcript.place
        one = prove(shares, before, change, place, seeded(8), BACKEND)
        self.transcript = self.transcript.behind(one)
        self.last = open_state(out, digest)


def require_all(ceremony: Ceremony) -> None:
    """What everybody verifies."""
    require_contributors(ceremony.transcript)
    require_secret(require_chain(ceremony.transcript, BACKEND))
    require_state(
        ceremony.first,
        ceremony.last,
        ceremony.transcript,
        random_bytes=seeded(9),
        backend=BACKEND,
    )


def save(ceremony: Ceremony, folder: Path) -> None:
    """The key that it ends in; of no card."""
    key = make_verifying(ceremony.transcript, bytes(32))
    write_whole(folder / PROVING_NAME, [ceremony.last.path.read_bytes()])
    write_whole(folder / TRANSCRIPT_NAME, [ceremony.transcript.encode()])
    write_whole(folder / VERIFYING_NAME, [key.encode()])


def edit_state(name: str, change: Callable[[Any], Any]) -> Any:
    """An `edit` of `Ceremony.craft` that changes one array."""

    def edit(state: State, path: Path) -> bytes:
        return rewrite(state, path, {name: change})

    return edit


def rewrite(state: State, path: Path, changes: dict[str, Callable[[Any], Any]]) -> bytes:
    """Writes a state with some arrays changed; its digest."""
    parts = []
    for array, value in state.arrays.items():
        whole = read_whole(state, array.name)
        change = changes.get(array.name)
        words = whole if change is None else change(whole)
        parts.append((array, len(value), [words]))
    write_whole(path, list_file(state.counts, parts))
    return open_state(path).digest


def read_whole(state: State, name: str) -> Any:
    """The words of an array."""
    value = state.find(name)
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "list_pieces"):
        return np.concatenate([points.data for _, points in value.list_pieces()])
    return value.data


def put(index: int, point: G1Array) -> Callable[[Any], Any]:
    """Puts a point into an array's place."""

    def change(words: Any) -> Any:
        changed = words.copy()
        changed[index] = point.data[0]
        return changed

    return change


def swap_contributions(transcript: Transcript) -> Transcript:
    first, second, *rest = transcript.contributions
    return replace(transcript, contributions=(second, first, *rest))
