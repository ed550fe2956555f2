"""Ceremonies of keys of our own, for tests of those that hold and of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.own_ceremonies import BEACON, Ceremony


@pytest.fixture(scope="package")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """Two contributions and a beacon. Tests go on from a fork of it."""
    ceremony = Ceremony(tmp_path_factory.mktemp("ceremony"))
    ceremony.contribute(1)
    ceremony.contribute(2)
    ceremony.contribute(3, BEACON)
    return ceremony


@pytest.fixture
def begun(tmp_path: Path) -> Ceremony:
    return Ceremony(tmp_path)
