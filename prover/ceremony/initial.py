"""The first key of a circuit, from powers of tau: gamma and delta are one, and no secret is drawn.

    A_k = sum_i A_ik L_i      B_k alike, in both groups      H_i = L'_(2i+1), L' of 2n points
    K_k = sum_i beta A_ik L_i + alpha B_ik L_i + C_ik L_i

Byte by byte the file that snarkjs's `groth16 setup` writes of the same circuit and powers. Its
circuit hash is BLAKE2b-512 of

    alpha_1 | beta_1 | beta_2 | gamma_2 | delta_1 | delta_2
    | n | IC | n | [tau^(n+i) - tau^i] | n | C | n | A | n | B_1 | n | B_2      n: u32, big-endian

Powers for just n rows lack tau^(2n-1), and L' of them counts it as zero. Then the H_i span not the
multiples Z q of X^n - 1, deg q < n, but those of deg q < n - 1, and X^(n-1), which is none. That
helps nobody:

- An honest quotient is the same sum: sum_i P(v_i) L'_(2i+1) = P, v_i the odd points, has a degree
  of 2n - 2 at most, so what L'_(2i+1) lose adds up to zero.
- A forger gets A B - C = Z q + lambda X^(n-1), which is off by lambda w^(-i), not zero, in *every*
  row i. The row of the constant wire (`append_public_rows`) has A alone, whatever the witness is:
  its A B - C is zero, hence lambda is.

Keys of our own have no such H (`prover.ceremony.own.first` asks for all 2n powers).

Source: snarkjs 0.7.6, src/zkey_new.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from kernels.array import FrArray, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import P, R
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1, neg_g1
from kernels.cpu.words.point_rows import PointRows
from prover.ceremony.garbage import subtract_garbage
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.ceremony.transcript import encode_big_endian
from prover.circuit.r1cs import R1CS
from prover.formats.coefficients import list_rows, list_values
from prover.formats.contributions import HASH_BYTES, Ceremony
from prover.formats.key_sections import B_1, B_2, COEFFICIENTS, IC, A, KeySections, as_bytes
from prover.formats.ptau import Powers, Prepared
from prover.formats.zkey import SIZES, encode_entries
from prover.groth16.setup import append_public_rows
from prover.progress import StageProgress, silent


def count_rows(circuit: R1CS) -> int:
    """lg of the rows of the key's domain: those of the circuit and one for each public wire."""
    return append_public_rows(circuit).domain.bit_length() - 1


def make_initial(
    circuit: R1CS,
    powers: Powers,
    prepared: Prepared,
    backend: Backend,
    progress: StageProgress = silent,
) -> KeySections:
    """The first key of a circuit, without contributions: **anybody** can forge proofs under it.

    powers, prepared : tested, and of the circuit's domain (`count_rows`)
    cost             : an addition for each coefficient +-1, some 40 us for one of full size
    """
    padded = append_public_rows(circuit)
    n_ic, wires = 1 + circuit.n_public, circuit.n_wires
    queries = _sum_queries(padded, prepared, backend, progress)
    sizes = SIZES.pack(
        32, P.to_bytes(32, "little"), 32, R.to_bytes(32, "little"), wires, n_ic - 1, powers.n
    )
    heads = (powers.alpha_1[:1], powers.beta_1[:1], powers.beta_2)
    circuit_hash = _hash_circuit(heads, queries, powers, n_ic)
    alpha_1, beta_1, beta_2 = heads
    return KeySections(
        sizes=sizes,
        alpha_1=alpha_1,
        beta_1=beta_1,
        beta_2=beta_2,
        gamma_2=G2_GENERATOR,
        delta_1=G1_GENERATOR,
        delta_2=G2_GENERATOR,
        kept={
            IC: as_bytes(queries.k[:n_ic]),
            COEFFICIENTS: encode_entries(padded.a, padded.b, backend),
            A: as_bytes(queries.a),
            B_1: as_bytes(queries.b_1),
            B_2: as_bytes(queries.b_2),
        },
        c=queries.k[n_ic:],
        h=prepared.odd,
        ceremony=Ceremony(circuit_hash=circuit_hash, contributions=()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Queries:
    """Sums of each wire; k begins with those of IC."""

    a: G1Array
    b_1: G1Array
    b_2: G2Array
    k: G1Array


def _sum_queries(
    r1cs: R1CS, prepared: Prepared, backend: Backend, progress: StageProgress
) -> _Queries:
    cpu = CpuBackend()
    progress("queries", 0, 4)
    a = cpu.sum_rows_g1(_by_wire([r1cs.a], backend), prepared.tau_1)
    progress("queries", 1, 4)
    of_b = _by_wire([r1cs.b], backend)
    b_1 = cpu.sum_rows_g1(of_b, prepared.tau_1)
    progress("queries", 2, 4)
    b_2 = cpu.sum_rows_g2(of_b, prepared.tau_2)
    progress("queries", 3, 4)
    bases = G1Array.concat([prepared.beta_1, prepared.alpha_1, prepared.tau_1])
    k = cpu.sum_rows_g1(_by_wire([r1cs.a, r1cs.b, r1cs.c], backend), bases)
    progress("queries", 4, 4)
    return _Queries(a=a, b_1=b_1, b_2=b_2, k=k)


def _by_wire(matrices: Sequence[SparseMatrix], backend: Backend) -> PointRows:
    """The transposed matrices side by side: a row for each wire, matrix m from column m n on."""
    wires = np.concatenate([m.cols for m in matrices])
    rows = [list_rows(m) + np.uint32(i * m.n_rows) for i, m in enumerate(matrices)]
    values = FrArray.concat([list_values(m, backend) for m in matrices])
    order = np.argsort(wires, kind="stable")
    starts = np.zeros(matrices[0].n_cols + 1, dtype=np.int64)
    np.cumsum(np.bincount(wires, minlength=matrices[0].n_cols), out=starts[1:])
    return PointRows(starts, np.concatenate(rows)[order], values[order])


def _hash_circuit(
    heads: tuple[G1Array, G1Array, G2Array], queries: _Queries, powers: Powers, n_ic: int
) -> bytes:
    hasher = blake2b(digest_size=HASH_BYTES)
    for single in (*heads, G2_GENERATOR, G1_GENERATOR, G2_GENERATOR):
        hasher.update(encode_big_endian(single))

    def add(points: G1Array | G2Array) -> None:
        hasher.update(len(points).to_bytes(4, "big"))
        hasher.update(encode_big_endian(points))

    add(queries.k[:n_ic])
    hasher.update((powers.n - 1).to_bytes(4, "big"))
    hasher.update(encode_big_endian(_list_differences(powers)))
    for points in (queries.k[n_ic:], queries.a, queries.b_1, queries.b_2):
        add(points)
    return hasher.digest()


def _list_differences(powers: Powers) -> G1Array:
    """tau^(n+i) - tau^i for i < n - 1, and for i = n - 1 too where snarkjs hashes that as well.

    It hashes them by 2^14, the last chunk whole: from n = 2^15 on there is one too many. What it is
    subtracted from lies behind the powers of a file for just this domain, and is then no point.
    """
    n, tau_1 = powers.n, powers.tau_1
    differences = add_g1(tau_1[n:-1], neg_g1(tau_1[: n - 1]))
    if powers.behind is None:
        return differences
    last = subtract_garbage(powers.behind, tau_1[n - 1 : n])
    return G1Array.concat([differences, last])
