"""What a commitment is opened to, and sums of commitments.

sum_j c_j D_j  opens to  (sum_j c_j w_j, sum_j c_j rho_j)         both mod r
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import FrArray, G1Array
from kernels.bn254 import R
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.numpy_types import Int64Array
from prover.errors import ShapeMismatch
from prover.pedersen.commitment import Committer


def opens(d: G1Array, values: Int64Array | FrArray, rho: int, committer: Committer) -> bool:
    """Whether D, an array of length 1, is the commitment to these values under this rho.

    A rho that is no scalar below r opens nothing: an opening has one form. Raises ShapeMismatch
    as `Committer.commit` does, and for another number of points.
    """
    if len(d) != 1:
        raise ShapeMismatch(f"one commitment is opened, got {len(d)}")
    return 0 <= rho < R and committer.commit(values, rho).equals(d)


def combine_commitments(points: G1Array, weights: Sequence[int]) -> G1Array:
    """sum_j c_j D_j as an array of length 1; of none, infinity.

    weights : public integers of any sign, taken mod r
    Raises ShapeMismatch when there are not as many weights as points.
    """
    if len(points) != len(weights):
        raise ShapeMismatch(f"{len(weights)} weights for {len(points)} commitments")
    return small_msm_g1(FrArray.from_ints(weights), points)
