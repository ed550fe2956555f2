"""Models under SecAgg+: integers that its masks carry exactly, and the opening of their sum.

SecAgg+ adds up floats that it has clipped, scaled and rounded. With the numbers below it rounds
nothing: an integer x in [-2^23, 2^23], the range of a bias, travels as x + 2^23 of 2^24 values, and
sums of up to 255 clients stay below its modulus, 2^32. All clients weigh the same.

Behind the model travels the blinding of its commitment, in limbs of 16 bits. What the masks leave
is (sum W_i, sum rho_i), and sum D_i opens to it (`prover.pedersen.opening`): so the mean is that of
the committed models, which are the proven ones, although nobody has seen one of them. Whoever sends
another model or blinding than it has committed to spoils the sum, which is then refused whole; who
it was, the masks hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from integrations.flower.arrays import Arrays, flatten, list_integers, list_shapes
from kernels.array import G1Array
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from prover.model.network import Architecture, QuantizedModel
from prover.pedersen.commitment import Blinding, Committer
from prover.pedersen.opening import combine_commitments, opens

CLIPPING = float(1 << 23)
RANGE = 1 << 24
MODULUS = 1 << 32
MAX_WEIGHT = 1.0
"""What SecAgg+ is set up with, beside how many shares it makes. (CLIPPING, RANGE): a step is 1."""
MAX_CLIENTS = MODULUS // RANGE - 1
LIMB_BITS, N_LIMBS = 16, 16


def hide(model: QuantizedModel, blinding: Blinding) -> list[npt.NDArray[Any]]:
    """What a client hands to SecAgg+: the model's integers and the limbs, as float64."""
    limbs = [(blinding.rho >> LIMB_BITS * i) % (1 << LIMB_BITS) for i in range(N_LIMBS)]
    return [np.asarray(a, dtype=np.float64) for a in (*list_integers(model), np.array(limbs))]


def open_sum(
    means: Arrays,
    commitments: Sequence[G1Array],
    architecture: Architecture,
    committer: Committer,
) -> Int64Array | None:
    """The sum of the committed models, int64[n_parameters]; None when it is not theirs.

    means       : what SecAgg+ makes of the arrays of `hide`: their sums over n, as floats
    commitments : of the n clients that were added up
    holds       : commitments bind, so sum D_i opens to one vector mod r. Its entries are below
                  2^32 in absolute value, as those of the sum of the proven models are: one integer
    """
    n = len(commitments)
    shapes = [*list_shapes(architecture), (N_LIMBS,)]
    if [mean.shape for mean in means] != shapes or not 1 <= n <= MAX_CLIENTS:
        return None
    sums = [np.rint(mean * n) for mean in means]
    if not all((np.abs(s) < MODULUS).all() for s in sums):  # false for one that is no number
        return None
    wires = flatten(sums[:-1])
    rho = sum(int(limb) << LIMB_BITS * i for i, limb in enumerate(sums[-1])) % R
    total = combine_commitments(G1Array.concat(list(commitments)), [1] * n)
    return wires if opens(total, wires, rho, committer) else None
