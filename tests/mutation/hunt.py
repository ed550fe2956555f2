"""Runs tests against mutants, each in a process of its own that ends with the first failure.

    python -m tests.mutation.hunt consensus.votes ...      prints who survives, and why it may

The parent has imported what the tests need; a child is a fork of it, so that a mutant costs little
more than the tests up to the one that catches it. A mutant that runs for too long is caught.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, list_mutants

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
LIMIT_S = 240
"""Of processor time of one mutant; the tests of a module take a tenth of it."""

_STATE = (
    "tests/unit/test_state_rules.py",
    "tests/unit/test_state_memory.py",
    "tests/unit/test_state.py",
    "tests/unit/test_state_faults.py",
    "tests/consensus/test_simulator.py",
)
_CHAIN = (
    "tests/unit/test_chain_rules.py",
    "tests/unit/test_chain.py",
    "tests/unit/test_standing.py",
    "tests/unit/test_election.py",
    "tests/unit/test_governance.py",
    "tests/unit/test_refusals.py",
)
_NODE = (
    "tests/unit/test_node.py",
    "tests/unit/test_node_pool.py",
    "tests/unit/test_node_hostile.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    "consensus.state": _STATE,
    "consensus.memory": _STATE,
    "consensus.turn": _STATE,
    "consensus.receipts": _STATE,
    "consensus.votes": _STATE,
    "consensus.chain": _CHAIN,
    "consensus.admission": _CHAIN,
    "consensus.verifier": ("tests/unit/test_verifier_rules.py", "tests/unit/test_verifier.py"),
    "consensus.beacon": (
        "tests/unit/test_beacon.py",
        "tests/unit/test_drafts.py",
        "tests/unit/test_verifier_rules.py",
    ),
    "consensus.node": _NODE,
    "consensus.desk": ("tests/unit/test_drafts.py", *_NODE),
}
"""Which tests must catch the mutants of a module, the quickest first."""


def passes_unchanged(module: str) -> bool:
    """Whether the module's tests pass without a mutant: else every mutant would seem caught."""
    pid = _start(module, None)
    return os.waitpid(pid, 0)[1] == 0


def hunt(mutants: Sequence[Mutant], *, n_processes: int) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, as it is done, and whether it survived its tests."""
    waiting = list(reversed(mutants))
    running: dict[int, Mutant] = {}
    while waiting or running:
        while waiting and len(running) < n_processes:
            mutant = waiting.pop()
            running[_start(mutant.module, mutant)] = mutant
        pid, status = os.wait()
        yield running.pop(pid), status == 0


def list_explained() -> dict[str, str]:
    """Mutants that change nothing anyone can see, each with the reason, from `equivalent.txt`."""
    found: dict[str, str] = {}
    key = ""
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            found[key] = line.strip()
        elif line and not line.startswith("#"):
            key = line
            found[key] = ""
    return found


def _start(module: str, mutant: Mutant | None) -> int:
    """The process id of a child that ends with 0 if no test fails."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(_run(module, mutant))
        finally:
            os._exit(70)
    return pid


def _run(module: str, mutant: Mutant | None) -> int:
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)  # ends the process: nothing handles it
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if mutant is not None:
        mutant.apply()
    tests = [str(ROOT / path) for path in TESTS[module]]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not soak and not gpu and not slow"]
    return int(pytest.main([*options, *tests]))


def main(modules: Sequence[str]) -> None:
    explained = list_explained()
    n_processes = os.cpu_count() or 1
    for module in modules or list(TESTS):
        if not passes_unchanged(module):
            sys.exit(f"the tests of {module} fail as they are")
        mutants = list_mutants(module)
        survivors = [m for m, survived in hunt(mutants, n_processes=n_processes) if survived]
        print(f"{module}: {len(mutants)} mutants, {len(survivors)} survive", flush=True)
        for mutant in sorted(survivors, key=lambda m: m.line):
            reason = explained.get(mutant.key, "UNEXPLAINED")
            print(f"  {mutant.line}: {mutant.key}\n      {reason}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
