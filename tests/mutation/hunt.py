"""Runs tests against mutants, each in a process of its own that ends with the first failure.

    python -m tests.mutation.hunt consensus.agreement.votes ...   prints who survives, and why

The tests of a module are collected once; a mutant is a fork of that process, so that it costs no
more than the tests up to the one that catches it. A mutant that runs for too long is caught.
Exit code 1 when a mutant survives without a reason.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, list_mutants

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
LIMIT_S = 20
"""Of processor time of one test; the longest takes a quarter of it."""

_STATE = (
    "tests/unit/consensus/agreement/test_state_rules.py",
    "tests/unit/consensus/agreement/test_state_memory.py",
    "tests/unit/consensus/agreement/test_state_restarts.py",
    "tests/unit/consensus/agreement/test_state.py",
    "tests/unit/consensus/agreement/test_state_faults.py",
    "tests/consensus/test_simulator.py",
)
_CHAIN = (
    "tests/unit/consensus/learning/test_chain_rules.py",
    "tests/unit/consensus/learning/test_chain.py",
    "tests/unit/consensus/learning/test_chain_training.py",
    "tests/unit/consensus/learning/test_standing.py",
    "tests/unit/consensus/learning/test_election.py",
    "tests/unit/consensus/learning/test_governance.py",
    "tests/unit/consensus/learning/test_rewards.py",
    "tests/unit/consensus/learning/test_binding.py",
    "tests/unit/api/console/test_refusals.py",
)
_NODE = (
    "tests/unit/consensus/node/test_node_loop.py",
    "tests/unit/consensus/node/test_node_streams.py",
    "tests/unit/consensus/node/test_node.py",
    "tests/unit/consensus/node/test_node_pool.py",
    "tests/unit/consensus/node/test_node_hostile.py",
    "tests/unit/consensus/node/test_node_finality.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    "consensus.agreement.state": _STATE,
    "consensus.agreement.memory": _STATE,
    "consensus.agreement.turn": _STATE,
    "consensus.agreement.receipts": _STATE,
    "consensus.agreement.votes": _STATE,
    "consensus.learning.chain": _CHAIN,
    "consensus.learning.phase_time": _CHAIN,
    "consensus.learning.admission": _CHAIN,
    "consensus.node.verifier": (
        "tests/unit/consensus/node/test_verifier_rules.py",
        "tests/unit/consensus/node/test_verifier.py",
    ),
    "consensus.learning.beacon": (
        "tests/unit/consensus/learning/test_beacon.py",
        "tests/unit/consensus/node/test_drafts.py",
        "tests/unit/consensus/node/test_verifier_rules.py",
    ),
    "consensus.node.node": _NODE,
    "consensus.node.desk": (
        "tests/unit/consensus/node/test_desk.py",
        "tests/unit/consensus/node/test_desk_blobs.py",
        "tests/unit/api/console/test_refusals.py",
        "tests/unit/consensus/node/test_drafts.py",
        *_NODE,
    ),
}
"""Which tests must catch the mutants of a module, the quickest first."""


class Hunter:
    """A plugin of pytest that runs the collected tests once for each mutant.

    survivors : mutants that no test caught; None when a test fails without a mutant
    """

    def __init__(self, mutants: Sequence[Mutant], n_processes: int) -> None:
        self._mutants, self._n_processes = mutants, n_processes
        self.survivors: list[Mutant] | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        if os.waitpid(_start(session, None), 0)[1] == 0:
            self.survivors = self._run_all(session)
        return True

    def _run_all(self, session: pytest.Session) -> list[Mutant]:
        waiting, running = list(reversed(self._mutants)), dict[int, Mutant]()
        survivors = []
        while waiting or running:
            while waiting and len(running) < self._n_processes:
                mutant = waiting.pop()
                running[_start(session, mutant)] = mutant
            pid, status = os.wait()
            mutant = running.pop(pid)
            if status == 0:
                survivors.append(mutant)
        return sorted(survivors, key=lambda m: m.line)


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


def find_survivors(module: str) -> list[Mutant]:
    """The mutants of a module that its tests let pass."""
    hunter = Hunter(list_mutants(module), os.cpu_count() or 1)
    tests = [str(ROOT / path) for path in TESTS[module]]
    options = ["-x", "-p", "no:cacheprovider", "-m", "not soak and not gpu and not slow"]
    with open(os.devnull, "w") as quiet, redirect_stdout(quiet):
        pytest.main([*options, *tests], plugins=[hunter])
    if hunter.survivors is None:
        sys.exit(f"the tests of {module} fail as they are: every mutant would seem caught")
    return hunter.survivors


def _start(session: pytest.Session, mutant: Mutant | None) -> int:
    """The process id of a child that ends with 0 if no test fails."""
    pid = os.fork()
    if pid == 0:
        try:
            _run(session, mutant)
        finally:
            os._exit(70)
    return pid


def _run(session: pytest.Session, mutant: Mutant | None) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if mutant is not None:
        mutant.apply()
    following = [*session.items[1:], None]
    for item, after in zip(session.items, following, strict=True):
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)  # ends the process: nothing handles it
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            os._exit(1)
    os._exit(0)


def main(modules: Sequence[str]) -> int:
    explained, code = list_explained(), 0
    for module in modules or list(TESTS):
        survivors = find_survivors(module)
        print(f"{module}: {len(survivors)} mutants survive", flush=True)
        for mutant in survivors:
            reason = explained.get(mutant.key, "UNEXPLAINED")
            code |= mutant.key not in explained
            print(f"  {mutant.line}: {mutant.key}\n      {reason}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
