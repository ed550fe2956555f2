"""A thread per index: under the CUDA simulator, and in host form against what defines it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from kernels.array import FrArray
from kernels.cuda import layers, witness
from kernels.cuda.integers import Constants, DeviceIntegers
from kernels.cuda.launch.per_thread import Form, PerThread
from kernels.cuda.launch.threads import numba_faults
from kernels.cuda.witness import count_lookups
from kernels.errors import DeviceError, ShapeError
from kernels.integers import to_scalars
from kernels.planes import Sliding
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.skips import or_skip


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    return or_skip(EmulatedDevice)


def test_every_kernel_under_the_simulator(root: Path) -> None:
    modules = {**vars(witness), **vars(layers)}
    kernels = {name for name, value in modules.items() if isinstance(value, PerThread)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.cuda_simulation"],
        cwd=root,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {f"_{name}" for name in done.stdout.split()} == kernels


def build_model(seed: int, relu: bool) -> tuple[QuantizedModel, Any]:
    rng = np.random.default_rng(seed)

    requant = Requant(
        shift=9, multiplier=3, least=0 if relu else -128, greatest=255 if relu else 127
    )
    architecture = Architecture.mlp([12, 7, 5, 3], requant=requant)
    model = QuantizedModel(
        architecture=architecture,
        weights=tuple(
            rng.integers(-127, 128, shape, dtype=np.int8) for shape in architecture.weight_shapes
        ),
        biases=tuple(
            rng.integers(-(1 << 15), 1 << 15, shape, dtype=np.int32)
            for shape in architecture.bias_shapes
        ),
    )
    return model, rng.integers(0, 256, (9, 12), dtype=np.uint8)


@pytest.mark.parametrize("relu", [True, False])
def test_inference_is_the_models_trace(device: EmulatedDevice, relu: bool) -> None:
    model, images = build_model(1, relu)
    found = model.trace(images, DeviceIntegers(device, Constants(device)))
    assert len(found) == 3
    for values, step in zip(found, model.trace(images), strict=True):
        assert device.holds(values.z)
        assert (values.z == step.z).all()
        assert (step.z < 0).any()
        assert (values.requant is None) == (step.requant is None)
        if values.requant is not None and step.requant is not None:
            assert (values.requant.q == step.requant.q).all()
            assert (values.requant.rem == step.requant.rem).all()
            assert (values.requant.y == step.requant.y).all()


def test_a_layer_that_does_not_fit_its_input(device: EmulatedDevice) -> None:
    x, bias = device.zeros((1, 4), np.uint8), device.zeros((2,), np.int32)
    with pytest.raises(ShapeError, match=r"\[2, 3\] on inputs \[1, 4\]"):
        layers.multiply(device, x, device.zeros((2, 3), np.int8), bias)
    plane, window = x.reshape(1, 1, 2, 2), Sliding(kernel=(1, 1))
    for shape in ((2, 3, 1, 1), (2, 1, 1, 2)):
        with pytest.raises(ShapeError, match=r"on inputs \[1, 1, 2, 2\]"):
            layers.convolve(device, plane, device.zeros(shape, np.int8), bias, window, ())
    with pytest.raises(ShapeError, match=r"\[1, 4\] and \[2\]"):
        layers.mix(
            device, [device.zeros((1, 4), np.int64), device.zeros((2,), np.int64)], [(1,)] * 2
        )


@pytest.mark.parametrize("n_rows", [1, 5, 300, 1 << 17])
def test_multiplicities(device: EmulatedDevice, n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    index = np.concatenate([np.zeros(1000, np.int64), rng.integers(-3, n_rows + 3, 2000)])
    inside = index[(index >= 0) & (index < n_rows)]
    parts = [device.asarray(part) for part in (index[:700].reshape(7, 100), index[700:])]
    found = count_lookups(device, parts, n_rows)
    assert found.dtype == np.int64
    assert (found == np.bincount(inside, minlength=n_rows)).all()


def test_gathered_records(device: EmulatedDevice) -> None:
    rng = np.random.default_rng(1)
    source = rng.integers(0, 1 << 63, (50, 4), dtype=np.uint64)
    index = rng.permutation(50)[:20].astype(np.uint32)
    picked = witness.gather(device, device.asarray(source), device.asarray(index))
    assert (picked == source[index]).all()


def test_small_scalars(device: EmulatedDevice) -> None:
    top = (1 << 62) - 1
    values = np.array([0, 1, -1, 127, -128, top, -top, 1 << 40], dtype=np.int64)
    found = witness.small_scalars(device, device.asarray(values))
    assert FrArray(device.to_host(found)).equals(to_scalars(values))


def test_nothing_is_launched_for_nothing(device: EmulatedDevice) -> None:
    assert len(witness.small_scalars(device, device.zeros((0,), np.int64))) == 0


class CudaAPIError(Exception):
    """As numba's: a code and what the driver says."""


class LoweringError(Exception):
    """As numba's."""


LoweringError.__module__ = CudaAPIError.__module__ = "numba.cuda.core.errors"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ImportError("libcuda.so.1: cannot open"), "import: ImportError: libcuda.so.1: cannot op"),
        (
            AttributeError("module 'numpy' has no attribute 'row_stack'"),
            "compile: AttributeError: module 'numpy' has no attribute 'row_stack' (numba-cuda ",
        ),
        (LoweringError("no such\n  function"), "compile: LoweringError: no such function (numba-"),
        (CudaAPIError("[700] CUDA_ERROR_ILLEGAL_ADDRESS"), "launch: CudaAPIError: [700] CUDA_ERR"),
        (CudaAPIError("[2] CUDA_ERROR_OUT_OF_MEMORY"), "memory: CudaAPIError: [2] CUDA_ERROR_OUT"),
    ],
)
def test_faults_of_numba_say_what_failed(fault: Exception, told: str) -> None:
    with pytest.raises(DeviceError, match="^numba.cuda, " + re.escape(told)), numba_faults():
        raise fault


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, ValueError, KeyError])
def test_other_faults_of_numba_are_named_by_class_alone(kind: type[Exception]) -> None:
    """Their texts may show values of a witness."""
    with pytest.raises(DeviceError, match=f"^numba.cuda, launch: {kind.__name__}$"), numba_faults():
        raise kind("values")


def test_versions_that_disagree_are_named() -> None:
    with pytest.raises(DeviceError) as refused, numba_faults():
        raise AttributeError("row_stack")
    assert f"numba {numba.__version__}, numpy {np.__version__})" in str(refused.value)


def test_arguments_of_no_form_are_refused(device: EmulatedDevice) -> None:
    def build(jit: object, add: object) -> Any:
        return lambda i, out, value: None

    kernel, whole = PerThread("tiny", build, "uint32[:,:], int64"), device.zeros((4, 4), np.uint32)
    kernel(device, 4, whole, 1)
    for other in (whole.reshape(-1), whole.view(np.int32)):
        with pytest.raises(TypeError, match=r"^tiny: not compiled for u?int32\[\d\], int64\[0\]"):
            kernel(device, 4, other, 1)
    for wrong in (whole[:, :2], device.to_host(whole), np.uint32(1), None):
        with pytest.raises(TypeError, match=r"^tiny: arguments are whole arrays"):
            kernel(device, 4, wrong, 1)


@pytest.mark.parametrize("text", ["", "int32", "uint8[]", "uint8[:], uint8", "Array[:]"])
def test_forms_are_arrays_and_integers(text: str) -> None:
    with pytest.raises(ValueError, match="no type"):
        Form.parse(text)
