"""From the exponents of a key to its points: multiples of the generators, and the link's sums.

Points are made in pieces, and handed over piece by piece to what keeps them: memory, or a file
where memory is short (`prover.keys.streamed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress
from kernels.bn254 import G1, G2
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1
from prover.circuit.r1cs import R1CS
from prover.groth16.trapdoor import Trapdoor
from prover.keys.halves import (
    ARRAYS,
    NO_FILE,
    KeyArray,
    Quotient,
    Role,
    VerifyingKey,
    Wires,
)
from prover.keys.plain import PlainKey
from prover.keys.streamed import Keep, cut_pieces, keep_in_memory
from prover.pedersen.bases import load_bases
from prover.progress import StageProgress

_G1, _G2 = G1Array.from_ints([G1]), G2Array.from_ints([G2])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exponents:
    """Discrete logarithms of every point of `Queries` but the link's, and of the public basis.

    wires, points : by the names of the key's fields
    """

    wires: dict[str, Wires]
    points: dict[str, FrArray]
    public: FrArray


def make_queries(
    r1cs: R1CS,
    exponents: Exponents,
    trapdoor: Trapdoor,
    *,
    quotient: Quotient,
    backend: Backend,
    report: StageProgress,
    keep: Keep,
) -> dict[str, Any]:
    """The fields of `Queries` for these exponents.

    exponents : those of an array go when its points are there
    """
    found: dict[str, Any] = dict(exponents.wires)
    basis = exponents.points["basis"]
    for array in ARRAYS:
        if array.role is Role.LINK_BASES:
            found[array.name] = _keep_link(array, r1cs, basis, trapdoor, backend, report, keep)
        elif array.role is not Role.WIRES:
            own = exponents.points.pop(array.name)
            progress = partial(report, array.stage)
            found[array.name] = _keep_multiples(array, own, backend, progress, keep)
    return found | {
        "quotient": quotient,
        "domain": r1cs.domain,
        "n_wires": r1cs.n_wires,
        "n_advice": r1cs.n_advice,
        "linked": r1cs.linked,
    }


def _keep_multiples(
    array: KeyArray, exponents: FrArray, backend: Backend, progress: Progress, keep: Keep
) -> Any:
    """Multiples of the generator, a piece at a time: their working memory is several times theirs.

    Single points, which other files and the verifier's half are made with, stay in memory.
    """
    pieces = _multiply(array, exponents, backend, progress)
    return (keep if array.role.is_sum else keep_in_memory)(array, len(exponents), pieces)


def _multiply(
    array: KeyArray, exponents: FrArray, backend: Backend, progress: Progress
) -> Iterator[G1Array | G2Array]:
    """The points of an array, in the pieces of `cut_pieces`; the empty array is one piece."""
    pieces = cut_pieces(len(exponents)) or [slice(0, 0)]
    for i, piece in enumerate(pieces):
        within = partial(_tell_within, progress, i, len(pieces))
        if array.points is G2Array:
            yield backend.fixed_base_g2(exponents[piece], _G2, progress=within)
        else:
            yield backend.fixed_base_g1(exponents[piece], _G1, progress=within)


def _tell_within(progress: Progress, i: int, n: int, done: int, total: int) -> None:
    """The progress of the i-th of n equal pieces, as one of all."""
    progress(i * total + done, n * total)


def _keep_link(
    array: KeyArray,
    r1cs: R1CS,
    exponents: FrArray,
    trapdoor: Trapdoor,
    backend: Backend,
    report: StageProgress,
    keep: Keep,
) -> Any:
    """The bases of the link, whose two parts are added up here and forgotten.

    exponents : of `Queries.basis`, to which the bases here belong one by one
    """
    if not r1cs.linked:
        return keep(array, 0, iter([G1Array.zeros(0)]))
    report(array.stage, 0, 2)
    scaled = backend.from_mont(backend.scale(backend.to_mont(exponents), trapdoor.k2))
    of_key = backend.fixed_base_g1(scaled, _G1)
    report(array.stage, 1, 2)
    points = add_g1(_scale_hashed(r1cs.linked, trapdoor, report), of_key)
    report(array.stage, 2, 2)
    return keep(array, len(points), (points[piece] for piece in cut_pieces(len(points))))


def _scale_hashed(linked: Sequence[int], trapdoor: Trapdoor, report: StageProgress) -> G1Array:
    """k1_g h_i for the wires of each group, h_1 for the first of them; k1_g h_0; and nothing."""
    h, cpu = load_bases(max(linked), report), CpuBackend()
    scaled = [
        cpu.scale_g1(group.k1, h[: 1 + n]) for n, group in zip(linked, trapdoor.groups, strict=True)
    ]
    blinders = [points[:1] for points in scaled]
    return G1Array.concat([*(points[1:] for points in scaled), *blinders, G1Array.zeros(1)])


def make_verifying(
    r1cs: R1CS, exponents: Exponents, trapdoor: Trapdoor, backend: Backend, progress: Progress
) -> VerifyingKey:
    """The verifying half; it names no circuit and no file yet."""
    t = trapdoor
    links = [*(group.k1 for group in t.groups), t.k2] if t.groups else []
    delta_a = t.delta_a if r1cs.n_advice else 0
    g2 = backend.fixed_base_g2(FrArray.from_ints([t.beta, t.delta, delta_a, *links]), _G2)
    return VerifyingKey(
        circuit_digest=NO_FILE,
        card_digest=NO_FILE,
        proving_digest=NO_FILE,
        ceremony_digest=NO_FILE,
        n_challenges=0,
        alpha=backend.fixed_base_g1(FrArray.from_ints([t.alpha]), _G1),
        public=backend.fixed_base_g1(exponents.public, _G1, progress=progress),
        beta=g2[0:1],
        delta=g2[1:2],
        delta_a=g2[2:3],
        links=g2[3:],
    )


def to_plain(key: VerifyingKey) -> PlainKey:
    """The points of a key without committed groups; its gamma is one."""
    return PlainKey(alpha=key.alpha, public=key.public, beta=key.beta, gamma=_G2, delta=key.delta)
