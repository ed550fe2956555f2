"""The container of `.r1cs`, `.wtns` and `.zkey`: a table of typed sections.

    magic [4] | version u32 | n_sections u32 | n_sections x ( type u32 | n_bytes u64 | bytes )

All numbers are little-endian. Source: iden3's `binfileutils` (npm, 0.0.12) and the r1cs format's
specification (github.com/iden3/r1csfile, doc/r1cs_bin_format.md).

Sections are read into aligned arrays of their own, never mapped: they start at odd multiples of
four bytes, where vector kernels cannot take 64-bit words; what was checked, or hashed, is what is
used even if the file changes meanwhile; and a mapped file that shrinks would end the process.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kernels.array import U64, words_from_ints
from kernels.files import replacing
from prover.errors import FormatError

MAX_SECTIONS = 64  # no format has more than 20; bounds the table of a hostile file
REGENERATE = "get the file again, or make it again with circom or snarkjs"

Buffer = npt.NDArray[Any] | bytes


class BinFile:
    """A container open for reading; use it in a `with` block.

    Opening checks magic, version and the whole section table: each type once, every section inside
    the file, nothing after the last. Memory stays within the sizes of the sections asked for, and
    these within the file's.

    raises : FormatError for bytes the format does not allow; OSError as `open` does
    """

    def __init__(self, path: str | os.PathLike[str], *, magic: bytes, versions: Sequence[int]):
        self.name = Path(path).name
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise self.refuse("is no regular file", next_step="name a file")
        self._loaded: dict[int, npt.NDArray[np.uint8]] = {}
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by __exit__
        try:
            self._sections = self._read_table(magic, versions)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def refuse(
        self, what: str, *, section: int | None = None, next_step: str = REGENERATE
    ) -> FormatError:
        """The error to raise for this file (and section)."""
        where = self.name if section is None else f"{self.name}, section {section}"
        return FormatError(what, where=where, next_step=next_step)

    def where(self, section: int) -> str:
        """Name of the place, for errors raised elsewhere."""
        return f"{self.name}, section {section}"

    def has(self, section: int) -> bool:
        return section in self._sections

    def n_bytes(self, section: int) -> int:
        """Size of a section that must be there."""
        if section not in self._sections:
            raise self.refuse(f"section {section} is missing")
        return self._sections[section][1]

    def require_bytes(self, section: int, expected: int, because: str) -> None:
        """Refuse a section that is not exactly as long as the counts in the header say."""
        found = self.n_bytes(section)
        if found != expected:
            raise self.refuse(f"{found} bytes where {because} take {expected}", section=section)

    def load(self) -> bytes:
        """Reads every section into memory, and gives the SHA-256 of the file as it was read.

        From here on all sections are those that were hashed, whatever becomes of the file.
        """
        digest = hashlib.sha256(self._head)
        for section, (position, n_bytes) in self._sections.items():  # in the order of the file
            content = self._read_new(section, position, n_bytes)
            digest.update(struct.pack("<IQ", section, n_bytes))
            digest.update(content.data)
            self._loaded[section] = content
        return digest.digest()

    def read(self, section: int) -> bytes:
        """All bytes of a (small) section."""
        return self.array(section, np.dtype(np.uint8)).tobytes()

    def head(self, section: int, n_bytes: int) -> bytes:
        """The first bytes of a section that is at least as long."""
        if section in self._loaded:
            return self._loaded[section][:n_bytes].tobytes()
        return self._read_at(self._sections[section][0], n_bytes)

    def array(self, section: int, dtype: np.dtype[Any], *, offset: int = 0) -> npt.NDArray[Any]:
        """The section from `offset` on as an aligned array [k] of `dtype`; a rest is refused."""
        n_bytes = self.n_bytes(section) - offset
        if n_bytes < 0 or n_bytes % dtype.itemsize:
            raise self.refuse(
                f"{n_bytes} bytes are no whole number of {dtype.itemsize}-byte records",
                section=section,
            )
        if section in self._loaded:
            content = self._loaded[section][offset:]
        else:
            content = self._read_new(section, self._sections[section][0] + offset, n_bytes)
        return content.view(dtype)

    def part(self, section: int, offset: int, n_words: int, per_element: int) -> U64:
        """n_words from a byte of the section on, as uint64[n, per_element]; read from the file.

        Raises FormatError when the section ends before.
        """
        if offset + 8 * n_words > self.n_bytes(section):
            raise self.refuse(f"ends before byte {offset + 8 * n_words}", section=section)
        return self._words_at(self._sections[section][0] + offset, n_words, per_element, section)

    def behind(self, section: int, offset: int, n_words: int) -> U64:
        """As `part`, uint64[1, n_words], of whatever follows there in the file."""
        return self._words_at(self._sections[section][0] + offset, n_words, n_words, section)

    def _words_at(self, position: int, n_words: int, per_element: int, section: int) -> U64:
        flat = self._read_new(section, position, 8 * n_words).view(np.dtype("<u8"))
        words: U64 = flat.astype(np.uint64, copy=False).reshape(-1, per_element)
        return words

    def words(self, section: int, per_element: int) -> U64:
        """The section as uint64[n, per_element]."""
        flat = self.array(section, np.dtype("<u8"))
        if len(flat) % per_element:
            raise self.refuse(
                f"{8 * len(flat)} bytes are no whole number of {8 * per_element}-byte elements",
                section=section,
            )
        words: U64 = flat.astype(np.uint64, copy=False).reshape(-1, per_element)
        return words

    def _read_table(self, magic: bytes, versions: Sequence[int]) -> dict[int, tuple[int, int]]:
        size = os.fstat(self._file.fileno()).st_size
        if size < 12:
            raise self.refuse(f"{size} bytes are too few for a header")
        self._head = self._read_at(0, 12)
        found_magic, version, n_sections = struct.unpack("<4sII", self._head)
        if found_magic != magic:
            raise self.refuse(f"does not start with {magic!r}", next_step="name another file")
        if version not in versions:
            known = ", ".join(map(str, versions))
            raise self.refuse(
                f"version {version} is not known (known: {known})", next_step="export it as one"
            )
        if n_sections > MAX_SECTIONS:
            raise self.refuse(f"{n_sections} sections are more than {MAX_SECTIONS}")
        sections: dict[int, tuple[int, int]] = {}
        position = 12
        for _ in range(n_sections):
            if position + 12 > size:
                raise self.refuse("ends inside the section table")
            kind, n_bytes = struct.unpack("<IQ", self._read_at(position, 12))
            position += 12
            if n_bytes > size - position:
                raise self.refuse(f"{n_bytes} bytes reach past the end of the file", section=kind)
            if kind in sections:
                raise self.refuse("occurs twice", section=kind)
            sections[kind] = (position, n_bytes)
            position += n_bytes
        if position != size:
            raise self.refuse(f"{size - position} bytes follow the last section")
        return sections

    def _read_new(self, section: int, position: int, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Bytes of a section in an array of their own, aligned for words."""
        try:
            out = np.empty(n_bytes, dtype=np.uint8)
        except MemoryError:
            raise self.refuse(
                f"{n_bytes} bytes do not fit in memory",
                section=section,
                next_step="use a machine with more memory",
            ) from None
        self._read_into(out.data, position)
        return out

    def _read_at(self, position: int, n_bytes: int) -> bytes:
        out = bytearray(n_bytes)
        self._read_into(memoryview(out), position)
        return bytes(out)

    def _read_into(self, view: memoryview, position: int) -> None:
        self._file.seek(position)
        while len(view):
            n = self._file.readinto(view)
            if not n:
                raise self.refuse("became shorter while it was read")
            view = view[n:]


