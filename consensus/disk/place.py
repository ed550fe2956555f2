"""The last place that a validator signed at: kept beside its key, and never going back.

    HOME/validator.signed   canonical JSON: version, genesis, validator (its key), height, round,
                            step, signed (sha256 of the message without its signature)

It is made with the key, and on disk before a signature leaves. Nothing is signed at or before that
place but the same message again. A node that has its place but not the votes that led there could
let go of a block that it is locked on: it does not start until it has sat out that height
(`abstain`). A copy of a folder is a validator that forgot: it must never be started.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from consensus.agreement.authentication import authenticate
from consensus.agreement.events import ConsensusMessage
from consensus.disk.identity import Identity
from consensus.disk.ledger import Ledger
from consensus.errors import IdentityError
from consensus.wire.codec import KEY_BYTES, SIGNATURE_BYTES
from consensus.wire.genesis import Genesis
from consensus.wire.messages import FinalBlock, Proposal, Step, Vote
from kernels.files import PRIVATE, write_new, write_whole
from prover.model.network import canonical_json
from prover.wire.kinds import DIGEST_BYTES, MAX_NUMBER

PLACE_FILE = "validator.signed"
VERSION = 1
_MAX_BYTES = 1 << 12
_SIT_OUT = "`zkpot chain abstain` sits out what may have been signed; then start it again"


class Place(NamedTuple):
    """Where in the order of all that a validator signs. step : 0 for a proposal"""

    height: int
    round: int
    step: int

    @classmethod
    def of(cls, message: Proposal | Vote) -> Place:
        step = message.step if isinstance(message, Vote) else Step.PROPOSE
        return cls(message.height, message.round, int(step))

    @classmethod
    def end_of(cls, height: int) -> Place:
        """Behind all that can be signed at a height."""
        return cls(height, MAX_NUMBER - 1, int(Step.PRECOMMIT))


@dataclass(frozen=True, slots=True)
class _Content:
    """What the file says."""

    genesis: bytes
    validator: bytes
    place: Place
    signed: bytes

    def encode(self) -> bytes:
        value = {
            "version": VERSION,
            "genesis": self.genesis.hex(),
            "validator": self.validator.hex(),
            **self.place._asdict(),
            "signed": self.signed.hex(),
        }
        return canonical_json(value) + b"\n"

    @classmethod
    def decode(cls, raw: bytes) -> _Content | None:
        """Inverse of `encode`; None for every other byte string."""
        try:
            value: Any = json.loads(raw.decode("ascii"))
            numbers = [value[name] for name in Place._fields]
            genesis, validator, signed = (
                bytes.fromhex(value[name]) for name in ("genesis", "validator", "signed")
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if not all(type(n) is int and 0 <= n < MAX_NUMBER for n in numbers):
            return None
        lengths = (len(genesis), len(validator), len(signed) in (0, DIGEST_BYTES))
        found = cls(genesis, validator, Place(*numbers), signed)
        holds = lengths == (DIGEST_BYTES, KEY_BYTES, True) and found.encode() == raw
        return found if holds else None


class SignedPlace:
    """The file of one validator, for the one process that holds its folder."""

    def __init__(self, path: Path, content: _Content) -> None:
        self._path, self._content = path, content

    @property
    def place(self) -> Place:
        """The last that was signed at, or given up."""
        return self._content.place

    @classmethod
    def create(cls, home: Path, genesis: bytes, validator: bytes) -> SignedPlace:
        """The place of a new key, which has signed nothing. Never overwrites one.

        genesis, validator : digest of the genesis, and the public key
        Raises IdentityError, OSError.
        """
        path = home / PLACE_FILE
        content = _Content(genesis, validator, Place(0, 0, 0), b"")
        try:
            write_new(path, content.encode())
        except FileExistsError:
            next_step = "keep it, or name another folder"
            raise IdentityError(path, "is there already", next_step) from None
        return cls(path, content)

    @classmethod
    def load(cls, home: Path, genesis: bytes, validator: bytes) -> SignedPlace:
        """The place as `create` and `advance` left it. Raises IdentityError."""
        path = home / PLACE_FILE
        content = _Content.decode(_read(path))
        if content is None:
            next_step = "`zkpot chain abstain --through HEIGHT` makes it anew"
            raise IdentityError(path, "is damaged", next_step)
        if (content.genesis, content.validator) != (genesis, validator):
            what = "belongs to another genesis or another key"
            raise IdentityError(path, what, "a key is for one chain: make one for each")
        return cls(path, content)

    # -- signing

    def allows(self, message: Proposal | Vote) -> bool:
        """Whether it may be signed: beyond the place, or the same as was signed there."""
        place = Place.of(message)
        if place == self.place:
            return _digest(message) == self._content.signed
        return place > self.place

    def advance(self, message: Proposal | Vote) -> None:
        """Returns when the message's place is on disk; only then may it leave. Raises OSError."""
        if not self.allows(message):
            raise ValueError("this place is passed: nothing else may be signed there")
        self._move(Place.of(message), _digest(message))

    def give_up(self, height: int) -> None:
        """Signs nothing up to this height, this one included. Raises OSError."""
        self._move(max(self.place, Place.end_of(height)), b"")

    def _move(self, place: Place, signed: bytes) -> None:
        if place != self.place:
            self._write(replace(self._content, place=place, signed=signed))

    def _write(self, content: _Content) -> None:
        write_whole(self._path, [content.encode()], mode=PRIVATE)
        self._content = content

    # -- beginning

    def resume(
        self,
        *,
        height: int,
        validator: int,
        own_votes: Sequence[ConsensusMessage],
        recent: Sequence[FinalBlock],
    ) -> None:
        """Goes on where the log of votes ends. Raises IdentityError when something is forgotten.

        height : of the ledger; own_votes, recent : what it holds
        """
        certified = (v for final in recent for v in final.certificate.votes)
        for vote in certified:
            if vote.validator == validator and Place.of(vote) > self.place:
                what = f"is older than a vote at height {vote.height} of this validator: a copy"
                raise IdentityError(self._path, what, _SIT_OUT)
        under_way = [
            m
            for m in own_votes
            if isinstance(m, Proposal | Vote) and (m.validator, m.height) == (validator, height + 1)
        ]
        last = max(under_way, key=Place.of, default=None)
        if self.place.height > height and self.place != Place.end_of(self.place.height):
            knows = last is not None and self.place.height == height + 1
            if not knows or last is None or not self.allows(last):
                what = f"was signed at height {self.place.height}, and the votes are not here"
                raise IdentityError(self._path, what, _SIT_OUT)
        if last is not None and Place.of(last) > self.place:
            self.advance(last)  # a crash came between the log and this file; it never left

    def notice(self, message: Proposal | Vote) -> bool:
        """Whether this own, authentic message shows that votes were forgotten; gives up its height.

        Nothing leaves before its place is on disk, so one beyond it was signed by a validator of
        which this one is an older copy.
        """
        if Place.of(message) <= self.place:
            return False
        self.give_up(message.height)
        return True


