"""A whole proof on the emulated device: the CPU's bytes, and a witness that never leaves."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kernels.array import U64
from kernels.backend import SumProgress
from kernels.cuda.backend import CudaBackend
from kernels.cuda.msm.sums import Sum, compute_sums
from kernels.integers import ALL, HOST
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.witness import check, solve_committed, solve_private
from prover.errors import ShapeMismatch
from prover.groth16.prove import prepare
from prover.model.network import Architecture, is_correct
from tests.conformance.backends import build_backend
from tests.support.accuracy_protocol import accuracy_key, run_job, scene
from tests.support.assignments import draw_scalars
from tests.support.conv_nets import make_lenet, make_residual
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.cuda_meter import metered
from tests.support.models import random_images, random_model
from tests.support.skips import or_skip

OF_A_PROOF = {  # most, of the scene's network under a warm key: see `tests.support.cuda_meter`
    "kernels": 48,  # launches of ours, graphs of them, and operations on arrays
    "allocations": 0,
    "synchronizations": 7,
    "contexts": 1,
    "uploads": 13,
    "downloads": 7,
}


class CopyMeter(EmulatedDevice):
    """Keeps the sizes of all copies; those of an MSM apart: what its kernels are told, and what it
    ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[int] = []
        self.downloads: list[int] = []
        self.tasks: list[int] = []
        self.sums: list[int] = []
        self.in_msm = False
        self.n_sums = 0

    def upload_constant(self, host: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (self.tasks if self.in_msm else self.uploads).append(host.nbytes)
        return super().upload_constant(host)

    def to_host(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (self.sums if self.in_msm else self.downloads).append(array.nbytes)
        return super().to_host(array)


@pytest.fixture(scope="module")
def device() -> CopyMeter:
    return or_skip(CopyMeter)


def test_the_witness_stays_on_the_device(
    device: CopyMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes up once a key is warm: samples, model, public wires. What comes down: numbers, and
    of each MSM a few hundred points whatever its length. Launches and the rest keep to a budget."""
    s, backend = scene(), CudaBackend(device, build_backend("cpu"))

    def compute(device: CopyMeter, sums: list[Sum], progress: SumProgress) -> list[U64]:
        device.in_msm = True
        try:
            return compute_sums(device, sums, progress)
        finally:
            device.in_msm = False
            device.n_sums += len(sums)

    monkeypatch.setattr("kernels.cuda.backend.compute_sums", compute)
    key = prepare(accuracy_key(), backend)
    for seed in (1, 2, 3, 4):  # warm from the second on, and laid out when two were alike
        device.uploads.clear()
        device.downloads.clear()
        device.tasks.clear()
        device.sums.clear()
        device.n_sums = 0
        with metered() as counts:
            mine = run_job(key=key, device=backend, seed=seed)
        assert mine.envelope == run_job(seed=seed).envelope
    witness_bytes = 32 * s.accuracy.r1cs.n_wires
    public_bytes = 32 * (1 + s.accuracy.r1cs.n_public)
    samples = np.zeros((s.accuracy.n_samples, *s.model.architecture.input_shape), np.uint8)
    parameters = 32 * s.model.architecture.n_parameters  # as scalars, for the commitment
    largest = max(samples.nbytes, public_bytes, parameters + 32)
    assert max(device.uploads) <= largest < witness_bytes / 8
    assert sum(device.uploads) < witness_bytes / 4
    assert sum(device.downloads) < 1000 < witness_bytes / 64
    assert len(device.sums) == len(device.tasks) == 2  # once for each phase
    assert sum(device.sums) < device.n_sums << 15
    assert sum(device.tasks) < device.n_sums << 12
    spent = {
        "kernels": counts.n_launches,
        "allocations": counts.allocations,
        "synchronizations": counts.synchronizations,
        "contexts": counts.contexts,
        "uploads": len(counts.uploads),
        "downloads": len(counts.downloads),
    }
    assert {name: n for name, n in spent.items() if n > OF_A_PROOF[name]} == {}


@pytest.mark.parametrize("noise", [0x00, 0xFF])
def test_no_kernel_reads_what_nobody_wrote(noise: int) -> None:
    """Whatever is left in the memory, the proof is the CPU's. (The other tests have more noise.)"""
    backend = CudaBackend(EmulatedDevice(noise=noise), build_backend("cpu"))
    assert run_job(device=backend).envelope == run_job().envelope


@pytest.mark.parametrize("n_samples", [1, 11])
@pytest.mark.parametrize("make", [make_lenet, make_residual])
def test_every_kind_of_layer_gives_the_hosts_wires(
    device: CopyMeter, make: Callable[[], Architecture], n_samples: int
) -> None:
    """Both phases, on a shard with a slot of padding; then the rows themselves."""
    architecture = make()
    accuracy, backend = (
        compile_accuracy(architecture, n_samples),
        CudaBackend(device, build_backend("cpu")),
    )
    rng = np.random.default_rng(3)
    model = random_model(architecture, rng)
    images = random_images(architecture, max(1, n_samples - 1), rng)
    labels = model.logits(images).argmax(axis=1).astype(np.uint8)
    expected = solve_committed(accuracy, model, images, labels)
    found = solve_committed(accuracy, model, images, labels, integers=backend.integers)
    assert device.holds(found.advice)
    assert (device.to_host(found.advice) == expected.advice).all()
    assert (device.to_host(found.model) == expected.model).all()
    public = accuracy.public_inputs(
        claimed=expected.claimed,
        images=images,
        labels=labels,
        challenges=draw_scalars(Random(3), accuracy.n_challenges),
    )
    z = solve_private(
        accuracy.circuit,
        public=public,
        model=found.model_scalars,
        advice=found.advice_scalars,
        backend=backend,
    )
    check(accuracy.circuit, z, backend)


@pytest.mark.parametrize("n_classes", [2, 255, 256])
def test_hits_of_as_many_classes_as_there_are_labels(device: CopyMeter, n_classes: int) -> None:
    """256 is no uint8 and must not meet one on the device."""
    rng = np.random.default_rng(n_classes)
    logits = rng.integers(-9, 9, (40, n_classes), dtype=np.int64)
    labels = rng.integers(0, n_classes, 40, dtype=np.uint8)
    logits[::2, :][np.arange(20), labels[::2]] = 10
    logits[4:8] = 10  # a tie is wrong
    expected = is_correct(logits, labels)
    assert expected.any()
    assert not expected.all()
    integers = CudaBackend(device, build_backend("cpu")).integers
    there, counter = (device.asarray(logits), device.asarray(labels)), integers.counters(1)
    correct = integers.find_correct(*there, counter)
    assert (device.to_host(correct) == expected).all()
    assert integers.read(counter) == [expected.sum()]
    padded = np.concatenate([logits, logits[:3]])
    for claimed in (ALL, 0, 3, int(expected.sum())):
        wanted = np.array([claimed])
        found = integers.mark_hits(
            device.asarray(padded), there[1], correct, device.asarray(wanted)
        )
        y, hit, level = HOST.mark_hits(padded, labels, expected, wanted)
        assert hit.sum() == (expected.sum() if claimed == ALL else claimed)
        for mine, host in zip(found, (y, hit, level), strict=True):
            assert (device.to_host(mine) == host).all()
    labels[-1] = min(n_classes, 255)
    if n_classes < 256:
        with pytest.raises(ShapeMismatch):
            is_correct(logits, labels)
