"""A foreign witness on its way to the emulated device: summed before all of it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch.runtime import Mark
from kernels.cuda.launch.tape import Launch
from kernels.cuda.msm import layout as msm_layout
from kernels.errors import DoesNotFit
from prover.foreign import MadeForeign, make_foreign
from prover.formats.zkey import Zkey
from prover.groth16 import prove as groth16_prove
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_plain
from prover.groth16.trapdoor import draw_trapdoor
from tests.conformance.backends import build_backend
from tests.conformance.inputs import GROUPS, build_bases, draw_scalars, known_sum
from tests.support.cuda_emulator import EmulatedDevice, LateCopy
from tests.support.cuda_meter import metered
from tests.support.emulated_memory import NOISE, EmulatedMemory
from tests.support.skips import or_skip
from tests.support.tiny_circuits import build_chain, seeded, solve_chain

N_STEPS = 40
COPY, WAIT = "copy_aside", "the host waits"
OF_A_PROOF = {  # most, under a warm key: see `tests.support.cuda_meter`
    "at once": {
        "kernels": 20,
        "allocations": 2,
        "synchronizations": 1,
        "uploads": 4,
        "downloads": 1,
    },
    "on its way": {
        "kernels": 31,
        "allocations": 2,
        "synchronizations": 2,
        "uploads": 5,
        "downloads": 2,
    },
}
"""By whether A is summed while the witness goes up; each batch of sums is one round here."""


class RecordedMemory(EmulatedMemory):
    """Tells what is launched."""

    def __init__(self, memory_bytes: int, events: list[str]) -> None:
        super().__init__(memory_bytes, NOISE)
        self._events = events

    def start(self, name: str, launch: Launch) -> None:
        self._events.append(name)
        super().start(name, launch)


class Recorder(EmulatedDevice):
    """Keeps the order of launches, of copies beside them, and of the host's waits."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.memory = RecordedMemory(self.memory_bytes, self.events)

    def copy_aside(
        self, target: npt.NDArray[Any], host: npt.NDArray[Any], *, after: Mark
    ) -> LateCopy:
        self.events.append(COPY)
        return super().copy_aside(target, host, after=after)

    def to_host(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.events.append(WAIT)
        return super().to_host(array)

    def find(self, name: str) -> list[int]:
        """When it happened."""
        return [at for at, event in enumerate(self.events) if event == name]


@pytest.fixture
def device() -> Iterator[Recorder]:
    found = or_skip(Recorder)
    found.synchronize()  # nothing of another test is under way
    yield found
    found.synchronize()


@cache
def foreign_key() -> Zkey:
    trapdoor = draw_trapdoor(seeded(1), n_linked=0)
    key, rows = setup_plain(build_chain(N_STEPS), trapdoor=trapdoor, backend=build_backend("cpu"))
    return Zkey(key=key, circuit=rows)


def make(zkey: Zkey, backend: Backend, seed: int) -> MadeForeign:
    witness = FrArray.from_ints(solve_chain(N_STEPS, seed))
    return make_foreign(zkey, witness, random_bytes=seeded(seed), backend=backend)


def prepared(backend: Backend) -> Zkey:
    zkey = foreign_key()
    return replace(zkey, key=prepare(zkey.key, backend))


def words_of(made: MadeForeign) -> list[bytes]:
    points = made.points
    return [point.data.tobytes() for point in (points.a, points.b, points.c)]


def test_the_first_sum_starts_before_the_witness_is_there(
    device: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rounds of A, as a witness of millions of wires has them."""
    expected = make(foreign_key(), build_backend("cpu"), 3)
    backend = CudaBackend(device, build_backend("cpu"))
    zkey = prepared(backend)
    monkeypatch.setattr(groth16_prove, "ON_ITS_WAY", 1)
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 800)
    device.events.clear()
    made = make(zkey, backend, 3)
    assert words_of(made) == words_of(expected)
    made.check()
    sent, sorts, sums = map(device.find, (COPY, "count_parts", "g1_sum_entries"))
    assert len(sent) > 3
    assert sorts[0] < sent[1]
    assert sums[0] < sent[2]
    for k, (one, next_one) in enumerate(pairwise(sent[2:])):
        assert one < sums[k + 1] < next_one  # always one round ahead
    of_a, rest = device.find(WAIT)
    assert sent[-1] < of_a < device.find("mul_one")[0] < rest  # the host waits twice


@pytest.mark.parametrize("way", OF_A_PROOF)
def test_a_proof_keeps_to_its_budget(
    device: Recorder, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "on its way":
        monkeypatch.setattr(groth16_prove, "ON_ITS_WAY", 1)
    backend = CudaBackend(device, build_backend("cpu"))
    zkey = prepared(backend)
    for seed in (1, 2, 3, 4):  # warm from the second on, and laid out when two were alike
        with metered() as counts:
            mine = make(zkey, backend, seed)
        assert words_of(mine) == words_of(make(foreign_key(), build_backend("cpu"), seed))
    spent: Mapping[str, int] = {
        "kernels": counts.n_launches,
        "allocations": counts.allocations,
        "synchronizations": counts.synchronizations,
        "uploads": len(counts.uploads),
        "downloads": len(counts.downloads),
    }
    assert {name: n for name, n in spent.items() if n > OF_A_PROOF[way][name]} == {}


def test_an_index_past_the_end_leaves_nothing_under_way(
    device: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found when its piece is to be sent, in the middle of the sum."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 500)
    backend = CudaBackend(device, build_backend("cpu"))
    bases, _ = build_bases(GROUPS[0], "distinct", 40)
    scalars = FrArray.from_ints(draw_scalars("full", 40))
    index = np.arange(1, 41, dtype=np.uint32)
    with pytest.raises(IndexError, match="scalar 40 of 40"):
        backend.upload_summing(scalars, index, FrArray.zeros(0), bases)
    assert device.find("g1_sum_entries")
    assert not device.under_way


def test_what_does_not_fit_is_refused(device: Recorder) -> None:
    """Before anything is sent: the array and the scalars taken out of it."""
    backend, index = CudaBackend(device, build_backend("cpu")), np.arange(40, dtype=np.uint32)
    bases, _ = build_bases(GROUPS[0], "distinct", 41)
    device.memory_bytes = 32 * 81 - 1
    with pytest.raises(DoesNotFit, match="an array of scalars"):
        backend.upload_summing(FrArray.zeros(40), index, FrArray.zeros(1), bases)
    assert not device.events


@pytest.mark.parametrize("at_once", [16, 2, 1])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_wires_may_come_in_any_order(
    device: Recorder, monkeypatch: pytest.MonkeyPatch, order: str, at_once: int
) -> None:
    """Of bases that travel too, and whose sums come down in several copies. Where the first needs
    the last, all is sent with the first."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 500)
    monkeypatch.setattr(msm_layout, "AT_ONCE", at_once)
    backend, n = CudaBackend(device, build_backend("cpu")), 40
    values = draw_scalars("full", n)
    index = np.arange(n, dtype=np.uint32)
    index = {"rising": index, "falling": index[::-1].copy(), "mixed": index * 7 % n}[order]
    bases, factors = build_bases(GROUPS[0], "mixed", n + 1)
    there, found = backend.upload_summing(
        FrArray.from_ints(values), index, FrArray.from_ints([5]), bases
    )
    scalars = [*(values[i] for i in index), 5]
    assert found.equals(known_sum(GROUPS[0], scalars, factors))
    assert backend.download(there).to_ints() == values
