"""What rules reveal of a client in a round, to all who read the chain or run the server.

    raw      its updated model as it is: FedAvg's server, the others of a chain with PoW, PoS or
             PoFL, and whoever runs Krum, a trimmed mean or a median
    noised   that, clipped and with Gaussian noise
    clear    its quantized model and proven count: ZKPoT as it would be without secure aggregation
    sum      the exact mean of n quantized models, and each one's proven count: ZKPoT

A client that is one of n knows its own model, so it sees the mean of the other n - 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["raw", "noised", "clear", "sum", "floats", "count"]

DELTA = 1e-5
"""Of the (epsilon, delta) that noise is told with."""
CLEAR_RULES = "FedAvg, PoW, PoS, PoFL, Krum, trimmed mean, median"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """kind : of the above; `floats` is the mean of n models that are not quantized, `count` the
           proven count alone: no rule shows only these, they tell what does what
    n      : models in the mean, 1 where one is seen alone
    noise  : standard deviation of every parameter's noise, over the norm that updates are cut to
    """

    kind: Kind
    n: int = 1
    noise: float = 0.0

    @property
    def name(self) -> str:
        if self.kind in ("sum", "floats"):
            return f"{self.kind}-{self.n}"
        return f"noised-{self.noise:g}" if self.kind == "noised" else self.kind

    @property
    def label(self) -> str:
        """In words, for tables."""
        return {
            "raw": f"the update ({CLEAR_RULES})",
            "noised": f"the update with noise {self.noise:g} (PoFL with noise)",
            "clear": "the quantized model and k (ZKPoT without secure aggregation)",
            "sum": f"the mean of {self.n} quantized models and each k (ZKPoT)",
            "floats": f"the mean of {self.n} models that are not quantized (no rule here)",
            "count": "k alone (part of ZKPoT)",
        }[self.kind]

    @property
    def short(self) -> str:
        """For axes."""
        return {
            "raw": "update",
            "noised": f"noise {self.noise:g}",
            "clear": "quantized,\nalone",
            "sum": f"ZKPoT,\nn = {self.n}",
            "floats": f"floats,\nn = {self.n}",
            "count": "k alone",
        }[self.kind]


def list_reveals(noises: Sequence[float], numbers: Sequence[int]) -> list[Reveal]:
    """Each kind that a rule shows, with these levels of noise and these numbers of clients."""
    return [
        Reveal(kind="raw"),
        *(Reveal(kind="noised", noise=noise) for noise in noises),
        Reveal(kind="clear"),
        *(Reveal(kind="sum", n=n) for n in numbers),
    ]


def bound_epsilon(noise: float, delta: float = DELTA) -> float:
    """An upper bound on epsilon of the Gaussian mechanism on a clipped update.

    Another sample moves an update by at most twice the norm it is cut to, so
    rho = (2 / noise)^2 / 2 in zero-concentrated differential privacy, and
    epsilon = rho + 2 sqrt(rho log(1 / delta)).
    source : Bun and Steinke, TCC 2016, arXiv 1605.02065, propositions 1.3 and 1.6
    """
    rho = 2.0 / noise**2
    return rho + 2.0 * math.sqrt(rho * math.log(1.0 / delta))


def add_noise(
    updates: torch.Tensor, *, noise: float, most: float, generator: torch.Generator
) -> torch.Tensor:
    """Updates [T, P] cut to the norm `most`, then N(0, (noise most)^2) on every parameter."""
    norms = updates.norm(dim=1, keepdim=True)
    cut = updates * torch.clamp(most / norms, max=1.0)
    return cut + noise * most * torch.randn(updates.shape, generator=generator)


def draw_others(n_targets: int, n_models: int, n: int, generator: torch.Generator) -> torch.Tensor:
    """float32[T, M] of zeros and n - 1 ones a row: which models stand in a sum with a target.

    raises : ValueError when there are not twice as many models: sums of nearly all would be nearly
             the same, and hide less than others do that are drawn anew
    """
    if 2 * (n - 1) > n_models:
        raise ValueError(f"a sum of {n} takes {n - 1} out of twice as many, not of {n_models}")
    order = torch.rand(n_targets, n_models, generator=generator).argsort(1)
    return (order < n - 1).to(torch.float32)


def take_mean(targets: torch.Tensor, others: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """float32[T, P], the mean of each target and its chosen others, [M, P] and [T, M]."""
    n = 1 + int(chosen[0].sum())
    return (targets + chosen @ others) / n
