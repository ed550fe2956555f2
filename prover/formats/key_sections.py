"""A zkey as its sections: what a ceremony hands on and compares, byte by byte where it must.

`prover.formats.zkey` reads the same file as a proving key; there queries lose the wires that they
have no point for, and contributions are not interpreted.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from kernels.numpy_types import UInt8Array
from prover.formats.binfile import BinFile, Buffer, write_binfile
from prover.formats.checks import require_g1, require_g2
from prover.formats.contributions import Ceremony, decode_ceremony
from prover.formats.zkey import GROTH16, SIZES, read_header
from prover.keys.plain import PlainKey
from prover.randomness import RandomBytes

SETUP_ORDER = (1, 2, 4, 3, 9, 8, 5, 6, 7, 10)
"""Of a first key, as snarkjs's setup writes it; contributions write ascending."""

IC, COEFFICIENTS, A, B_1, B_2, C, H = 3, 4, 5, 6, 7, 8, 9
NAMES = {IC: "IC", COEFFICIENTS: "coefficients", A: "A", B_1: "B1", B_2: "B2", C: "C", H: "H"}
UNCHANGED = (IC, COEFFICIENTS, A, B_1, B_2)
"""Sections that no contribution touches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeySections:
    """A key of plain Groth16. Single points are arrays of length 1.

    sizes    : the head of section 2: curve, wires, public wires, domain
    kept     : sections 3 to 7 as they are in the file
    c, h     : points of sections 8 and 9
    """

    sizes: bytes
    alpha_1: G1Array
    beta_1: G1Array
    beta_2: G2Array
    gamma_2: G2Array
    delta_1: G1Array
    delta_2: G2Array
    kept: dict[int, UInt8Array]
    c: G1Array
    h: G1Array
    ceremony: Ceremony

    @property
    def counts(self) -> tuple[int, int, int]:
        """Wires, public wires without the constant one, rows of the domain."""
        wires, public, domain = SIZES.unpack(self.sizes)[4:]
        return int(wires), int(public), int(domain)

    @property
    def verifying(self) -> PlainKey:
        """What verifiers of proofs need."""
        public = self.kept[IC].view(np.dtype("<u8")).astype(np.uint64).reshape(-1, 8)
        return PlainKey(
            alpha=self.alpha_1,
            public=G1Array(public),
            beta=self.beta_2,
            gamma=self.gamma_2,
            delta=self.delta_2,
        )

    def list_sections(self) -> dict[int, list[Buffer]]:
        """All sections, by number."""
        points = (
            self.alpha_1,
            self.beta_1,
            self.beta_2,
            self.gamma_2,
            self.delta_1,
            self.delta_2,
        )
        kept: dict[int, list[Buffer]] = {n: [body] for n, body in self.kept.items()}
        return kept | {
            1: [struct.pack("<I", GROTH16)],
            2: [self.sizes, *(as_bytes(p) for p in points)],
            C: [as_bytes(self.c)],
            H: [as_bytes(self.h)],
            10: [self.ceremony.encode()],
        }


def read_sections(
    path: str | os.PathLike[str], backend: Backend, random_bytes: RandomBytes
) -> KeySections:
    """The key of a file; every point is in its group, and those of the header are finite.

    random_bytes : cryptographic; for the test of B2 all at once
    raises       : FormatError; OSError as `open` does
    """
    with BinFile(path, magic=b"zkey", versions=(1,)) as file:
        header = read_header(file, backend, check=True)
        kept = {n: file.array(n, np.dtype(np.uint8)) for n in UNCHANGED}
        for section in (IC, A, B_1):
            require_g1(as_g1(kept[section]), backend, where=file.where(section))
        b_2 = G2Array(kept[B_2].view(np.dtype("<u8")).astype(np.uint64).reshape(-1, 16))
        require_g2(b_2, backend, where=file.where(B_2), random_bytes=random_bytes)
        c, h = (G1Array(file.words(section, 8)) for section in (C, H))
        for section, points in ((C, c), (H, h)):
            require_g1(points, backend, where=file.where(section))
        if not file.has(10):
            raise file.refuse("section 10 is missing: the key is of no ceremony")
        return KeySections(
            sizes=file.head(2, SIZES.size),
            alpha_1=header.g1[0:1],
            beta_1=header.g1[1:2],
            beta_2=header.g2[0:1],
            gamma_2=header.g2[1:2],
            delta_1=header.g1[2:3],
            delta_2=header.g2[2:3],
            kept=kept,
            c=c,
            h=h,
            ceremony=decode_ceremony(file.read(10), where=file.where(10)),
        )


def write_sections(
    path: str | os.PathLike[str], key: KeySections, order: tuple[int, ...] = tuple(range(1, 11))
) -> None:
    """Inverse of `read_sections`, with the sections in this order."""
    sections = key.list_sections()
    listed = [(section, sections[section]) for section in order]
    write_binfile(path, magic=b"zkey", version=1, sections=listed)


def as_bytes(points: G1Array | G2Array) -> UInt8Array:
    """The points as they lie in a file: uint8[64 n] or [128 n]."""
    body: UInt8Array = np.ascontiguousarray(points.data.astype("<u8", copy=False)).view(np.uint8)
    return body.reshape(-1)


def as_g1(body: UInt8Array) -> G1Array:
    """Inverse of `as_bytes`."""
    return G1Array(body.view(np.dtype("<u8")).astype(np.uint64, copy=False).reshape(-1, 8))