def resume_place(identity: Identity, ledger: Ledger, genesis: Genesis) -> None:
    """Checks before a node speaks: nothing that binds it is missing, or of another chain.

    Raises IdentityError, LedgerError: then it could contradict what it signed.
    """
    place, index = identity.place, identity.index
    if place is None or index is None:
        return
    for message in ledger.own_votes:
        fault = authenticate(message, genesis)
        if fault is not None:
            raise ledger.refuse_votes(fault)
    place.resume(
        height=ledger.height,
        validator=index,
        own_votes=ledger.own_votes,
        recent=ledger.list_recent(),
    )


def give_up(home: Path, genesis: bytes, validator: bytes, through: int | None) -> int:
    """Gives up all heights that this key may have signed at; returns the last of them.

    through : needed where the file is lost or damaged: one more than the height of the chain
    The caller holds the lock of the folder. Raises IdentityError, OSError.
    """
    path = home / PLACE_FILE
    try:
        found = SignedPlace.load(home, genesis, validator)
    except IdentityError:
        if through is None or (path.exists() and _Content.decode(_read(path)) is not None):
            raise
        found = SignedPlace(path, _Content(genesis, validator, Place(0, 0, 0), b""))
    found.give_up(max(found.place.height, through or 0))
    return found.place.height


def _digest(message: Proposal | Vote) -> bytes:
    """Of what is signed, whoever signs it."""
    return replace(message, signature=bytes(SIGNATURE_BYTES)).digest


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        next_step = (
            "do not take it from a copy, which may be older: "
            "`zkpot chain abstain --through HEIGHT` makes it anew"
        )
        raise IdentityError(path, f"cannot be read ({error.strerror})", next_step) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise IdentityError(path, "is no file of this user", "run as its owner")
        return file.read(_MAX_BYTES)
