"""Rows about commitments that no key knows: bases derived and loaded, a model committed and linked.

Right answers come by other ways: points from the hash of one message in Python integers, a
commitment from the verifier's multi-exponentiation over the bases as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.isolated import MIB
from bench.registry import BenchCase, Task
from kernels.array import FrArray, G1Array
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.hash_to_curve import hash_to_g1
from kernels.integers import to_scalars
from kernels.numpy_types import Int64Array
from prover.groth16.sums import sum_all
from prover.pedersen.bases import DOMAIN, INDEX_BYTES, derive_bases, load_bases
from prover.pedersen.commitment import Committer

RHO, OWN_RHO = pow(7, 1000, R), pow(5, 1000, R)
BIASES = 138  # of an mlp-784-128-10


def draw_wires(n: int) -> Int64Array:
    """int64[n] like a model's: weights of 8 bits, the last ones biases of 24."""
    rng = np.random.default_rng(7)
    values = rng.integers(-127, 128, n)
    first = max(n - BIASES, 0)
    values[first:] = rng.integers(-(1 << 23), 1 << 23, n - first)
    return values


def list_cases(
    n: int, make_backend: Callable[[], Backend], params: Mapping[str, int | str]
) -> list[BenchCase]:
    """Derive, load, commit, link and memory, for n wires."""
    some = sorted({0, 1, n // 2, n})

    def pick(bases: G1Array) -> object:
        return len(bases), bases[np.array(some)].to_ints()

    def hash_some() -> object:
        return n + 1, [hash_to_g1(i.to_bytes(INDEX_BYTES, "little"), DOMAIN) for i in some]

    def load() -> Task[Any]:
        load_bases(n)
        return Task(run=lambda: load_bases(n), answer=pick)

    def commit(reading: Callable[[Committer], float] | None = None) -> Task[Any]:
        committer, values = Committer(n, make_backend()), draw_wires(n)
        return Task(
            run=lambda: committer.commit(values, RHO),
            answer=lambda d: d.to_ints(),
            reading=None if reading is None else lambda _: reading(committer),
        )

    def expect_commitment() -> object:
        scalars = FrArray.from_ints([RHO, *draw_wires(n).tolist()])
        return small_msm_g1(scalars, load_bases(n)).to_ints()

    def link() -> Task[Any]:
        """Both sums of a link, over bases that stand for a key's; that they agree takes a key."""
        backend, bases = make_backend(), load_bases(n)
        blindings = FrArray.from_ints([RHO, OWN_RHO])
        scalars = FrArray.concat([to_scalars(draw_wires(n)), blindings])
        own = G1Array.concat([bases[1:], bases[:1], bases[:1]])
        link = G1Array.concat([bases[1:], bases[:1], bases[1:2]])
        return Task(
            run=lambda: sum_all([(scalars, own), (scalars, link)], backend=backend)[0],
            answer=lambda points: [p.to_ints() for p in points],
        )

    def expect_link() -> object:
        values = draw_wires(n).tolist()
        both = [[(RHO + OWN_RHO) % R, *values], [RHO, values[0] + OWN_RHO, *values[1:]]]
        return [small_msm_g1(FrArray.from_ints(x), load_bases(n)).to_ints() for x in both]

    def case(
        name: str,
        unit: str,
        make: Callable[[], Task[Any]],
        expect: Callable[[], object],
        n_max: int,
    ) -> BenchCase:
        return BenchCase(
            id=f"kernels.pedersen.{name}.n{n}",
            params={"wires": n, **params},
            unit=unit,
            make=make,
            expect=expect,
            n_max=n_max,
        )

    return [
        case(
            "derive",
            "s",
            lambda: Task(run=lambda: derive_bases(0, n + 1), answer=pick),
            hash_some,
            3,
        ),
        case("load", "ms", load, hash_some, 9),
        case("commit", "ms", commit, expect_commitment, 31),
        case("link", "ms", link, expect_link, 15),
        case("memory", "MiB", lambda: commit(lambda c: c.n_bytes / MIB), expect_commitment, 1),
    ]
