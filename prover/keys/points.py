"""What a prover asks of the points of a key before it lets them touch a secret.

Whoever made a key may mean ill, and a prover cannot tell whether its points are the right multiples
of each other. It need not: a key made in bad faith shows no more than whether a proof came about.

    D_W and the other commitments of a statement are made without any key: it cannot touch them.

    D', D_A, A and B are sums of bases, with secret scalars, and a blinder with one that is fresh
    for each proof. Each is uniform whatever the secrets are, if

    1. every base is canonical and on its curve: only there is a sum one of the group. A blinder
       (0, y) has order 3 on a curve of its own, and one commitment in a few hundred passed for a
       point of E without any blinding.
    2. the blinder is not the identity; in G1, whose order is prime, it then generates the group
    3. the blinder of B, on the twist, has order r

    pi and C are then the only points for which the verifier's equations hold, given the others and
    the statement: pi is paired with [1]_2, and delta is no identity and of order r. The prover
    verifies them, decoded again, before anything leaves: together they tell no more than the others
    do. Above all pi tells nothing of rho, which opens the commitment under every other key.

Of the link the points are asked too, though no secret hangs on them: its bases lie on the curve,
and none of its blinders is the identity. A key without P_g = k1_g h_0 + k2 eta_g takes no blinded
commitment; an owner that heard of it from failed proofs could think of leaving the blinding out.
The blinders eta_g in the basis of D' may be anything: eta, with a scalar of its own, hides.

The corrections lie on the curve, too. They enter C alone, but meet rho, which opens a commitment
under every key, not only this one. On the curve a wrong one makes C wrong by a multiple of rho, and
a proof comes about for one rho in r. A point of small order, on a curve of its own, is one that
could ask for rho modulo that order.

So these are not checked:

    c, h, b1                 they enter C alone, with wires and what is fresh for each proof. A
                             wrong one, on the curve or off it, can only keep a proof from coming
                             about.
    order of the points of   A point of the twist is one of order r plus one whose order divides the
    b2, its blinder apart    cofactor. B leaves only if it has order r, that is, if the second parts
                             add up to nothing; the first part is uniform by 3. Whether they do is
                             again whether a proof came about, and a wrong c can ask more than that.
    multiples                that a point is the circuit's, or a base of a link k1 h_i plus k2 times
                             another: no proof would come about

The points of the verifying half touch no secret, and are decoded on their curves and of order r.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import G1Array, G2Array
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g1, is_on_curve_g2


def find_unsafe_blinder(
    *,
    g1: Sequence[G1Array],
    g2: Sequence[G2Array],
    link: G1Array,
    are_on_curves: bool,
) -> str | None:
    """Why some bases cannot hide a secret, or prove nothing hidden; None: all can.

    g1, g2 : the blinders of bases, one each; none of bases that are empty
    link   : the blinders of the link, one of each group and one of the proof
    are_on_curves : what the function of this name says of all these bases, and of the corrections
    """
    if not all(points.data.any(axis=1).all() for points in (*g1, *g2, link)):
        return "a blinder is the identity: a proof would show its witness"
    if not are_on_curves:
        return "a point is not canonical or not on its curve: a proof could show its witness"
    if not all(is_in_subgroup_g2(points).all() for points in g2):
        return "a blinder has the wrong order: a proof could show its witness"
    return None


def are_on_curves(arrays: Sequence[G1Array | G2Array]) -> bool:
    """Whether every point of these arrays is canonical and on its curve.

    cost : about 0.1 us a point of G1, 0.5 us one of G2
    """
    return all(
        bool((is_on_curve_g1(a) if isinstance(a, G1Array) else is_on_curve_g2(a)).all())
        for a in arrays
    )
