"""A key and a proof on the emulated device: the same words as on the CPU, and accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from kernels.array import FrArray
from kernels.backend import Backend
from prover.groth16.prove import compute_points, prepare
from prover.groth16.setup import draw_trapdoor, setup
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey
from prover.wire.envelope import Proof
from tests.conformance.backends import build_backend
from tests.support.skips import or_skip
from tests.support.tiny_circuits import build_chain, seeded, solve_chain

N_STEPS = 21


def make_key(backend: Backend) -> ProvingKey:
    return setup(
        build_chain(N_STEPS),
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=draw_trapdoor(seeded(1)),
        backend=backend,
    )


def prove(key: ProvingKey, backend: Backend) -> Claim:
    r1cs, z = build_chain(N_STEPS), FrArray.from_ints(solve_chain(N_STEPS, 5))
    points = compute_points(
        key, r1cs, backend.to_mont(z), rho_w=0, rho_a=0, random_bytes=seeded(2), backend=backend
    )
    nothing = type(points.a).zeros(1)
    proof = Proof(
        a=points.a, b=points.b, c=points.c, d_w=nothing, pok_w=nothing, d_a=nothing
    )  # fmt: skip
    return Claim(public=z[1 : 1 + r1cs.n_public], proof=proof)


def list_arrays(value: Any) -> Iterator[Any]:
    """All typed arrays of nested dataclasses, in order."""
    if hasattr(value, "data") and hasattr(value, "equals"):
        yield value
    elif hasattr(value, "__dataclass_fields__"):
        for f in fields(value):
            yield from list_arrays(getattr(value, f.name))


@pytest.fixture(scope="module")
def emulated() -> Backend:
    return or_skip(build_backend, "cuda-emulated")


@pytest.mark.parametrize("max_bytes", [None, 1 << 20])
def test_key_and_proof_are_those_of_the_cpu(emulated: Backend, max_bytes: int | None) -> None:
    cpu = build_backend("cpu")
    key = make_key(emulated)
    mine, theirs = list(list_arrays(key)), list(list_arrays(make_key(cpu)))
    assert len(mine) == len(theirs) > 8
    assert all(a.equals(b) for a, b in zip(mine, theirs, strict=True))
    claim = prove(prepare(key, emulated, max_bytes=max_bytes), emulated)
    expected = prove(key, cpu)
    assert claim.proof.a.equals(expected.proof.a)
    assert claim.proof.b.equals(expected.proof.b)
    assert claim.proof.c.equals(expected.proof.c)
    assert equations_hold([claim], key=key.verifying, random_bytes=seeded(3))
