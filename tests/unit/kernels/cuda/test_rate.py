"""The measurement of a device's multipliers: right results, and machine code of what it counts."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.bn254 import MONT_BITS, P
from kernels.cuda.launch.compiler import compiler_version
from kernels.cuda.launch.rate import (
    BLOCK,
    CHAINS,
    FP_FACTOR,
    PER_STEP,
    Rate,
    expect_multiply_adds,
    expect_products,
    measure_multiply_adds,
    measure_products,
)
from kernels.cuda.launch.source import load_source
from tests.support.cuda_cubins import (
    build_cubin,
    count_instructions,
    count_wide,
    find_nvdisasm,
    read_costs,
)
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.skips import or_skip

N_STEPS = 3


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def device(request: pytest.FixtureRequest) -> EmulatedDevice:
    return or_skip(EmulatedDevice, reversed_order=request.param)


def test_multiply_adds_are_those_that_python_does(device: EmulatedDevice) -> None:
    rate = measure_multiply_adds(device, N_STEPS)
    assert rate.n_operations == len(rate.words) * CHAINS * PER_STEP * N_STEPS
    assert (rate.words == expect_multiply_adds(device.n_processors, N_STEPS)).all()
    x = [(i + 1) * ((1 << 32) + 1) for i in range(CHAINS)]
    for _ in range(PER_STEP * N_STEPS):
        x = [(v + (v >> 32) * 0x9E3779B1) % (1 << 64) for v in x]
    assert int(rate.words[0]) == sum(x) % (1 << 64)


def test_products_are_those_of_the_field(device: EmulatedDevice) -> None:
    rate = measure_products(device, N_STEPS)
    assert rate.n_operations == len(rate.words) * N_STEPS == 2 * BLOCK * N_STEPS
    assert (rate.words == expect_products(device.n_processors, N_STEPS)).all()
    x = 3
    for _ in range(N_STEPS):
        x = x * FP_FACTOR * pow(2, -MONT_BITS, P) % P
    assert sum(int(w) << 64 * i for i, w in enumerate(rate.words[0])) == x


def test_one_step_more_is_another_result() -> None:
    assert (expect_multiply_adds(1, 2) != expect_multiply_adds(1, 1)).all()
    assert (expect_products(1, 2) != expect_products(1, 1)).any(axis=1).all()


def test_rates_are_work_over_time() -> None:
    rate = Rate(
        n_operations=12_000, n_processors=3, seconds=2.0, cycles=125, words=np.zeros(0, np.uint64)
    )
    assert rate.per_second == 6000
    assert rate.per_cycle == 32


def test_the_clock_is_read_around_the_launch(device: EmulatedDevice) -> None:
    times = iter([10.0, 14.0])
    rate = measure_products(device, 1, clock=lambda: next(times))
    assert rate.seconds == 4.0
    assert rate.cycles > 0


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_what_is_counted_is_what_is_executed(arch: str) -> None:
    """Each multiply-add is one instruction, and the multiplier is what the loop waits for."""
    or_skip(compiler_version)
    cubin = build_cubin(load_source("rate"), arch)
    costs = read_costs(cubin.log)
    assert all(c.registers <= 64 and c.spill_bytes == c.stack_bytes == 0 for c in costs.values())
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        pytest.skip("nvdisasm is not installed: instructions are not counted")
    counts = count_instructions(nvdisasm, cubin)
    in_loop = PER_STEP * CHAINS
    adds = counts["repeat_multiply_adds"]
    assert in_loop <= count_wide(adds) <= in_loop + 4
    assert adds.total() <= 2 * in_loop
    assert 0 < count_wide(counts["repeat_products"]) <= 130
