"""Kernels written in Python, compiled ahead for both architectures without a GPU: their budgets."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kernels.cuda import layers, witness
from kernels.cuda.launch import threads
from kernels.cuda.launch.compiler import Cubin
from kernels.cuda.launch.per_thread import Form, PerThread
from kernels.cuda.launch.threads import (
    compile_threads,
    lay_out,
    load_threads,
    threads_compiler_version,
)
from kernels.errors import DeviceError
from tests.support.cuda_cubins import (
    count_instructions,
    count_local,
    find_nvdisasm,
    keep_cubin,
    read_costs,
)
from tests.support.skips import or_skip

ARCHITECTURES = ("sm_80", "sm_90")
REGISTERS = {  # most per thread
    "accumulate": 56,
    "round_values": 32,
    "count_lookups": 32,
    "combine": 40,
    "gather": 32,
    "scatter": 32,
    "small_scalars": 24,
    "join": 32,
    "set_all": 24,
    "write": 24,
    "count_outside": 24,
    "transpose": 24,
    "convolve": 96,
    "pool": 64,
    "mix": 40,
    "spread": 32,
    "limbs": 40,
    "add_copies": 40,
    "find_correct": 40,
    "mark_hits": 48,
}
COMPILE_SECONDS = 15  # of the longest one
KERNELS = {
    kernel.name: kernel
    for module in (witness, layers)
    for kernel in vars(module).values()
    if isinstance(kernel, PerThread)
}
EVERY = [
    pytest.param(kernel, form, arch, id=f"{kernel.name}-{i}-{arch}")
    for kernel in KERNELS.values()
    for i, form in enumerate(kernel.forms.values())
    for arch in (ARCHITECTURES if REGISTERS[kernel.name] > 40 else ARCHITECTURES[-1:])
]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_compiler() -> None:
    or_skip(threads_compiler_version)
    or_skip(compile_threads, *tiny("tiny"), "sm_90")


def tiny(name: str) -> tuple[PerThread, Form]:
    def build(jit: object, add: object) -> object:
        def body(i: int, out: object, value: int) -> None:
            out[i] = value  # type: ignore[index]

        return body

    kernel = PerThread(name, build, "int64[:], int64")  # type: ignore[arg-type]
    return kernel, next(iter(kernel.forms.values()))


@cache
def build(kernel: PerThread, form: Form, arch: str) -> Cubin:
    identity = kernel.name, form.text, arch, threads.source_digest(), threads_compiler_version()
    return keep_cubin(kernel.name, identity, lambda: compile_threads(kernel, form, arch))


def test_every_kernel_has_a_budget() -> None:
    assert KERNELS.keys() == REGISTERS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "form", "arch"), EVERY)
def test_nothing_spills_and_registers_suffice(kernel: PerThread, form: Form, arch: str) -> None:
    cubin = build(kernel, form, arch)
    (cost,) = read_costs(cubin.log).values()
    assert cost.spill_bytes == cost.stack_bytes == 0
    assert 0 < cost.registers <= REGISTERS[kernel.name]
    nvdisasm = find_nvdisasm()
    if nvdisasm is not None:
        counts = count_instructions(nvdisasm, cubin)
        assert counts[kernel.name].total() > 0
        assert not any(map(count_local, counts.values()))


@pytest.mark.slow
def test_the_longest_compiles_in_time() -> None:
    form = next(iter(KERNELS["accumulate"].forms.values()))
    start = time.process_time()
    assert compile_threads(KERNELS["accumulate"], form, "sm_90").code
    assert time.process_time() - start <= COMPILE_SECONDS


def test_arguments_are_laid_out_as_the_machine_code_takes_them() -> None:
    """All of eight bytes; of an array the code reads the memory and the shape."""
    from kernels.cuda.launch.entry import compile_ptx

    kernel, form = tiny("laid_out")
    array = np.zeros((3,), np.int64)
    words = lay_out(5, (array, 7))
    assert words == (5, 0, 0, 3, 8, array, 3, 8, 7)
    ptx = compile_ptx(kernel, form, "sm_90")
    declared = re.findall(r"\.param \.u64 laid_out_param_(\d+)", ptx)
    assert declared == [str(i) for i in range(len(words))]
    read = re.findall(r"ld\.param\.u64\s+%rd\d+, \[laid_out_param_(\d+)\]", ptx)
    assert sorted(map(int, read)) == [0, 5, 6, 8]


def test_strides_are_those_of_a_whole_array() -> None:
    array = np.zeros((2, 3, 4), np.uint32)
    assert lay_out(1, (array,))[6:] == (*array.shape, *array.strides)


def test_code_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, form = tiny("once")
    code = load_threads(kernel, form, "sm_90", tmp_path)
    assert code.startswith(b"\x7fELF")
    monkeypatch.setattr(threads, "compile_threads", lambda *_: Cubin(b"compiled again", ""))
    assert load_threads(kernel, form, "sm_90", tmp_path) == code
    others = (
        (kernel, form, "sm_80"),
        (kernel, Form.parse("int64[:,:], int64"), "sm_90"),
        (tiny("twice")[0], form, "sm_90"),
    )
    for other in others:
        assert load_threads(*other, tmp_path) == b"compiled again"
    assert len(list(tmp_path.iterdir())) == 4
    for module, name in ((threads, "source_digest"), (threads, "threads_compiler_version")):
        with monkeypatch.context() as now:
            now.setattr(module, name, lambda: "another")
            assert load_threads(kernel, form, "sm_90", tmp_path) == b"compiled again"


def test_a_function_that_numba_refuses_says_why() -> None:
    def build(jit: object, add: object) -> object:
        def body(i: int, out: object) -> None:
            out.append(i)  # type: ignore[attr-defined]

        return body

    kernel = PerThread("refused", build, "int64[:]")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=r"^numba.cuda, compile: TypingError: .*append.*numpy "):
        compile_threads(kernel, Form.parse("int64[:]"), "sm_90")
