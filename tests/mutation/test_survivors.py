"""No mutant of the consensus survives its tests without a reason that is written down."""

from __future__ import annotations

import os

import pytest

from consensus import votes
from tests.mutation.hunt import TESTS, hunt, list_explained, passes_unchanged
from tests.mutation.mutants import find_function, list_mutants


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("module", TESTS)
def test_every_mutant_is_caught_or_explained(module: str) -> None:
    assert passes_unchanged(module)
    explained = list_explained()
    n_processes = max(1, (os.cpu_count() or 1) // 2)  # beside another worker of the tests
    survivors = [m for m, left in hunt(list_mutants(module), n_processes=n_processes) if left]
    assert [m.key for m in survivors if not explained.get(m.key)] == []


def test_what_is_explained_exists() -> None:
    """A reason must go with its mutant: the next one of that name would be believed unseen."""
    keys = {mutant.key for module in TESTS for mutant in list_mutants(module)}
    explained = list_explained()
    assert [key for key in explained if key not in keys] == []
    assert [key for key, reason in explained.items() if not reason] == []


def test_mutants_can_be_made() -> None:
    for mutant in list_mutants("consensus.votes"):
        code = find_function("consensus.votes", mutant.function).__code__
        assert mutant.compile().co_freevars == code.co_freevars, mutant.key


def test_a_mutant_runs_in_place_of_its_function() -> None:
    key = "consensus.votes.quorum: 2 * n_faulty(n_validators) + 1 -> Sub"
    mutant = next(m for m in list_mutants("consensus.votes") if m.key == key)
    code = find_function("consensus.votes", "quorum").__code__
    assert votes.quorum(4) == 3
    try:
        mutant.apply()
        assert votes.quorum(4) == 1
    finally:
        votes.quorum.__code__ = code
