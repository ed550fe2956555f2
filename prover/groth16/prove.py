"""The three points A, B, C of a proof, from a whole witness (PROTOCOL section 3).

    A = alpha + sum z_k u_k + a delta                B = beta + sum z_k v_k + b delta
    C = sum over the C query + sum over the H query + b A + a B - a b delta
        - rho_A [eta_A/delta] - sum_g rho_g [eta_g/delta] - rho' [eta/delta]

a and b are fresh for every proof: with them A and B are uniform, and C is determined by the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend
from kernels.cpu.words.small_msm import small_msm_g1
from prover.circuit.r1cs import Factors
from prover.errors import KeyMismatch
from prover.groth16.quotient import compute_quotient_scalars
from prover.groth16.sums import sum_all
from prover.keys.halves import ARRAYS, Queries
from prover.keys.streamed import StreamedBases
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.envelope import Groth16Points

ON_ITS_WAY = 1 << 21
"""Wires of a witness of the host whose A is summed while it goes up. Of fewer, the way takes less
time than a device saves where it sums A with the rest."""


K = TypeVar("K", bound=Queries)


def prepare(key: K, backend: Backend, *, max_bytes: int | None = None) -> K:
    """The key with its bases prepared for many proofs on this backend; those in a file stay there.

    max_bytes : for each query, how much precomputation may take (default: none)
    """
    prepared: dict[str, Any] = {}
    for array in ARRAYS:
        if not array.role.is_sum:
            continue
        bases = array.of(key)
        if isinstance(bases, G1Array):
            bases = backend.fix_g1(bases, max_bytes=max_bytes)
        elif isinstance(bases, G2Array):
            bases = backend.fix_g2(bases, max_bytes=max_bytes)
        prepared[array.name] = bases
    return replace(key, **prepared)


def compute_points(
    key: Queries,
    circuit: Factors,
    z: FrMont | FrArray,
    *,
    blindings: Sequence[int],
    rho_a: int,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
) -> Groth16Points:
    """A, B and C for a witness that satisfies the circuit.

    z         : (1 | public | linked | advice | private), shape [n_wires]; uploaded if it is not.
                FrArray: of the host, as files have it
    blindings : of D', as in `prover.groth16.commitment.Linked`
    rho_a     : the blinding of D_A; 0 for a circuit without advice
    cost      : two sparse products, four transforms of the domain (six of a WHOLE quotient), four
                MSMs in G1 and one in G2
    A witness that does not satisfy the circuit gives points that do not verify: check it first, and
    verify the proof before it leaves.
    """
    with backend.integers.active(key):
        return _compute_points(
            key, circuit, z, blindings, rho_a, random_bytes, backend, progress or silent
        )


def _compute_points(
    key: Queries,
    circuit: Factors,
    z: FrMont | FrArray,
    blindings: Sequence[int],
    rho_a: int,
    random_bytes: RandomBytes,
    backend: Backend,
    report: StageProgress,
) -> Groth16Points:
    _check_sizes(key, circuit, z)
    a, b = draw_scalar(random_bytes), draw_scalar(random_bytes)
    a_end, b_end = FrArray.from_ints([1, a]), FrArray.from_ints([1, b])
    points = dict[str, G1Array]()
    if isinstance(z, FrArray):
        _require_one(z[0:1])
        if len(z) >= ON_ITS_WAY and not isinstance(key.a, StreamedBases):
            z, points["A"] = backend.upload_summing(
                z, key.a_wires, a_end, key.a, progress=partial(report, "A")
            )
    of_queries = _compute_scalars(key, circuit, z, backend, report, with_a="A" not in points)
    if isinstance(z, FrMont):
        _require_one(backend.download(of_queries.first))
    b_scalars = backend.concat([of_queries.b, b_end])
    sums = {
        "B in G1": (b_scalars, key.b1),
        "C": (of_queries.c, key.c),
        "C quotient": (of_queries.h, key.h),
    }
    if of_queries.a is not None:
        sums = {"A": (backend.concat([of_queries.a, a_end]), key.a), **sums}
    names = (*sums, "B in G2")
    found, (point_b2,) = sum_all(
        sums.values(),
        [(b_scalars, key.b2)],
        backend=backend,
        progress=lambda i, done, total: report(names[i], done, total),
    )
    points.update(zip(sums, found, strict=True))
    point_a, point_b1 = points["A"], points["B in G1"]
    point_c = small_msm_g1(  # of points that the host has by now, wherever they were computed
        FrArray.from_ints([1, 1, b, a, -a * b, -rho_a, *(-rho for rho in blindings)]),
        G1Array.concat([points["C"], points["C quotient"], point_a, point_b1, key.correction]),
    )
    return Groth16Points(a=point_a, b=point_b2, c=point_c)


@dataclass(frozen=True, slots=True, eq=False)
class _Scalars:
    """The scalars of the queries that follow from the witness, private, and the first wire."""

    first: FrArray
    a: FrArray | None
    b: FrArray
    c: FrArray
    h: FrArray


def _compute_scalars(
    key: Queries,
    circuit: Factors,
    z: FrMont | FrArray,
    backend: Backend,
    report: StageProgress,
    *,
    with_a: bool,
) -> _Scalars:
    """All in one phase, which a device replays."""
    n_reported = 0

    def told(stage: str, done: int, total: int) -> None:
        nonlocal n_reported
        n_reported += 1
        report(stage, done, total)

    def work(z: FrMont, wires: FrArray) -> _Scalars:
        return _Scalars(
            first=wires[0:1],
            h=_quotient(key, circuit, z, backend, told),
            a=backend.take(wires, key.a_wires) if with_a else None,
            b=backend.take(wires, key.b_wires),
            c=backend.take(wires, key.c_wires),
        )

    name = "scalars", circuit, type(z), with_a
    if isinstance(z, FrMont):
        found = backend.replay(name, backend.upload(z), lambda z: work(z, backend.from_mont(z)))
    else:
        found = backend.replay(name, backend.upload(z), lambda z: work(backend.to_mont(z), z))
    if n_reported == 0:  # replayed
        report("products", 2, 2)
        report("transforms", 1, 1)
    return found


def _quotient(
    key: Queries, circuit: Factors, z: FrMont, backend: Backend, report: StageProgress
) -> FrArray:
    report("products", 0, 2)
    a_rows = backend.matvec(circuit.a, z)
    report("products", 1, 2)
    b_rows = backend.matvec(circuit.b, z)
    report("products", 2, 2)
    return compute_quotient_scalars(
        a_rows,
        b_rows,
        quotient=key.quotient,
        n=key.domain,
        backend=backend,
        progress=lambda i, n: report("transforms", i, n),
    )


def _require_one(first: FrArray) -> None:
    if first.to_ints() != [1]:
        raise KeyMismatch("wire 0 of the witness is not the constant one")


def _check_sizes(key: Queries, circuit: Factors, z: FrMont | FrArray) -> None:
    found = (circuit.n_wires, circuit.n_public, circuit.linked, circuit.n_advice)
    sizes = (key.n_wires, key.n_public, key.linked, key.n_advice)
    if found != sizes or key.domain not in circuit.domains:
        raise KeyMismatch("the circuit has other sizes than the key's")
    if z.shape != (key.n_wires,):
        raise KeyMismatch(f"a witness of shape {list(z.shape)} for {key.n_wires} wires")
