"""What every test shares: tests are deterministic, from seeds that do not change."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import py_ecc  # noqa: F401  # sets the recursion limit to 100,000, see below
import pytest
from hypothesis import settings

# py_ecc's limit lets a parser that recurses overflow the C stack, which no test could survive; the
# program itself runs with Python's own limit. This one still suffices for py_ecc's powers.
sys.setrecursionlimit(10_000)

# The same examples on every run; no deadline, since the first call of a kernel compiles it.
settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("deterministic")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, default=150, help="simulated runs of the consensus, of each size"
    )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    """A source of its own for each test, seeded by the test's name."""
    return Random(request.node.nodeid)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parent.parent
