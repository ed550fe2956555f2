"""The kinds of fields that are arrays: numbers of numpy, scalars, points of G1 and G2. See
`prover.wire.records`; apart from `prover.wire.kinds`, so that names and digests need no numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, G1Array, G2Array
from kernels.cpu.words.power import power_fp
from kernels.encoding import (
    FR_BYTES,
    G1_BYTES,
    G2_BYTES,
    Refused,
    decode_fr,
    decode_g1,
    decode_g2,
    encode_fr,
    encode_g1,
    encode_g2,
)
from prover.errors import FieldInvalid
from prover.wire.kinds import span
from prover.wire.records import Kind


class Array(Kind[Any]):
    """A flat array of this dtype, whose bytes are those of its elements, little-endian."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self.base = npt.NDArray[self._dtype.type]  # type: ignore[name-defined]

    def find_fault(self, value: Any) -> str | None:
        fits = value.dtype == self._dtype and value.ndim == 1
        return None if fits else f"is no flat array of {self._dtype}"

    def encode(self, value: Any) -> bytes:
        return bytes(value.astype(self._dtype.newbyteorder("<"), copy=False).tobytes())

    def decode(self, raw: bytes) -> Any:
        if len(raw) % self._dtype.itemsize:
            raise FieldInvalid("is no whole number of elements")
        little = np.frombuffer(raw, dtype=self._dtype.newbyteorder("<"))
        return little.astype(self._dtype, copy=False)


class Scalars(Kind[FrArray]):
    """`least` to `most` scalars below r, 32 bytes each."""

    base = FrArray

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def find_fault(self, value: FrArray) -> str | None:
        fits = isinstance(value, FrArray) and len(value.shape) == 1
        fits = fits and self.least <= len(value) <= self.most
        return None if fits else f"has not {span(self.least, self.most)} scalars"

    def encode(self, value: FrArray) -> bytes:
        return encode_fr(value)

    def decode(self, raw: bytes) -> FrArray:
        if len(raw) > self.most * FR_BYTES:
            raise FieldInvalid(f"has more than {self.most} scalars")
        found = decode_fr(raw, len(raw) // FR_BYTES)
        if isinstance(found, Refused):
            raise FieldInvalid("is no whole number of scalars below r")
        return found


class Points(Kind[Any]):
    """`least` to `most` points of G1 or G2 (just `least` without `most`), on their curve and of
    order r.

    identity : whether bytes of the point at infinity are taken
    """

    def __init__(
        self,
        base: type[G1Array] | type[G2Array],
        least: int = 1,
        most: int | None = None,
        *,
        compressed: bool = True,
        identity: bool = True,
    ) -> None:
        self.base, self.least, self.most = base, least, least if most is None else most
        self._size = (G1_BYTES if base is G1Array else G2_BYTES) * (1 if compressed else 2)
        self._compressed, self._identity = compressed, identity
        self.width = self._size * least if most is None else None

    def find_fault(self, value: G1Array | G2Array) -> str | None:
        if not isinstance(value, self.base) or not self.least <= len(value) <= self.most:
            return f"has not {span(self.least, self.most)} points"
        return None

    def encode(self, value: Any) -> bytes:
        write = encode_g1 if self.base is G1Array else encode_g2
        return write(value, compressed=self._compressed)

    def decode(self, raw: bytes) -> G1Array | G2Array:
        n = len(raw) // self._size
        if n > self.most:
            raise FieldInvalid(f"has more than {self.most} points")
        read = decode_g1 if self.base is G1Array else decode_g2
        found = read(raw, n, compressed=self._compressed, power=power_fp)
        if isinstance(found, Refused):
            raise FieldInvalid("is not canonical, not on its curve or of wrong order")
        if not self._identity and not found.data.any(axis=1).all():
            raise FieldInvalid("is the identity")
        return found
