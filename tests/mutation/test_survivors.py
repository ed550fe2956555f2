"""No mutant of the consensus survives its tests without a reason that is written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consensus.agreement import votes
from tests.mutation.hunt import TESTS, list_explained
from tests.mutation.mutants import find_function, list_mutants


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("module", TESTS)
def test_every_mutant_is_caught_or_explained(module: str, root: Path) -> None:
    command = [sys.executable, "-m", "tests.mutation.hunt", module]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_explained_exists() -> None:
    """A reason must go with its mutant: the next one of that name would be believed unseen."""
    keys = {mutant.key for module in TESTS for mutant in list_mutants(module)}
    explained = list_explained()
    assert [key for key in explained if key not in keys] == []
    assert [key for key, reason in explained.items() if not reason] == []


def test_mutants_can_be_made() -> None:
    for mutant in list_mutants("consensus.agreement.votes"):
        code = find_function("consensus.agreement.votes", mutant.function).__code__
        assert mutant.compile().co_freevars == code.co_freevars, mutant.key


def test_a_mutant_runs_in_place_of_its_function() -> None:
    key = "consensus.agreement.votes.quorum: 2 * n_faulty(n_validators) + 1 -> Sub"
    mutant = next(m for m in list_mutants("consensus.agreement.votes") if m.key == key)
    code = find_function("consensus.agreement.votes", "quorum").__code__
    assert votes.quorum(4) == 3
    try:
        mutant.apply()
        assert votes.quorum(4) == 1
    finally:
        votes.quorum.__code__ = code
