"""The commitments that a proof makes (PROTOCOL section 3).

    D'  = sum w_i [K_i/gamma] + rho' [eta/gamma]                        of each linked group
    pi  = sum w_i (k1 h_i + k2 [K_i/gamma]) + rho k1 h_0 + rho' k2 [eta/gamma]
    D_A = sum_advice z_k [K_k/delta_A] + rho_A [eta_A/delta_A]

pi shows that D' opens to the same wires as the commitment D of `prover.pedersen.commitment`, which
is made once for a model and serves every key. rho opens D and stays with its owner; rho' and rho_A
are fresh for each proof and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from kernels.array import FrArray, G1Array
from kernels.backend import Backend
from prover.errors import KeyMismatch
from prover.groth16.sums import sum_all
from prover.keys.halves import G1Bases, LinkedGroup, ProvingKey
from prover.randomness import RandomBytes, draw_scalar

_INFINITY = G1Array.zeros(1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """What is behind the commitment D to one linked group: its wires and the blinding rho."""

    wires: FrArray = field(repr=False)
    rho: int = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """D' of each linked group, with its blinding rho', and pi; arrays as in `Proof`."""

    own: G1Array
    links: G1Array
    blindings: tuple[int, ...] = field(repr=False)


def commit_wires(
    key: ProvingKey,
    openings: Sequence[Opening],
    advice: FrArray,
    *,
    rho_a: int,
    random_bytes: RandomBytes,
    backend: Backend,
) -> tuple[Linked, G1Array]:
    """`link_groups` and `commit_advice`, whose sums a device computes together."""
    blindings = _draw_blindings(key, openings, random_bytes)
    sums = chain(
        _list_links(key, openings, blindings, backend), _list_advice(key, advice, rho_a, backend)
    )
    points, _ = sum_all(sums, backend=backend)
    n_links = 2 * len(openings)
    return _linked_of(points[:n_links], blindings), G1Array.concat([*points[n_links:], _INFINITY])[
        :1
    ]


def link_group(
    group: LinkedGroup, opening: Opening, blinding: int, backend: Backend
) -> tuple[G1Array, G1Array]:
    """D' and pi of one group, arrays of length 1. Raises KeyMismatch for another length.

    blinding : rho', fresh and uniform
    """
    (own, link), _ = sum_all(_list_link(group, opening, blinding, backend), backend=backend)
    return own, link


def link_groups(
    key: ProvingKey, openings: Sequence[Opening], random_bytes: RandomBytes, backend: Backend
) -> Linked:
    """D' and pi of every linked group under fresh blindings. Raises KeyMismatch.

    openings : of the commitments in the statement, in their order
    """
    blindings = _draw_blindings(key, openings, random_bytes)
    points, _ = sum_all(_list_links(key, openings, blindings, backend), backend=backend)
    return _linked_of(points, blindings)


def commit_advice(key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend) -> G1Array:
    """D_A of the advice wires, shape [n_advice]; infinity for a circuit without them."""
    points, _ = sum_all(_list_advice(key, advice, rho_a, backend), backend=backend)
    return points[0] if points else _INFINITY


def _draw_blindings(
    key: ProvingKey, openings: Sequence[Opening], random_bytes: RandomBytes
) -> tuple[int, ...]:
    if len(openings) != len(key.groups):
        raise KeyMismatch(f"{len(openings)} commitments for a key of {len(key.groups)}")
    return tuple(draw_scalar(random_bytes) for _ in openings)


def _list_links(
    key: ProvingKey, openings: Sequence[Opening], blindings: Sequence[int], backend: Backend
) -> Iterator[tuple[FrArray, G1Bases]]:
    """The sums D' and pi of each group."""
    for group, opening, blinding in zip(key.groups, openings, blindings, strict=True):
        yield from _list_link(group, opening, blinding, backend)


def _list_link(
    group: LinkedGroup, opening: Opening, blinding: int, backend: Backend
) -> Iterator[tuple[FrArray, G1Bases]]:
    if len(opening.wires) != len(group):
        raise KeyMismatch(f"{len(opening.wires)} wires for a linked group of {len(group)}")
    yield backend.concat([opening.wires, FrArray.from_ints([blinding])]), group.basis
    blinders = FrArray.from_ints([opening.rho, blinding])
    yield backend.concat([opening.wires, blinders]), group.link


def _list_advice(
    key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend
) -> Iterator[tuple[FrArray, G1Bases]]:
    """The sum D_A, if there is one."""
    if len(advice) != key.n_advice:
        raise KeyMismatch(f"{len(advice)} advice wires for a key of {key.n_advice}")
    if key.n_advice:
        yield backend.concat([advice, FrArray.from_ints([rho_a])]), key.advice


def _linked_of(points: Sequence[G1Array], blindings: tuple[int, ...]) -> Linked:
    """Of D' and pi, group by group."""
    none = G1Array.zeros(0)
    return Linked(
        own=G1Array.concat([none, *points[::2]]),
        links=G1Array.concat([none, *points[1::2]]),
        blindings=blindings,
    )
