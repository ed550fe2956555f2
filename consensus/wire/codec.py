"""Messages: records (`prover.wire.records`) that their first byte tells apart, signed or not.

    message = kind, 1 byte | version, 1 byte | the fields in the order of the class, each with its
              length, 4 bytes little-endian

A number takes 8 bytes little-endian; a tuple is a list of such fields again, and an optional field
a tuple of no or one element.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, ClassVar

from prover.errors import FieldInvalid
from prover.wire.kinds import Bytes, Number
from prover.wire.records import Record, encode_fields, split_fields

VERSION = 2
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_VALIDATORS = 256
MAX_TRANSACTIONS = 1024  # of one block, and so clients of a task
BLANK = bytes(SIGNATURE_BYTES)
"""In the place of a signature that is not made yet."""

PublicKey = Annotated[bytes, Bytes(KEY_BYTES)]
"""Ed25519."""
Signature = Annotated[bytes, Bytes(SIGNATURE_BYTES)]
"""Ed25519."""
ValidatorIndex = Annotated[int, Number(0, MAX_VALIDATORS - 1)]
"""A validator by its place in genesis."""
Height = Annotated[int, Number(1)]
"""Of a block; the genesis is before the first."""


class Message(Record):
    """A record that travels. KIND : its class, one byte"""

    __slots__ = ()
    KIND: ClassVar[int] = 0
    MAX_BYTES: ClassVar[int] = 1 << 14

    def __init_subclass__(cls) -> None:
        cls.HEADER = bytes((cls.KIND, VERSION))
        super().__init_subclass__()

    @classmethod
    def split(cls, raw: bytes) -> dict[str, bytes] | None:
        """Each field's bytes by name, not decoded; None where `decode` need not try."""
        if len(raw) > cls.MAX_BYTES or not raw.startswith(cls.HEADER):
            return None
        try:
            fields = split_fields(raw[len(cls.HEADER) :], len(cls.KINDS))
        except FieldInvalid:
            return None
        return dict(zip(cls.KINDS, fields, strict=True)) if len(fields) == len(cls.KINDS) else None

    @property
    def digest(self) -> bytes:
        """sha256 of the canonical bytes."""
        return hashlib.sha256(self.encode()).digest()


class Signed(Message):
    """A message whose last field is `signature`, over `sign_bytes`."""

    __slots__ = ()
    if TYPE_CHECKING:
        signature: Signature

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.KINDS or [*cls.KINDS][-1] != "signature":
            raise TypeError(f"{cls.__name__}: the last field of what is signed is its signature")

    def sign_bytes(self, genesis_digest: bytes) -> bytes:
        """What is signed: the class by name, the chain, and every field but the signature.

        genesis_digest : the chain; its name would be that of other chains as well
        """
        return self.make_sign_bytes(self.encode(), genesis_digest)

    @classmethod
    def make_sign_bytes(cls, raw: bytes, genesis_digest: bytes) -> bytes:
        """The same, of such a message in bytes, which need not be decoded."""
        name = cls.__name__.lower().encode("ascii")
        blank = raw[:-SIGNATURE_BYTES] + BLANK
        return encode_fields((b"zkpot " + name + b" v1", genesis_digest, blank))
