"""Foreign Groth16 circuits for benchmarks: `.zkey` and `.wtns` files of 2^lg_n rows.

    dense    x_(i+1) = x_i (x_i + 1): every wire a full-width scalar, in A, B and C
    binary   b_i b_i = b_i: every private wire 0 or 1

Wire 1 is public: the last x, or 1. Keys are our own, in snarkjs's layout, kept in `bench/out/keys`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.inputs import SEED
from bench.proving import KEYS
from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend, get_backend
from kernels.bn254 import R
from prover.circuit.r1cs import R1CS
from prover.formats.json_io import write_vkey
from prover.formats.wtns import write_wtns
from prover.formats.zkey import Zkey, read_zkey, write_zkey
from prover.groth16.plain import verify_plain
from prover.groth16.setup import setup_plain
from prover.groth16.trapdoor import draw_trapdoor
from prover.keys.plain import PlainKey
from prover.wire.envelope import Groth16Points
from prover.wire.verdict import Verdict

N_PUBLIC_ROWS = 2  # the key's own rows, for the constant and the public wire
START = 3
DENSE, BINARY = "dense", "binary"
_HASH_BYTES = 64

Wires = npt.NDArray[np.uint32]


class ForeignBench:
    """One circuit (DENSE or BINARY) that fills a domain of 2^lg_n rows.

    make_backend : called when a backend is first needed; default: the CPU
    """

    def __init__(
        self,
        kind: str,
        lg_n: int,
        keys: Path = KEYS,
        *,
        make_backend: Callable[[], Backend] = get_backend,
    ) -> None:
        self.kind, self.lg_n = kind, lg_n
        self._make_backend = make_backend
        self._folder = keys / f"foreign-{kind}-{lg_n}"

    @cached_property
    def backend(self) -> Backend:
        return self._make_backend()

    @property
    def n_rows(self) -> int:
        return (1 << self.lg_n) - N_PUBLIC_ROWS

    @cached_property
    def witness(self) -> FrArray:
        """(1 | public | private), [2 + n_rows]."""
        if self.kind == DENSE:
            x = [START]
            for _ in range(self.n_rows):
                x.append(x[-1] * (x[-1] + 1) % R)
            return FrArray.from_ints([1, x[-1], *x[:-1]])
        words = np.zeros((2 + self.n_rows, 4), dtype=np.uint64)
        words[:, 0] = np.random.default_rng(SEED).integers(0, 2, size=len(words))
        words[:2, 0] = 1
        return FrArray(words)

    @cached_property
    def zkey(self) -> Path:
        """The key's file; made, with `witness.wtns` and `vkey.json` beside it, if there is none."""
        path = self._folder / "circuit.zkey"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            key, circuit = setup_plain(
                self._circuit(),
                trapdoor=draw_trapdoor(secrets.token_bytes, n_linked=0),
                backend=self.backend,
            )
            write_wtns(self.wtns, self.witness)
            write_vkey(self.vkey, key.verifying)
            zkey = Zkey(key=key, circuit=circuit)
            write_zkey(path, zkey, self.backend)  # the last, and whole or not at all
        return path

    def renew_key(self, path: Path) -> Path:
        """A copy of the key at `path`, made there or already, that nobody has seen before.

        The circuit's hash, by which nothing is proven, is drawn anew: the last but a count of zero.
        """
        if not path.exists():
            shutil.copyfile(self.zkey, path)
        with path.open("r+b") as file:
            file.seek(-_HASH_BYTES - 4, os.SEEK_END)
            file.write(secrets.token_bytes(_HASH_BYTES))
        return path

    @property
    def wtns(self) -> Path:
        return self._folder / "witness.wtns"

    @property
    def vkey(self) -> Path:
        return self._folder / "vkey.json"

    def read(self) -> Zkey:
        return read_zkey(self.zkey, self.backend, random_bytes=secrets.token_bytes)

    @cached_property
    def verifying(self) -> PlainKey:
        return self.read().key.verifying

    def judge(self, public: FrArray, proof: Groth16Points) -> tuple[bool, bool, list[int]]:
        """(valid, valid for another public input, public inputs): (True, False, expected)."""
        other = FrArray.from_ints([x + 1 for x in public.to_ints()])
        verdicts = [verify_plain(self.verifying, p, proof) for p in (public, other)]
        valid, forged = (v is Verdict.VALID for v in verdicts)
        return valid, forged, public.to_ints()

    def expect(self) -> tuple[bool, bool, list[int]]:
        return True, False, self.witness[1:2].to_ints()

    def _circuit(self) -> R1CS:
        n = self.n_rows
        before = np.arange(2, 2 + n, dtype=np.uint32)  # x_0 .. x_(n-1), or the bits
        if self.kind == DENSE:
            after = np.append(before[1:], np.uint32(1))
            b = np.stack([np.zeros_like(before), before], axis=1)
            left, right, out = before[:, None], b, after[:, None]
        else:
            left, right, out = (before[:, None].copy() for _ in range(3))
            left[-1, 0] = right[-1, 0] = out[-1, 0] = 1
        a_matrix, b_matrix, c_matrix = (_ones(wires, 2 + n) for wires in (left, right, out))
        return R1CS(
            n_public=1,
            linked=(),
            n_advice=0,
            n_private=n,
            a=a_matrix,
            b=b_matrix,
            c=c_matrix,
        )


def _ones(wires: Wires, n_cols: int) -> SparseMatrix:
    """Entries 1 at `wires`, uint32[n_rows, k]."""
    n, k = wires.shape
    return SparseMatrix(
        indptr=np.arange(0, k * n + 1, k, dtype=np.int64),
        cols=np.ascontiguousarray(wires.reshape(-1)),
        coeffs=np.ones(k * n, dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont(np.zeros((0, 4), dtype=np.uint64)),
    )
