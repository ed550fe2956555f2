"""The commitments that a proof makes (PROTOCOL section 3).

    D'  = sum w_i [K_i/gamma] + rho' [eta/gamma]                        of each linked group
    pi  = sum w_i (k1 h_i + k2 [K_i/gamma]) + rho k1 h_0 + rho' k2 [eta/gamma]
    D_A = sum_advice z_k [K_k/delta_A] + rho_A [eta_A/delta_A]

pi shows that D' opens to the same wires as the commitment D of `prover.pedersen.commitment`, which
is made once for a model and serves every key. rho opens D and stays with its owner; rho' and rho_A
are fresh for each proof and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kernels.array import FrArray, G1Array
from kernels.backend import Backend, Progress
from prover.errors import KeyMismatch
from prover.groth16.sums import sum_g1
from prover.keys.halves import LinkedGroup, ProvingKey
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


def link_group(
    group: LinkedGroup, opening: Opening, blinding: int, backend: Backend
) -> tuple[G1Array, G1Array]:
    """D' and pi of one group, arrays of length 1. Raises KeyMismatch for another length.

    blinding : rho', fresh and uniform
    """
    if len(opening.wires) != len(group):
        raise KeyMismatch(f"{len(opening.wires)} wires for a linked group of {len(group)}")
    own = backend.concat([opening.wires, FrArray.from_ints([blinding])])
    both = backend.concat([opening.wires, FrArray.from_ints([opening.rho, blinding])])
    return sum_g1(own, group.basis, backend), sum_g1(both, group.link, backend)


def link_groups(
    key: ProvingKey, openings: Sequence[Opening], random_bytes: RandomBytes, backend: Backend
) -> Linked:
    """D' and pi of every linked group under fresh blindings. Raises KeyMismatch.

    openings : of the commitments in the statement, in their order
    """
    if len(openings) != len(key.groups):
        raise KeyMismatch(f"{len(openings)} commitments for a key of {len(key.groups)}")
    blindings = tuple(draw_scalar(random_bytes) for _ in openings)
    pairs = [
        link_group(group, opening, blinding, backend)
        for group, opening, blinding in zip(key.groups, openings, blindings, strict=True)
    ]
    none = G1Array.zeros(0)
    return Linked(
        own=G1Array.concat([none, *(own for own, _ in pairs)]),
        links=G1Array.concat([none, *(link for _, link in pairs)]),
        blindings=blindings,
    )


def commit_advice(
    key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend, progress: Progress | None = None
) -> G1Array:
    """D_A of the advice wires, shape [n_advice]; infinity for a circuit without them."""
    if len(advice) != key.n_advice:
        raise KeyMismatch(f"{len(advice)} advice wires for a key of {key.n_advice}")
    if key.n_advice == 0:
        return _INFINITY
    scalars = backend.concat([advice, FrArray.from_ints([rho_a])])
    return sum_g1(scalars, key.advice, backend, progress)
