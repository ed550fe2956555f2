"""What a prover asks of the points of a key before it lets them touch a secret.

Whoever made a key may mean ill, and a prover cannot tell whether its points are the right multiples
of each other. It need not: a key made in bad faith shows no more than whether a proof came about.

    D_W, PoK_W, D_A, A and B are sums of bases, with secret scalars, and a blinder with a fresh one.
    Each is uniform whatever the secrets are, if

    1. every base is canonical and on its curve: only there is a sum one of the group. A blinder
       (0, y) has order 3 on a curve of its own, and one commitment in a few hundred passed for a
       point of E without any blinding.
    2. the blinder is not the identity; in G1, whose order is prime, it then generates the group
    3. the blinder of B, on the twist, has order r

    PoK_W and C are then the only points for which the verifier's equations hold, given the others
    and the statement. The prover verifies them, decoded again, before anything leaves: together
    they tell no more than the others do.

So these are not checked:

    c, h, b1, correction     they enter C alone. A wrong one, on the curve or off it, can only keep
                             a proof from coming about.
    order of the points of   A point of the twist is one of order r plus one whose order divides the
    b2, its blinder apart    cofactor. B leaves only if it has order r, that is, if the second parts
                             add up to nothing; the first part is uniform by 3. Whether they do is
                             again whether a proof came about, and a wrong c can ask more than that.
    multiples                that a point is the circuit's, or sigma_W times another: no proof would
                             come about

The points of the verifying half touch no secret, and are decoded on their curves and of order r.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import G1Array, G2Array
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g1, is_on_curve_g2


def find_unsafe_point(*, g1: Sequence[G1Array], g2: Sequence[G2Array]) -> str | None:
    """Why some of these bases, the blinder last in each, cannot hide a secret; None: all can.

    cost : about 0.1 us a point of G1, 0.5 us one of G2
    """
    for bases in (*g1, *g2):
        if len(bases) and not bases.data[-1].any():
            return "a blinder is the identity: a proof would show its witness"
    on_curves = [is_on_curve_g1(bases).all() for bases in g1]
    on_curves += [is_on_curve_g2(bases).all() for bases in g2]
    if not all(on_curves):
        return "a point is not canonical or not on its curve: a proof could show its witness"
    if not all(is_in_subgroup_g2(bases[-1:]).all() for bases in g2):
        return "a blinder has the wrong order: a proof could show its witness"
    return None
