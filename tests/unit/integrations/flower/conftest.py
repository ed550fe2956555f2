"""One task for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.support.flower_task import FlowerLab, build_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> FlowerLab:
    return build_lab(tmp_path_factory.mktemp("flower") / "task")
