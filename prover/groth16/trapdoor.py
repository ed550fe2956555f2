"""The secret scalars of a setup: who keeps them can prove anything under its key."""

from __future__ import annotations

from dataclasses import dataclass, fields

from kernels.bn254 import R
from prover.errors import TrapdoorInvalid
from prover.groth16.domain import Domain
from prover.randomness import RandomBytes, draw_nonzero_scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTrapdoor:
    """The secret scalars of one linked group: its blinder's, and its own of the link."""

    eta: int
    k1: int

    def __repr__(self) -> str:
        return "GroupTrapdoor(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trapdoor:
    """The setup's secret scalars, each in [1, r). Forget them: they forge proofs.

    eta, k2 : of the link, which all groups share; a circuit without groups has no use for them
    """

    tau: int
    alpha: int
    beta: int
    delta: int
    delta_a: int
    eta_a: int
    eta: int
    k2: int
    groups: tuple[GroupTrapdoor, ...]

    def __repr__(self) -> str:
        return "Trapdoor(hidden)"

    @property
    def scalars(self) -> dict[str, int]:
        """Every scalar by its name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "groups"}
        for i, group in enumerate(self.groups):
            own |= {f"groups[{i}].{f.name}": getattr(group, f.name) for f in fields(group)}
        return own

    @property
    def blinders(self) -> list[int]:
        """eta of each group, then eta: as they lie in a key; none without groups."""
        return [*(group.eta for group in self.groups), self.eta] if self.groups else []

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
        names = [f.name for f in fields(owner) if f.name != "groups"]
        return {name: draw_nonzero_scalar(random_bytes) for name in names}

    own = draw(Trapdoor)
    groups = tuple(GroupTrapdoor(**draw(GroupTrapdoor)) for _ in range(n_linked))
    return Trapdoor(groups=groups, **own)
