"""A key and a proof on the emulated device: the same words as on the CPU, and accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from kernels.array import FrArray
from kernels.backend import Backend
from prover.groth16.commitment import Opening, commit_advice, link_groups
from prover.groth16.prove import compute_points, prepare
from prover.groth16.setup import setup
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey
from prover.pedersen.commitment import Committer
from prover.randomness import draw_scalar
from prover.wire.envelope import Proof
from tests.conformance.backends import build_backend
from tests.support.skips import or_skip
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import TOY, honest, toy_trapdoor


def make_key(backend: Backend) -> ProvingKey:
    return setup(
        TOY.r1cs,
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=toy_trapdoor(),
        backend=backend,
    )


def prove(key: ProvingKey, backend: Backend) -> Claim:
    """The toy statement, without a transcript: a linked group, advice and private wires."""
    run, source = honest(), seeded(2)
    z = FrArray.from_ints(
        [
            *(1, *run.public, *run.model, *run.advice),
            *TOY.solve_private(run.public, run.model, run.advice),
        ]
    )
    opening = Opening(wires=z[key.linked_groups[0]], rho=5)
    linked = link_groups(key, [opening], draw_scalar(source), backend)
    d_a = commit_advice(key, z[key.advice_wires], 7, backend)
    points = compute_points(
        key,
        TOY.r1cs,
        backend.to_mont(z),
        blindings=linked.blindings,
        rho_a=7,
        random_bytes=source,
        backend=backend,
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a)
    d_w = Committer(2, backend).commit(opening.wires, 5)
    return Claim(public=z[1 : 1 + TOY.r1cs.n_public], commitments=d_w, proof=proof)


def list_arrays(value: Any) -> Iterator[Any]:
    """All typed arrays of nested dataclasses, in order."""
    if hasattr(value, "data") and hasattr(value, "equals"):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from list_arrays(part)
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
    assert claim.commitments.equals(expected.commitments)
    assert claim.proof.encode() == expected.proof.encode()
    assert equations_hold([claim], key=key.verifying, random_bytes=seeded(3))
