"""What passes the link's equation in the algebraic group model, by linear algebra (PROTOCOL 3).

A prover has D_g, D' and pi as sums of the points of G1 that it has been given, and the equation

    sum_g k1_g D_g + k2 D' = pi

is one of polynomials in all secrets, whose coefficients are formal sums of points that are
independent: h_i, K_(g,i), eta_g, eta, and one more for all else. So what passes is the kernel of a
matrix, and has to be what is made by the book: one number for each base of the link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pytest

Point = Counter[tuple[tuple[str, ...], str]]
"""A point of G1: coefficients of (secrets that are multiplied, sorted; formal point)."""
PRIME = (1 << 61) - 1


@dataclass(frozen=True, kw_only=True)
class Design:
    """A key with linked groups of so many wires.

    makers : contributors to it, who publish what they add to each base of the link
    k1, k2 : names of the secrets; eta : the formal points that are the groups' blinders, or ""
    """

    widths: tuple[int, ...]
    makers: int = 1
    k1: tuple[str, ...]
    k2: str = "k2"
    eta: tuple[str, ...]

    @classmethod
    def ours(cls, *widths: int, makers: int = 1) -> Design:
        groups = range(len(widths))
        return cls(
            widths=widths,
            makers=makers,
            k1=tuple(f"k1_{g}" for g in groups),
            eta=tuple(f"eta_{g}" for g in groups),
        )

    @property
    def n_honest(self) -> int:
        """Numbers that a prover by the book chooses: wires, rho of each group, rho'."""
        return sum(self.widths) + len(self.widths) + 1

    def count_passing(self) -> int:
        """Dimension of all (D_1, ..., D_G, D', pi) for which the equation holds."""
        bases = [*self._list_plain(), *self._list_links()]
        secrets = [*self.k1, self.k2]
        # C1_g = sum of what the makers have each added to it; C2 likewise.
        columns = [
            sum((times(f"{secret}/{m}", base) for m in range(self.makers)), Point())
            for secret in secrets
            for base in bases
        ]
        columns += bases  # of pi, whose sign is free
        return len(columns) - rank(columns)

    def _list_plain(self) -> list[Point]:
        names = ["else", "eta", *(f"h{i}" for i in range(max(self.widths) + 1))]
        names += [f"K{g},{i}" for g, n in enumerate(self.widths) for i in range(1, n + 1)]
        return [Point({((), name): 1}) for name in dict.fromkeys([*names, *filter(None, self.eta)])]

    def _list_links(self) -> list[Point]:
        found = []
        for m in range(self.makers):
            for g, n in enumerate(self.widths):
                own = [(f"h{i}", f"K{g},{i}") for i in range(1, n + 1)]
                for hashed, of_key in [*own, ("h0", self.eta[g])]:
                    parts = Point({((f"{self.k1[g]}/{m}",), hashed): 1})
                    if of_key:
                        parts += Point({((f"{self.k2}/{m}",), of_key): 1})
                    found.append(parts)
            found.append(Point({((f"{self.k2}/{m}",), "eta"): 1}))
        return found


def times(secret: str, point: Point) -> Point:
    return Point({(tuple(sorted((*ks, secret))), name): c for (ks, name), c in point.items()})


def rank(columns: Iterable[Point]) -> int:
    """Mod a prime, which cannot be more than it is over the integers."""
    pivots: dict[tuple[tuple[str, ...], str], Point] = {}
    for column in columns:
        left = Point({place: c % PRIME for place, c in column.items() if c % PRIME})
        while left:
            lead = max(left)
            if lead not in pivots:
                inverse = pow(left[lead], -1, PRIME)
                pivots[lead] = Point({place: c * inverse % PRIME for place, c in left.items()})
                break
            factor = left[lead]
            for place, c in pivots[lead].items():
                left[place] = (left[place] - factor * c) % PRIME
                if not left[place]:
                    del left[place]
    return len(pivots)


@pytest.mark.parametrize("widths", [(1,), (4,), (1, 1), (2, 3), (1, 1, 1), (3, 3, 2), (1, 2, 1, 2)])
@pytest.mark.parametrize("makers", [1, 2, 3])
def test_only_what_is_made_by_the_book_passes(widths: Sequence[int], makers: int) -> None:
    design = Design.ours(*widths, makers=makers)
    assert design.count_passing() == design.n_honest


@pytest.mark.parametrize(
    ("design", "n_more"),
    [
        (replace(Design.ours(1, 1), k1=("k1", "k1")), 13),
        (replace(Design.ours(1, 1), k1=("k2", "k1")), 13),
        (replace(Design.ours(1, 1), eta=("", "")), 1),
        (replace(Design.ours(1, 1), eta=("eta", "eta")), 1),
        (replace(Design.ours(1, 1), eta=("eta_0", "eta_0")), 0),
        (replace(Design.ours(1, 1, 1), eta=("eta_0",) * 3), 1),
    ],
)
def test_each_defence_that_is_taken_away_lets_more_pass(design: Design, n_more: int) -> None:
    """With k1 in common, or k1 = k2, each of the 13 points of G1 goes from one commitment to
    another. No blinders of groups, eta in their place, one for all: of two groups this does no
    harm, of three it does.
    """
    assert design.count_passing() - design.n_honest == n_more
