"""A training step and an export on the emulated device: the CPU's bytes."""

from __future__ import annotations

import pytest

from kernels.backend import Backend
from kernels.cuda.backend import CudaBackend
from prover.groth16.prove import prepare
from prover.keys.halves import ProvingKey
from prover.steps import prove_export, prove_step
from prover.training.masters import export
from tests.conformance.backends import build_backend
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.cuda_meter import metered
from tests.support.skips import or_skip
from tests.support.tiny_circuits import seeded
from tests.support.trajectories import (
    BACKEND,
    OCCASION,
    chain,
    commit,
    export_circuit,
    export_key,
    recipe,
    step_circuit,
    step_key,
)


@pytest.fixture(scope="module")
def device() -> CudaBackend:
    return CudaBackend(or_skip(EmulatedDevice), build_backend("cpu"))


def prove_one(backend: Backend, seed: int, key: ProvingKey | None = None, t: int = 1) -> bytes:
    """A step of the chain, by default the second one."""
    if key is None:
        key = step_key() if backend is BACKEND else prepare(step_key(), backend)
    step = chain()[t]
    return prove_step(
        step_circuit(),
        key,
        step.trace,
        t=t,
        occasion=OCCASION,
        before=step.before,
        after=step.after,
        data=step.data,
        random_bytes=seeded(seed),
        backend=backend,
        clock=lambda: 0.0,
    ).envelope


def test_a_step_is_proven_on_a_device_as_on_the_host(device: CudaBackend) -> None:
    with metered() as counts:
        made = [prove_one(device, seed) for seed in (1, 2)]
    assert counts.launches.total() > 100  # it was not left to the host
    assert made == [prove_one(BACKEND, seed) for seed in (1, 2)]
    assert made[0] != made[1]


def test_all_phases_of_a_step_are_replayed(device: CudaBackend) -> None:
    """Committed wires, private wires, scalars: a graph each, and the bytes of the host."""
    key = prepare(step_key(), device)
    for turn in range(3):
        t = turn % len(chain())
        with metered() as counts:
            made = prove_one(device, turn, key, t)
        assert made == prove_one(BACKEND, turn, t=t)
    assert counts.launches["graph"] == 3
    assert counts.launches["accumulate"] == counts.launches["combine"] == 0


def test_an_export_is_proven_on_a_device_as_on_the_host(device: CudaBackend) -> None:
    last = chain()[-1]
    of_model = commit(export(recipe(), last.trace.after).wires, 8)
    proofs = [
        prove_export(
            export_circuit(),
            export_key() if backend is BACKEND else prepare(export_key(), backend),
            last.trace.after,
            occasion=OCCASION,
            of_masters=last.after,
            of_model=of_model,
            random_bytes=seeded(3),
            backend=backend,
            clock=lambda: 0.0,
        ).envelope
        for backend in (BACKEND, device)
    ]
    assert proofs[0] == proofs[1]
