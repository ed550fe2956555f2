"""The committed trees are those that OpenZeppelin's package makes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.merkle_trees import PATH, make


def test_committed_trees_are_of_the_package(root: Path) -> None:
    assert json.loads(json.dumps(make(root))) == json.loads(PATH.read_text())
