"""The demo, run once for all tests of this folder, whichever process they are in."""

from __future__ import annotations

import os

import pytest

from tests.support.demo import Demo, run_once


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return run_once(shared / "one-demo")
