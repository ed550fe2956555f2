"""The commitments that a proof makes (PROTOCOL section 3).

    D'  = sum w_i [K_i] + sum_g rho_g eta_g + rho' eta                     over all linked groups
    pi  = sum w_i (k1_g h_i + k2 [K_i]) + sum_g rho_g (k1_g h_0 + k2 eta_g) + rho' k2 eta
    D_A = sum_advice z_k [K_k/delta_A] + rho_A [eta_A/delta_A]

pi shows that D' opens to the same wires as the commitments D_g of `prover.pedersen.commitment`,
which are made once, of a model for instance, and serve every key. rho_g opens D_g and stays with
its owner; rho' and rho_A are fresh for each proof and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from kernels.array import FrArray, G1Array
from kernels.backend import Backend
from prover.errors import KeyMismatch
from prover.groth16.sums import sum_all
from prover.keys.halves import G1Bases, ProvingKey

_INFINITY = G1Array.zeros(1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """What is behind the commitment D to one linked group: its wires and the blinding rho."""

    wires: FrArray = field(repr=False)
    rho: int = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """D' and pi, arrays as in `Proof`; infinity, without blindings, where there are no groups.

    blindings : of D': rho of each group, then rho'
    """

    own: G1Array
    link: G1Array
    blindings: tuple[int, ...] = field(repr=False)


def commit_wires(
    key: ProvingKey,
    openings: Sequence[Opening],
    advice: FrArray,
    *,
    blinding: int,
    rho_a: int,
    backend: Backend,
) -> tuple[Linked, G1Array]:
    """`link_groups` and `commit_advice`, whose sums a device computes together."""
    blindings = _list_blindings(openings, blinding)
    sums = chain(
        _list_links(key, openings, blindings, backend), _list_advice(key, advice, rho_a, backend)
    )
    points, _ = sum_all(sums, backend=backend)
    n_links = 2 if blindings else 0
    return _linked_of(points[:n_links], blindings), (points[n_links:] or [_INFINITY])[0]


def link_groups(
    key: ProvingKey, openings: Sequence[Opening], blinding: int, backend: Backend
) -> Linked:
    """D' and pi of all linked groups; infinity for a circuit without them. Raises KeyMismatch.

    openings : of the commitments in the statement, in their order
    blinding : rho', fresh and uniform
    """
    blindings = _list_blindings(openings, blinding)
    points, _ = sum_all(_list_links(key, openings, blindings, backend), backend=backend)
    return _linked_of(points, blindings)


def commit_advice(key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend) -> G1Array:
    """D_A of the advice wires, shape [n_advice]; infinity for a circuit without them."""
    points, _ = sum_all(_list_advice(key, advice, rho_a, backend), backend=backend)
    return points[0] if points else _INFINITY


def _list_blindings(openings: Sequence[Opening], blinding: int) -> tuple[int, ...]:
    """Those of the commitments, and rho'; none without linked groups."""
    return (*(opening.rho for opening in openings), blinding) if openings else ()


def _list_links(
    key: ProvingKey, openings: Sequence[Opening], blindings: Sequence[int], backend: Backend
) -> Iterator[tuple[FrArray, G1Bases]]:
    """The sums D' and pi, whose scalars are the same array."""
    if len(openings) != len(key.linked):
        raise KeyMismatch(f"{len(openings)} commitments for a key of {len(key.linked)}")
    for n_wires, opening in zip(key.linked, openings, strict=True):
        if len(opening.wires) != n_wires:
            raise KeyMismatch(f"{len(opening.wires)} wires for a linked group of {n_wires}")
    if openings:
        wires = [opening.wires for opening in openings]
        scalars = backend.concat([*wires, FrArray.from_ints(blindings)])
        yield scalars, key.basis
        yield scalars, key.link


def _list_advice(
    key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend
) -> Iterator[tuple[FrArray, G1Bases]]:
    """The sum D_A, if there is one."""
    if len(advice) != key.n_advice:
        raise KeyMismatch(f"{len(advice)} advice wires for a key of {key.n_advice}")
    if key.n_advice:
        yield backend.concat([advice, FrArray.from_ints([rho_a])]), key.advice


def _linked_of(points: Sequence[G1Array], blindings: tuple[int, ...]) -> Linked:
    """Of D' and pi, if there are any."""
    own, link = points or (_INFINITY, _INFINITY)
    return Linked(own=own, link=link, blindings=blindings)
