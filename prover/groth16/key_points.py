"""From the exponents of a key to its points: multiples of the generators, and of a link's bases.

Points are made in pieces, and handed over piece by piece to what keeps them: memory, or a file
where memory is short (`prover.keys.streamed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress
from kernels.bn254 import G1, G2
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1
from prover.circuit.r1cs import R1CS
from prover.groth16.trapdoor import LinkTrapdoor, Trapdoor
from prover.keys.halves import (
    OWN_ARRAYS,
    KeyArray,
    LinkedGroup,
    ProvingKey,
    Quotient,
    Role,
    VerifyingKey,
    Wires,
    list_arrays,
)
from prover.keys.streamed import Keep, cut_pieces, keep_in_memory
from prover.pedersen.bases import load_bases
from prover.progress import StageProgress

_G1, _G2 = G1Array.from_ints([G1]), G2Array.from_ints([G2])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exponents:
    """Discrete logarithms of every point of `ProvingKey` and of the public basis.

    wires, points : by the names of the key's fields
    groups        : of the basis of each linked group, (K_i | eta) / gamma
    """

    wires: dict[str, Wires]
    points: dict[str, FrArray]
    groups: list[FrArray]
    public: FrArray


def make_points(
    r1cs: R1CS,
    exponents: Exponents,
    trapdoor: Trapdoor,
    *,
    quotient: Quotient,
    backend: Backend,
    report: StageProgress,
    keep: Keep,
) -> ProvingKey:
    """The key of these exponents; its verifying half names no circuit and no file yet.

    exponents : those of an array go when its points are there
    """
    e = exponents
    public = backend.fixed_base_g1(e.public, _G1, progress=partial(report, "public basis"))
    arrays: dict[str, Any] = dict(e.wires)
    for array in OWN_ARRAYS:
        if array.role is not Role.WIRES:
            arrays[array.name] = _keep_multiples(
                array, e.points.pop(array.name), backend, partial(report, array.stage), keep
            )
    groups = [
        _make_group(group, exponents, link, backend, report, keep)
        for group, (exponents, link) in enumerate(zip(e.groups, trapdoor.links, strict=True))
    ]
    return ProvingKey(
        verifying=_make_verifying(r1cs, trapdoor, backend, public),
        quotient=quotient,
        domain=r1cs.domain,
        n_wires=r1cs.n_wires,
        n_advice=r1cs.n_advice,
        groups=tuple(groups),
        **arrays,
    )


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


def _make_group(
    group: int,
    exponents: FrArray,
    link: LinkTrapdoor,
    backend: Backend,
    report: StageProgress,
    keep: Keep,
) -> LinkedGroup:
    """The bases of a linked group; the halves of its link are added up here and forgotten.

    The wires come first in both arrays; h_0 blinds the commitment, eta that of the proof.
    """
    basis, linked = (a for a in list_arrays(group + 1) if a.group == group)
    n_wires = len(exponents) - 1
    kept = _keep_multiples(basis, exponents, backend, partial(report, basis.stage), keep)
    report("link", 0, 2)
    scaled = backend.from_mont(backend.scale(backend.to_mont(exponents), link.k2))
    of_key = backend.fixed_base_g1(scaled, _G1)
    report("link", 1, 2)
    h = load_bases(n_wires, report)
    hashed = CpuBackend().scale_g1(link.k1, G1Array.concat([h[1:], h[:1]]))
    sums = add_g1(hashed, G1Array.concat([of_key[:n_wires], G1Array.zeros(1)]))
    report("link", 2, 2)
    points = G1Array.concat([sums, of_key[n_wires:]])
    pieces = (points[piece] for piece in cut_pieces(len(points)))
    return LinkedGroup(basis=kept, link=keep(linked, len(points), pieces))


def _make_verifying(
    r1cs: R1CS, trapdoor: Trapdoor, backend: Backend, public: G1Array
) -> VerifyingKey:
    t = trapdoor
    delta_a = t.delta_a if r1cs.n_advice else 0
    links = [x for link in t.links for x in (link.a * link.k1, link.a * link.k2, link.a)]
    scalars = FrArray.from_ints([t.beta, t.gamma, t.delta, delta_a, *links])
    g2 = backend.fixed_base_g2(scalars, _G2)
    plain = VerifyingKey.plain(
        alpha=backend.fixed_base_g1(FrArray.from_ints([t.alpha]), _G1),
        public=public,
        beta=g2[0:1],
        gamma=g2[1:2],
        delta=g2[2:3],
    )
    return replace(plain, delta_a=g2[3:4], links=g2[4:])
