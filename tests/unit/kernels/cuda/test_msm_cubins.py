"""Budgets of the machine code of sums and sparse products, for both architectures."""

from __future__ import annotations

from functools import cache

import pytest

from kernels.cuda.launch.compiler import Cubin, compiler_version
from kernels.cuda.launch.source import load_source
from kernels.cuda.msm.plan import THREADS_PER_PROCESSOR
from tests.support.cuda_cubins import (
    build_cubin,
    count_instructions,
    count_local,
    count_wide,
    find_nvdisasm,
    read_costs,
)
from tests.support.skips import or_skip

pytestmark = pytest.mark.slow  # compiling the sums takes most of a minute

ARCHITECTURES = ("sm_80", "sm_90")
REGISTERS_PER_PROCESSOR = 1 << 16
REGISTERS = {  # most per thread
    "msm_g1": {
        "g1_sum_entries": 112,
        "g1_merge_pieces": 152,
        "g1_reduce_step": 184,
        "g1_sum_lists": 152,
        "g1_double_points": 112,
        "g1_normalize_points": 80,
        "g1_multiply_base": 128,
    },
    "msm_g2": {
        "g2_sum_entries": 240,
        "g2_merge_pieces": 248,
        "g2_reduce_step": 255,
        "g2_sum_lists": 248,
        "g2_double_points": 208,
        "g2_normalize_points": 184,
        "g2_multiply_base": 248,
    },
    "sort": {
        "count_parts": 32,
        "place_parts": 32,
        "place_references": 32,
        "scan_rows": 40,
        "count_buckets": 32,
        "place_buckets": 32,
    },
    "sparse": {"multiply_segments": 80, "add_segments": 32},
}
SPILLING = {"g2_reduce_step"}  # two running sums of G2 are 128 registers before any work
WIDE = {  # most wide multiply-adds: a mixed addition (8M + 2S) and the doubling of equal points
    "g1_sum_entries": 2100,
    "g1_merge_pieces": 2600,
}
EVERY = [(arch, module) for arch in ARCHITECTURES for module in REGISTERS]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_compiler() -> None:
    or_skip(compiler_version)


@cache
def build(name: str, arch: str) -> Cubin:
    return build_cubin(load_source(name), arch)


@pytest.mark.parametrize(("arch", "module"), EVERY)
def test_registers_and_spills(module: str, arch: str) -> None:
    costs = read_costs(build(module, arch).log)
    assert set(costs) == set(REGISTERS[module]) == set(load_source(module).kernels)
    for kernel, limit in REGISTERS[module].items():
        assert 0 < costs[kernel].registers <= limit, kernel
        if kernel not in SPILLING:
            assert costs[kernel].spill_bytes == costs[kernel].stack_bytes == 0, kernel


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_instructions(arch: str) -> None:
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        pytest.skip("nvdisasm is not installed: instructions are not counted")
    counts = count_instructions(nvdisasm, build("msm_g1", arch))
    for kernel, count in counts.items():
        assert count_local(count) == 0, kernel
    for kernel, limit in WIDE.items():
        assert 0 < count_wide(counts[kernel]) <= limit, kernel


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_plan_counts_on_no_more_threads_than_are_resident(arch: str) -> None:
    registers = read_costs(build("msm_g1", arch).log)["g1_sum_entries"].registers
    assert -(-registers // 8) * 8 * THREADS_PER_PROCESSOR <= REGISTERS_PER_PROCESSOR
