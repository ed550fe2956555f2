"""What a cubin costs: registers, spills and stack by ptxas, instructions by nvdisasm. No GPU."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from kernels.cuda.launch.compiler import Cubin, compile_cubin, compiler_version
from kernels.cuda.launch.source import Source
from tests.support.cuda_emulator import build_directory

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SECTION = re.compile(r"^\.text\.(\w+):$")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")


@dataclass(slots=True)
class Cost:
    """Of one kernel, with everything it calls."""

    registers: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0


def read_costs(log: str) -> dict[str, Cost]:
    """What `ptxas -v` says of each kernel."""
    costs: dict[str, Cost] = {}
    current = Cost()
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            current = costs.setdefault(match.group(1), Cost())
        elif match := _STACK.search(line):
            stack, stores, loads = (int(v) for v in match.groups())
            current.stack_bytes += stack
            current.spill_bytes += stores + loads
        elif match := _REGISTERS.search(line):
            current.registers = int(match.group(1))
    return costs


def build_cubin(source: Source, arch: str) -> Cubin:
    """Compiled once for all processes of a run, with its log: compiling takes seconds."""
    return keep_cubin(*_identify(source, arch), lambda: compile_cubin(source, arch))


def time_cubin(source: Source, arch: str) -> float:
    """Seconds of a processor that its compiling took, when it was built."""
    build_cubin(source, arch)
    return float(_find_entry(*_identify(source, arch), "seconds").read_text())


def _identify(source: Source, arch: str) -> tuple[str, tuple[str, ...]]:
    return f"{source.name}-{arch}", (source.digest, arch, compiler_version())


def _find_entry(name: str, identity: tuple[str, ...], kind: str) -> Path:
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
    return build_directory() / f"{name}-{key}.{kind}"


def keep_cubin(name: str, identity: tuple[str, ...], make: Callable[[], Cubin]) -> Cubin:
    """What `make` returns, or returned in another process for this identity."""
    code, log, seconds = (_find_entry(name, identity, kind) for kind in ("bin", "log", "seconds"))
    with code.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be compiling the same
        if not (log.exists() and seconds.exists()):
            start = time.process_time()
            cubin = make()
            took = repr(time.process_time() - start).encode()
            for path, content in ((code, cubin.code), (seconds, took), (log, cubin.log.encode())):
                with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                    file.write(content)
                os.replace(file.name, path)
    return Cubin(code.read_bytes(), log.read_text())


def find_nvdisasm() -> Path | None:
    """The disassembler of the package nvidia-cuda-nvdisasm, or of a toolkit on PATH."""
    on_path = shutil.which("nvdisasm")
    if on_path is not None:
        return Path(on_path)
    try:
        listed = files("nvidia-cuda-nvdisasm") or []
    except PackageNotFoundError:
        return None
    found = [Path(str(f.locate())) for f in listed if f.name == "nvdisasm"]
    return found[0] if found else None


def count_instructions(nvdisasm: Path, cubin: Cubin) -> dict[str, Counter[str]]:
    """How often each instruction occurs in the text of each kernel or called function."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin.code)
        file.flush()
        command = [str(nvdisasm), "-c", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        if match := _SECTION.match(line.strip()):
            current = counts.setdefault(match.group(1), Counter())
        elif match := _INSTRUCTION.match(line):
            current[match.group(1)] += 1
    return counts


def count_wide(counts: Counter[str]) -> int:
    """Wide multiply-adds: the half-rate instructions that a product is made of."""
    return sum(n for name, n in counts.items() if name.startswith("IMAD.WIDE"))


def count_local(counts: Counter[str]) -> int:
    """Loads and stores of local memory."""
    return sum(n for name, n in counts.items() if name.split(".")[0] in ("LDL", "STL"))
