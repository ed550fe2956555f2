"""The shape of the source tree: import contracts, file sizes, empty `__init__`, settings."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGES = ("kernels", "prover", "consensus", "federated", "api", "bench", "integrations")
MAX_LINES = 450
MAX_MODULES = 20  # of one folder

# The directory of compiled kernels; beside it only the backends may read: lanes, threads, device.
CACHE_FILE = "kernels/cpu/compile/jit.py"
BACKEND_FILES = {"kernels/cpu/backend.py", "kernels/cuda/backend.py"}

WRITER_FILE = "kernels/files.py"
WRITING = {"write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "tofile"}
# Folders that are thrown away, and a switch of the kernel.
SCRATCH_FILES = {
    "bench/isolated.py",
    "bench/peers/ezkl_child.py",
    "bench/peers/float_graph.py",
    "bench/peers/jstprove.py",
    "bench/peers/jstprove_child.py",
}
# What becomes numba code that is not Python: one way to wrap it, and what takes whole arrays.
WRAPPER_FILES = {"kernels/cpu/compile/emit.py", "kernels/cpu/compile/memory.py"}
LOG_FILE = "consensus/disk/block_files.py"  # a full log of blocks gets another name


def list_sources(root: Path) -> list[Path]:
    return [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def is_docstring_only(source: str) -> bool:
    body = ast.parse(source).body
    return len(body) == 1 and ast.get_docstring(ast.Module(body, [])) is not None


def reads_environment(source: str) -> bool:
    """Whether the source names os.environ or os.getenv, in any of the ways to import them."""
    names = {"environ", "environb", "getenv", "getenvb"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            return True
        if not isinstance(node, ast.ImportFrom) or node.module != "os":
            continue
        if names & {alias.name for alias in node.names}:
            return True
    return False


def replaces_files(source: str) -> bool:
    """Whether the source writes a whole file, or puts one in place, by a way of its own."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    for call in calls:
        if not isinstance(call, ast.Attribute):
            continue
        of_os = isinstance(call.value, ast.Name) and call.value.id == "os"
        if call.attr in WRITING or (of_os and call.attr in {"replace", "rename", "link"}):
            return True
    return False


def test_import_contracts(root: Path) -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_init_files_hold_a_docstring_only(root: Path) -> None:
    inits = [path for path in list_sources(root) if path.name == "__init__.py"]
    assert len(inits) >= len(PACKAGES)
    assert [str(path) for path in inits if not is_docstring_only(path.read_text())] == []


def test_every_folder_is_a_package(root: Path) -> None:
    folders = {path.parent for path in list_sources(root)}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_folders_are_small(root: Path) -> None:
    counts = Counter(path.parent.relative_to(root).as_posix() for path in list_sources(root))
    assert counts["consensus/node"] > 1
    assert {folder: n for folder, n in counts.items() if n - 1 > MAX_MODULES} == {}


def test_files_are_short(root: Path) -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in list_sources(root)}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_only_settings_read_the_environment(root: Path) -> None:
    readers = {
        path.relative_to(root).as_posix()
        for path in list_sources(root)
        if reads_environment(path.read_text()) and path.name != "settings.py"
    }
    assert CACHE_FILE in readers
    assert readers - {CACHE_FILE} <= BACKEND_FILES


def test_one_writer_of_files(root: Path) -> None:
    """`kernels.files`: a file is there whole or not at all. Not files: logs, locks, scratch."""
    writers = {
        path.relative_to(root).as_posix()
        for path in list_sources(root)
        if replaces_files(path.read_text())
    }
    assert WRITER_FILE in writers
    assert writers - {WRITER_FILE, LOG_FILE} <= SCRATCH_FILES


def test_one_wrapper_of_machine_code(root: Path) -> None:
    wrappers = {
        path.relative_to(root).as_posix()
        for path in (root / "kernels" / "cpu").rglob("*.py")
        if "numba.extending" in path.read_text()
    }
    assert wrappers == WRAPPER_FILES


def test_every_command_module_is_registered(root: Path) -> None:
    from api.cli import COMMANDS

    modules = {path.stem for path in (root / "api" / "commands").glob("*.py")} - {"__init__"}
    assert modules == set(COMMANDS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Text."""', True),
        ("", False),
        ('"""Text."""\nfrom x import y', False),
        ("import x", False),
    ],
)
def test_is_docstring_only(source: str, expected: bool) -> None:
    assert is_docstring_only(source) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nos.environ['X']", True),
        ("import os as o\no.getenv('X')", True),
        ("from os import environ", True),
        ("import os\nos.path", False),
        ("'os.environ'", False),
    ],
)
def test_reads_environment(source: str, expected: bool) -> None:
    assert reads_environment(source) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.write_text('x')", True),
        ("Path('x').write_bytes(b'')", True),
        ("import os\nos.replace(a, b)", True),
        ("text.replace('a', 'b')", False),
        ("write_whole(path, [raw])", False),
    ],
)
def test_replaces_files(source: str, expected: bool) -> None:
    assert replaces_files(source) is expected