def write_binfile(
    path: str | os.PathLike[str],
    *,
    magic: bytes,
    version: int,
    sections: Sequence[tuple[int, Sequence[Buffer]]],
) -> None:
    """Write sections (type, buffers that follow each other) in the order given, whole or not."""
    with replacing(Path(path)) as file:
        file.write(struct.pack("<4sII", magic, version, len(sections)))
        for kind, buffers in sections:
            n_bytes = sum(b.nbytes if isinstance(b, np.ndarray) else len(b) for b in buffers)
            file.write(struct.pack("<IQ", kind, n_bytes))
            for b in buffers:
                file.write(np.ascontiguousarray(b).data if isinstance(b, np.ndarray) else b)


def words_below(words: U64, modulus: int) -> npt.NDArray[np.bool_]:
    """Per row of uint64[n, 4]: the little-endian number is below the modulus."""
    bound = words_from_ints([modulus])[0]
    below = np.zeros(len(words), dtype=np.bool_)
    for j in range(4):  # from the low word up: a higher word that differs decides
        below = (words[:, j] < bound[j]) | ((words[:, j] == bound[j]) & below)
    return below


def require_below(words: U64, modulus: int, *, where: str) -> None:
    """Refuse elements that are not canonical; names the first, never its value."""
    below = words_below(words, modulus)
    if not below.all():
        index = int(np.argmin(below))
        raise FormatError(
            f"element {index} is not below the field's modulus", where=where, next_step=REGENERATE
        )
