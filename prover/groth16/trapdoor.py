"""The secret scalars of a setup: who keeps them can prove anything under its key."""

from __future__ import annotations

from dataclasses import dataclass, fields

from kernels.bn254 import R
from prover.errors import TrapdoorInvalid
from prover.groth16.domain import Domain
from prover.randomness import RandomBytes, draw_nonzero_scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTrapdoor:
    """The secret scalars of one linked group: its blinder's, and those of its link."""

    eta: int
    k1: int
    k2: int
    a: int

    def __repr__(self) -> str:
        return "LinkTrapdoor(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trapdoor:
    """The setup's secret scalars, each in [1, r). Forget them: they forge proofs."""

    tau: int
    alpha: int
    beta: int
    gamma: int
    delta: int
    delta_a: int
    eta_a: int
    links: tuple[LinkTrapdoor, ...]

    def __repr__(self) -> str:
        return "Trapdoor(hidden)"

    @property
    def scalars(self) -> dict[str, int]:
        """Every scalar by its name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "links"}
        for i, link in enumerate(self.links):
            own |= {f"links[{i}].{f.name}": getattr(link, f.name) for f in fields(link)}
        return own

    def check(self, n: int) -> None:
        """Raises TrapdoorInvalid when a trapdoor point would be the identity, or tau is one of the
        points that rows or a quotient of n points are interpolated on."""
        for name, scalar in self.scalars.items():
            if scalar % R == 0:
                raise TrapdoorInvalid(name)
        if any(Domain(n, of_quotient=q).vanish_at(self.tau) == 0 for q in (False, True)):
            raise TrapdoorInvalid("tau")


def draw_trapdoor(random_bytes: RandomBytes, *, n_linked: int) -> Trapdoor:
    """Fresh scalars, independent of each other, for a circuit of so many linked groups.

    `random_bytes` must be cryptographic.
    """

    def draw(owner: type) -> dict[str, int]:
        names = [f.name for f in fields(owner) if f.name != "links"]
        return {name: draw_nonzero_scalar(random_bytes) for name in names}

    own = draw(Trapdoor)
    return Trapdoor(links=tuple(LinkTrapdoor(**draw(LinkTrapdoor)) for _ in range(n_linked)), **own)
