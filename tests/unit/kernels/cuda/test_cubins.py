"""Budgets of the machine code, for both architectures, without a GPU; and the cubins' cache."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from kernels.cuda.launch import compiler
from kernels.cuda.launch.compiler import Cubin, compile_cubin, compiler_version, load_cubin
from kernels.cuda.launch.source import list_modules, load_source, parse_source, read_source
from kernels.cuda.plan import ntt_of_rows
from kernels.errors import DeviceError
from tests.support.cuda_cubins import (
    build_cubin,
    count_instructions,
    count_local,
    count_wide,
    find_nvdisasm,
    read_costs,
    time_cubin,
)
from tests.support.skips import or_skip

ARCHITECTURES = ("sm_80", "sm_90")
PROBE = Path(__file__).resolve().parents[3] / "support" / "cuda_budget.cu"
GROUND = ("ntt", "pointwise")
REGISTERS = {  # most per thread
    "fp_mul": 48,
    "fp_sqr": 48,
    "fp2_mul": 80,
    "g1_accumulate": 96,
    "g1_add": 104,
    "g1_double": 96,
    "g2_accumulate": 208,
    "ntt_pass": 128,  # eight elements, and a product of one of them
    "mul_all": 48,
    "chain_products": 56,
    "chain_inverses": 56,
    "dot_all": 56,
}
WIDE = {  # most wide multiply-adds; a product has 128 pairs of a low and a high one
    "fp_mul": 130,
    "fp_sqr": 100,
    "fp2_mul": 384,
    "mul_all": 130,
    "dot_all": 130,
    "ntt_pass": 13 * 122,  # the places of products in its code
}
PRODUCT_INSTRUCTIONS = 220  # of fp_mul as a whole; with 64-bit accumulators there were 552
SHARED_BYTES = {
    "sm_80": 164 << 10,
    "sm_90": 228 << 10,
}  # of a processor; each block takes 1 kB more
COMPILE_SECONDS = 60  # of all modules, one architecture


@pytest.fixture(scope="module", autouse=True)
def _needs_a_compiler() -> None:
    or_skip(compiler_version)


@cache
def build(name: str, arch: str) -> Cubin:
    return build_cubin(read_source(PROBE) if name == "budget" else load_source(name), arch)


def name_budgets(limits: dict[str, int]) -> list[tuple[str, str, int]]:
    """(module, kernel, limit) for each kernel with a limit."""
    modules = {k: m for m in GROUND for k in load_source(m).kernels}
    return [(modules.get(kernel, "budget"), kernel, limit) for kernel, limit in limits.items()]


@cache
def instructions(name: str, arch: str) -> dict[str, Counter[str]]:
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        pytest.skip("nvdisasm is not installed: instructions are not counted")
    return count_instructions(nvdisasm, build(name, arch))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("module", ["budget", *GROUND])
def test_nothing_spills_and_nothing_lies_in_local_memory(module: str, arch: str) -> None:
    costs = read_costs(build(module, arch).log)
    source = read_source(PROBE) if module == "budget" else load_source(module)
    assert set(costs) == set(source.kernels)
    assert {k: c for k, c in costs.items() if c.spill_bytes or c.stack_bytes} == {}


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("module", "kernel", "limit"), name_budgets(REGISTERS))
def test_registers(module: str, kernel: str, limit: int, arch: str) -> None:
    assert 0 < read_costs(build(module, arch).log)[kernel].registers <= limit


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("module", "kernel", "limit"), name_budgets(WIDE))
def test_wide_multiply_adds(module: str, kernel: str, limit: int, arch: str) -> None:
    counts = instructions(module, arch)[kernel]
    assert 0 < count_wide(counts) <= limit
    assert count_local(counts) == 0


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_instructions_of_a_product(arch: str) -> None:
    counts = instructions("budget", arch)["fp_mul"]
    assert 128 < counts.total() <= PRODUCT_INSTRUCTIONS


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_blocks_of_a_transform_that_are_resident(arch: str) -> None:
    """Four blocks, so that the products of some hide the loads and barriers of others."""
    (step,) = {(p.block[0], p.shared_bytes) for p in ntt_of_rows(24, 1).passes}
    n_threads, shared_bytes = step
    registers = read_costs(build("ntt", arch).log)["ntt_pass"].registers
    assert 4 * n_threads * -(-registers // 8) * 8 <= 1 << 16
    assert 4 * (shared_bytes + (1 << 10)) <= SHARED_BYTES[arch]


@pytest.mark.slow
def test_all_modules_compile_in_time() -> None:
    sources = [load_source(name) for name in list_modules()]
    assert all(len(build_cubin(source, "sm_90").code) > 0 for source in sources)
    assert 0 < sum(time_cubin(source, "sm_90") for source in sources) <= COMPILE_SECONDS


# -- the readers -----------------------------------------------------------------------------------


def test_spills_would_be_seen() -> None:
    text = """
        extern "C" __global__ void __launch_bounds__(1024) f(unsigned *p) {
            unsigned v[96];
            #pragma unroll
            for (int i = 0; i < 96; i++) v[i] = p[i * 7 + threadIdx.x];
            for (unsigned k = 0; k < p[0]; k++) {
                #pragma unroll
                for (int i = 0; i < 96; i++) v[i] = v[i] * v[(i + 7) % 96] + k;
            }
            #pragma unroll
            for (int i = 0; i < 96; i++) p[i * 5 + threadIdx.x] = v[i];
        }
        extern "C" __global__ void g(unsigned *p, unsigned i) {
            unsigned v[32];
            for (unsigned k = 0; k < 32; k++) v[k] = k;
            for (unsigned k = 0; k < p[0]; k++) v[p[k] % 32] += v[i++ % 32];
            for (unsigned k = 0; k < 32; k++) p[k] = v[k];
        }
    """
    cubin = compile_cubin(parse_source("spilling", text), "sm_90")
    costs = read_costs(cubin.log)
    assert costs["f"].spill_bytes > 0
    assert costs["g"].stack_bytes >= 128
    nvdisasm = find_nvdisasm()
    if nvdisasm is not None:
        assert count_local(count_instructions(nvdisasm, cubin)["g"]) > 0


# -- the cache -------------------------------------------------------------------------------------

TINY = parse_source("tiny", 'extern "C" __global__ void f(unsigned *p) { *p = 1; }\n')


def test_a_cubin_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = load_cubin(TINY, "sm_90", tmp_path)
    assert code.startswith(b"\x7fELF")
    (entry,) = tmp_path.iterdir()
    monkeypatch.setattr(compiler, "compile_cubin", lambda *_: pytest.fail("compiled again"))
    assert load_cubin(TINY, "sm_90", tmp_path) == code
    assert list(tmp_path.iterdir()) == [entry]


def test_another_source_architecture_or_compiler_is_another_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "compile_cubin", lambda source, arch: Cubin(arch.encode(), ""))
    other = parse_source("tiny", TINY.text + "// changed\n")
    for source, arch in ((TINY, "sm_80"), (TINY, "sm_90"), (other, "sm_90")):
        assert load_cubin(source, arch, tmp_path) == arch.encode()
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(compiler, "compiler_version", lambda: "another")
    load_cubin(TINY, "sm_90", tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_entry_is_compiled_anew(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "compile_cubin", lambda *_: Cubin(b"machine code", ""))
    load_cubin(TINY, "sm_90", tmp_path)
    (entry,) = tmp_path.iterdir()
    raw = entry.read_bytes()
    wrong = {"truncated": raw[:-1], "altered": raw[:-1] + b"?", "empty": b""}[damage]
    entry.write_bytes(wrong)
    assert load_cubin(TINY, "sm_90", tmp_path) == b"machine code"
    assert entry.read_bytes() == raw


def test_a_disk_that_refuses_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiler, "compile_cubin", lambda *_: Cubin(b"machine code", ""))
    monkeypatch.setattr("os.replace", refuse)
    assert load_cubin(TINY, "sm_90", tmp_path) == b"machine code"
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_does_not_compile_says_where() -> None:
    with pytest.raises(DeviceError, match="nothing"):
        compile_cubin(parse_source("broken", "int f() { return nothing; }"), "sm_90")
    with pytest.raises(DeviceError, match="sm_11"):
        compile_cubin(TINY, "sm_11")
