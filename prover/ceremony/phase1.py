"""Powers of tau are powers: what is tested of a stranger's file before a key is made of it.

Every point is in its group. With random weights rho,

    e(sum rho_i P_i, tau_2[1]) = e(sum rho_i P_(i+1), [1])       for tau, alpha tau, beta tau in G1
    e(tau_1[1], sum rho_i Q_i) = e([1], sum rho_i Q_(i+1))       for tau in G2
    e(beta_1[0], [1]) = e([1], beta_2)

and a Lagrange basis is the inverse transform of its powers,

    sum rho_i [L_i] = sum_j c_j [tau^j],      c = the inverse transform of rho

Only what circuits of n rows use is read, and tested. Who contributed is `prover.ceremony.history`.
"""

from __future__ import annotations

import numpy as np

from kernels.array import FrArray, FrMont, G1Array
from kernels.backend import Backend
from kernels.bn254 import R, root_of_unity
from prover.ceremony.lagrange import compute_prepared, fold_even, fold_powers
from prover.ceremony.ratios import (
    G1_GENERATOR,
    G2_GENERATOR,
    draw_weights,
    have_same_ratio,
)
from prover.errors import FormatError
from prover.formats.checks import require_finite, require_g1, require_g2
from prover.formats.ptau import ALPHA_1, BETA_1, BETA_2, LAGRANGE, TAU_1, TAU_2, Powers, Prepared
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes

NEXT_STEP = "get the file again from those who ran the ceremony"


def require_powers(
    powers: Powers,
    backend: Backend,
    random_bytes: RandomBytes,
    progress: StageProgress = silent,
) -> Prepared:
    """Tests the powers; gives their Lagrange bases: the file's, tested, or computed from them.

    raises : FormatError, naming the section that is wrong
    """
    progress("powers", 0, 2)
    _require_groups(powers, backend, random_bytes)
    progress("powers", 1, 2)
    _require_ratios(powers, backend, random_bytes)
    progress("powers", 2, 2)
    if powers.prepared is None:
        return compute_prepared(powers, backend, progress)
    progress("Lagrange bases", 0, 1)
    _require_prepared(powers, powers.prepared, backend, random_bytes)
    progress("Lagrange bases", 1, 1)
    return powers.prepared


def _require_groups(powers: Powers, backend: Backend, random_bytes: RandomBytes) -> None:
    g1 = {TAU_1: powers.tau_1, ALPHA_1: powers.alpha_1, BETA_1: powers.beta_1}
    g2 = {TAU_2: powers.tau_2, BETA_2: powers.beta_2}
    p = powers.prepared
    if p is not None:
        g1 |= {
            14: p.alpha_1,
            15: p.beta_1,
            12: G1Array.concat([x for x in (p.tau_1, p.odd, p.even) if x is not None]),
        }
        g2 |= {13: p.tau_2}
    for section, points in g1.items():
        require_g1(points, backend, where=powers.where(section))
    for section, q in g2.items():
        require_g2(q, backend, where=powers.where(section), random_bytes=random_bytes)
    for section in (TAU_1, ALPHA_1, BETA_1):  # the others are compared with these
        require_finite(g1[section][:2], where=powers.where(section))


