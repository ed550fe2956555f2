"""Means over seeds, with bands that say how far they could be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_SEEDS = 3
# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond the last, the normal one.
_T95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL95 = 1.960


@dataclass(frozen=True, slots=True)
class Band:
    """A mean and half the width of its 95 % confidence interval (Student's t), in its own unit."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def tell(self, unit: str = "", *, digits: int = 1, scale: float = 1.0) -> str:
        """Such as `91.2 ± 0.4 %`; values are multiplied by `scale` first."""
        told = f"{self.mean * scale:.{digits}f} ± {self.half * scale:.{digits}f}"
        return f"{told} {unit}".rstrip()


def is_at_most(found: Band, bound: float, *, near: float = 0.0) -> bool | None:
    """Whether a quantity is at most a bound: not, where its whole band is above it.

    near : by how much the band may go beyond the bound and the answer be yes all the same; None
           where it goes further: few seeds that differ show nothing, not that nothing is there
    """
    if found.low > bound:
        return False
    return True if found.high <= bound + near else None


def is_more(found: Band, bound: float, *, near: float = 0.0) -> bool | None:
    """Whether it is not `is_at_most`."""
    return negate(is_at_most(found, bound, near=near))


def is_at_least(found: Band, bound: float) -> bool | None:
    """Whether a quantity is at least this; None where its band is on both sides."""
    if found.low >= bound:
        return True
    return False if found.high < bound else None


def is_above(found: Band, bound: float) -> bool | None:
    """Whether a quantity is above a bound; None where the band holds the bound, at its end too."""
    if found.low > bound:
        return True
    return False if found.high < bound else None


def is_below(found: Band, bound: float) -> bool | None:
    """Whether a quantity is below a bound; None as for `is_above`."""
    return negate(is_above(found, bound))


def negate(verdict: bool | None) -> bool | None:
    """The other verdict; what is open stays so."""
    return None if verdict is None else not verdict


def join(verdicts: Sequence[bool | None]) -> bool | None:
    """Whether all hold: not, if one does not; open, if one is."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def band(values: Sequence[float]) -> Band:
    """The band of values of several seeds, which are taken for independent and about normal.

    raises : ValueError for fewer than two
    """
    n = len(values)
    if n < 2:
        raise ValueError("one value has no band: take more seeds")
    quantile = _T95[n - 2] if n - 2 < len(_T95) else _NORMAL95
    spread = float(np.std(values, ddof=1))
    return Band(float(np.mean(values)), quantile * spread / math.sqrt(n))
