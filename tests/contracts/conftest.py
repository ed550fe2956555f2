"""The contracts of `contracts/`, compiled once, and a chain that shows its blocks to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.contracts import Artifact, World, compile_contracts
from tests.support.shown_blocks import Shown, Validators


@pytest.fixture(scope="session")
def artifacts() -> dict[str, Artifact]:
    return compile_contracts(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="session")
def validators() -> Validators:
    return Validators()


@pytest.fixture
def world(artifacts: dict[str, Artifact]) -> World:
    return World(artifacts)


@pytest.fixture
def shown(world: World, validators: Validators) -> Shown:
    """A chain, and the contract that is shown its blocks."""
    return Shown.deploy(world, validators)