def _require_ratios(powers: Powers, backend: Backend, random_bytes: RandomBytes) -> None:
    tau_1, tau_2, n = powers.tau_1[: powers.n_tau], powers.tau_2, powers.n
    alpha_1, beta_1 = powers.alpha_1, powers.beta_1
    for section, first, one in ((TAU_1, tau_1, G1_GENERATOR), (TAU_2, tau_2, G2_GENERATOR)):
        if not np.array_equal(first.data[:1], one.data):
            raise _refuse(powers, section, "does not begin with the generator")
    if not have_same_ratio(G1_GENERATOR, tau_1[1:2], G2_GENERATOR, tau_2[1:2]):
        raise _refuse(powers, TAU_2, "is of another tau than section 2")
    for section, points in ((TAU_1, tau_1), (ALPHA_1, alpha_1), (BETA_1, beta_1)):
        weights = draw_weights(len(points) - 1, random_bytes)
        own, shifted = (backend.msm_g1(weights, part) for part in (points[:-1], points[1:]))
        if not have_same_ratio(own, shifted, G2_GENERATOR, tau_2[1:2]):
            raise _refuse(powers, section, "are no powers of tau")
    weights = draw_weights(n - 1, random_bytes)
    of_own, of_shifted = (backend.msm_g2(weights, part) for part in (tau_2[:-1], tau_2[1:]))
    if not have_same_ratio(G1_GENERATOR, tau_1[1:2], of_own, of_shifted):
        raise _refuse(powers, TAU_2, "are no powers of tau")
    if not have_same_ratio(G1_GENERATOR, beta_1[:1], G2_GENERATOR, powers.beta_2):
        raise _refuse(powers, BETA_2, "is of another beta than section 5")
    if np.array_equal(tau_1.data[n, :4], G1_GENERATOR.data[0, :4]):  # +-[1]: tau^(2n) = 1
        raise _refuse(powers, TAU_1, f"tau is a root of one of order 2^{powers.lg_n + 1} at most")


def _require_prepared(
    powers: Powers, prepared: Prepared, backend: Backend, random_bytes: RandomBytes
) -> None:
    n = powers.n
    for section, bases, of in (
        (TAU_1, prepared.tau_1, powers.tau_1[:n]),
        (ALPHA_1, prepared.alpha_1, powers.alpha_1),
        (BETA_1, prepared.beta_1, powers.beta_1),
    ):
        weights = draw_weights(n, random_bytes)
        scalars = backend.from_mont(_transform(weights, backend))
        if not backend.msm_g1(weights, bases).equals(backend.msm_g1(scalars, of)):
            raise _refuse(powers, LAGRANGE[section], "is no Lagrange basis of its powers")
    weights = draw_weights(n, random_bytes)
    scalars = backend.from_mont(_transform(weights, backend))
    if not backend.msm_g2(weights, prepared.tau_2).equals(backend.msm_g2(scalars, powers.tau_2)):
        raise _refuse(powers, LAGRANGE[TAU_2], "is no Lagrange basis of its powers")
    _require_odd(powers, prepared.odd, backend, random_bytes)
    if prepared.even is not None:
        _require_even(powers, prepared.even, backend, random_bytes)


def _require_odd(powers: Powers, odd: G1Array, backend: Backend, random_bytes: RandomBytes) -> None:
    """L'_(2i+1) = 1/(2n) sum_j w^(-ij) v^-j (tau^j - tau^(n+j)), w = v^2: v^n is -1."""
    n = powers.n
    weights = draw_weights(n, random_bytes)
    turned = backend.powers(pow(root_of_unity(powers.lg_n + 1), -1, R), n, first=(R + 1) // 2)
    scalars = backend.from_mont(backend.mul(_transform(weights, backend), turned))
    if not backend.msm_g1(weights, odd).equals(backend.msm_g1(scalars, fold_powers(powers))):
        raise _refuse(powers, LAGRANGE[TAU_1], "is no Lagrange basis on the odd coset")


def _require_even(
    powers: Powers, even: G1Array, backend: Backend, random_bytes: RandomBytes
) -> None:
    """L'_(2i) = 1/(2n) sum_j w^(-ij) (tau^j + tau^(n+j))."""
    weights = draw_weights(powers.n, random_bytes)
    scalars = backend.from_mont(backend.scale(_transform(weights, backend), (R + 1) // 2))
    if not backend.msm_g1(weights, even).equals(backend.msm_g1(scalars, fold_even(powers))):
        raise _refuse(powers, LAGRANGE[TAU_1], "is no Lagrange basis of twice the points")


def _transform(weights: FrArray, backend: Backend) -> FrMont:
    return backend.ntt(backend.to_mont(weights), inverse=True)


def _refuse(powers: Powers, section: int, what: str) -> FormatError:
    return FormatError(what, where=powers.where(section), next_step=NEXT_STEP)
