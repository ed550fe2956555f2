"""Importing is free of effects, and a consensus node stays light. Each in a clean interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("kernels", "prover", "consensus", "federated", "api", "bench", "integrations")
OPTIONAL = ("torch", "cupy", "cuda", "matplotlib", "zksnake", "mclbn256", "py_ecc", "flwr")

# Sockets, processes and threads that wait for work are started by commands, never by an import.
EFFECTS = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "socket.__new__",
    "socket.bind",
    "socket.connect",
    "subprocess.Popen",
)

# What a node may not load: proving, devices, training, the service.
HEAVY = (
    "api",
    "bench",
    "federated",
    "fastapi",
    "torch",
    "cupy",
    "numba.cuda.cudadrv",
    "kernels.cuda",
    "prover.groth16.prove",
    "prover.groth16.setup",
    "prover.circuit.witness",
)

# The verifier's half of kernels/cpu: pairing, group tests, sums over the public inputs.
LIGHT_CPU = ("kernels.cpu.words", "kernels.cpu.compile")

# Where CUDA's packages are installed, importing torch lists the linker's cache: the one process
# that is allowed, since it changes nothing.
CHILD = """
import json, sys
effects = []
forbidden = set(json.loads(sys.argv[1]))
def hear(event, args):
    if event in forbidden and list(args[1:2]) != [["/sbin/ldconfig", "-p"]]:
        effects.append(event)
sys.addaudithook(hear)
from importlib import import_module
from threading import active_count
from numba.core import event
missing = []
with event.install_recorder("numba:compile") as compiled:
    for name in json.loads(sys.argv[2]):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            missing.append(error.name.split(".")[0])
    exec(sys.argv[3])
print(json.dumps({
    "effects": effects,
    "compiled": len(compiled.buffer),
    "missing": missing,
    "modules": sorted(sys.modules),
    "threads": active_count(),
}))
"""


def import_clean(modules: list[str], cache: Path, *, then: str = "") -> dict[str, Any]:
    """Imports the modules in a new interpreter and says what happened."""
    arguments = [json.dumps(EFFECTS), json.dumps(modules), then]
    done = subprocess.run(
        ["env", f"ZKPOT_CACHE_DIR={cache}", sys.executable, "-W", "error", "-c", CHILD, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def list_modules(root: Path, package: str) -> list[str]:
    """Dotted names of every module of the package."""
    names = []
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def is_heavy(module: str) -> bool:
    """Whether a node may not load it."""
    if module.startswith("kernels.cpu."):
        return not module.startswith(LIGHT_CPU)
    return any(module == name or module.startswith(f"{name}.") for name in HEAVY)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_ours(package: str, root: Path) -> None:
    """Another distribution installs a package named `kernels`; site-packages would win over us."""
    program = f"import {package}; print({package}.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert Path(found.stdout.strip()).resolve() == root / package / "__init__.py"


@pytest.mark.parametrize("package", PACKAGES)
def test_import_has_no_effect(package: str, root: Path, tmp_path: Path) -> None:
    modules = list_modules(root, package)
    assert modules[0] == package
    result = import_clean(modules, tmp_path)
    assert result["effects"] == []
    assert result["compiled"] == 0
    assert result["threads"] == 1
    assert list(tmp_path.iterdir()) == []
    assert set(result["missing"]) <= set(OPTIONAL)
    if not result["missing"]:
        assert set(modules) <= set(result["modules"])


@pytest.mark.parametrize(
    ("then", "field"),
    [
        ("import socket; socket.socket().close()", "effects"),
        ("import subprocess; subprocess.run(['true'])", "effects"),
        ("import numba; numba.njit(lambda x: x + 1)(1)", "compiled"),
    ],
)
def test_effects_would_be_seen(then: str, field: str, tmp_path: Path) -> None:
    assert import_clean([], tmp_path, then=then)[field]


def test_node_is_light(root: Path, tmp_path: Path) -> None:
    """With the commitments that it adds up and opens, whose sums have a backend of its own; and
    with the verifier of training."""
    modules = [
        name for room in ("consensus", "prover/pedersen") for name in list_modules(root, room)
    ]
    modules += ["prover.groth16.verify_training", "prover.keys.training_card"]
    result = import_clean(modules, tmp_path)
    assert result["missing"] == []
    assert [m for m in result["modules"] if is_heavy(m)] == []


def test_proving_under_foreign_keys_loads_no_circuits(tmp_path: Path) -> None:
    """A small key's proof takes less time than they would take to load."""
    cut_rows = "from kernels.cpu.scalars import sparse; sparse._cut_rows(sparse.np.arange(9), 4)"
    result = import_clean(["prover.foreign", "prover.formats.zkey"], tmp_path, then=cut_rows)
    assert "prover.groth16.prove" in result["modules"]
    assert "numpy.ma" not in result["modules"]  # which some functions of numpy import when called
    circuits = ("prover.circuit.", "prover.model.", "prover.pedersen.", "pydantic")
    loaded = [m for m in result["modules"] if m.startswith(circuits)]
    assert loaded == ["prover.circuit.r1cs"]


def test_heavy_modules_would_be_seen(tmp_path: Path) -> None:
    result = import_clean(["kernels.cpu.lanes.choice", "bench.registry"], tmp_path)
    heavy = {m for m in result["modules"] if is_heavy(m)}
    assert {"kernels.cpu.lanes.choice", "bench", "bench.registry"} <= heavy


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("kernels.cpu.msm_g1", True),
        ("kernels.cpu.scalars.ntt", True),
        ("kernels.cpu.lanes.choice", True),
        ("kernels.cpu.words.small_msm", False),
        ("torch.nn", True),
        ("prover.groth16.prove", True),
        ("prover.groth16.verify", False),
        ("kernels.cpu.words.tower", False),
        ("kernels.cpu.words.scalar64", False),
        ("kernels.cpu.compile.jit", False),
        ("kernels.cpu.words.group", False),
        ("kernels.backend", False),
    ],
)
def test_is_heavy(module: str, heavy: bool) -> None:
    assert is_heavy(module) is heavy
