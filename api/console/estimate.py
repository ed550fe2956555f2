"""How long a proof would take here: a few operations are timed, then counted in the circuit.

a row            one base of the quotient query, four transforms
a private wire   one base of the A query and of the C query where it occurs, full-size scalars
committed wires  advice commitment, A and C queries; B queries in G1 and G2; small scalars
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend
from kernels.bn254 import G1, G2
from prover.circuit.accuracy import ReportLine
from prover.circuit.sizes import CircuitSizes

Clock = Callable[[], float]

_LG_N = 14
_REPEATS = 3
_SMALL_BITS = 10
_N_TRANSFORMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Nanoseconds per base of a multi-exponentiation, or per value of a transform."""

    full: float
    small: float
    small_g2: float
    transform: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of one proof; lines_s in the order of `CircuitReport.lines`."""

    lines_s: tuple[float, ...]
    padding_s: float
    committed_s: float

    @property
    def total_s(self) -> float:
        return sum(self.lines_s) + self.padding_s + self.committed_s


def measure_rates(backend: Backend, clock: Clock) -> Rates:
    """Best of three runs each on 2^14 values, after one that compiles. Scalars are no secrets."""
    n = 1 << _LG_N
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 63, size=(n, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(3)  # below 2^252, hence below r
    full, small = FrArray(words), FrArray(np.zeros_like(words))
    small.data[:, 0] = rng.integers(0, 1 << _SMALL_BITS, size=n)
    g1 = backend.fixed_base_g1(full, G1Array.from_ints([G1]))
    g2 = backend.fixed_base_g2(full, G2Array.from_ints([G2]))
    values = backend.to_mont(full)

    def time_ns(call: Callable[[], object]) -> float:
        call()
        best = min(_elapsed(call, clock) for _ in range(_REPEATS))
        return best * 1e9 / n

    return Rates(
        full=time_ns(lambda: backend.msm_g1(full, g1)),
        small=time_ns(lambda: backend.msm_g1(small, g1)),
        small_g2=time_ns(lambda: backend.msm_g2(small, g2)),
        transform=time_ns(lambda: backend.ntt(values)),
    )


def estimate(sizes: CircuitSizes, lines: Sequence[ReportLine], rates: Rates) -> Estimate:
    """Counts of the circuit times the rates. Private wires share their queries evenly."""
    in_a, in_b, in_c = sizes.occurring
    n_private_bases = sizes.n_private_in_a + sizes.n_private
    n_small = in_a + in_c - n_private_bases + sizes.n_advice + in_b
    row_ns = rates.full + _N_TRANSFORMS * rates.transform
    wire_ns = rates.full * n_private_bases / max(sizes.n_private, 1)
    return Estimate(
        lines_s=tuple((x.rows * row_ns + x.private_wires * wire_ns) / 1e9 for x in lines),
        padding_s=((1 << sizes.lg_n) - sizes.n_rows) * row_ns / 1e9,
        committed_s=(n_small * rates.small + in_b * rates.small_g2) / 1e9,
    )


def _elapsed(call: Callable[[], object], clock: Clock) -> float:
    started = clock()
    call()
    return clock() - started
