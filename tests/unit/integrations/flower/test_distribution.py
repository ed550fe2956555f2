"""`zkpot-flower` is zkpot: the same version, and of what both need the same versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

PLACE = "integrations/flower"


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))


def by_name(requirements: list[str]) -> dict[str, str]:
    return {re.split(r"[<>=;\[]", one)[0].strip(): one for one in requirements}


def test_it_needs_what_zkpot_needs_and_flower(root: Path) -> None:
    own, whole = read(root / PLACE)["project"], read(root)["project"]
    assert own["version"] == whole["version"]
    needs, known = by_name(own["dependencies"]), by_name(whole["dependencies"])
    assert set(needs) - set(known) == {"flwr"}
    assert {name: known[name] for name in needs if name != "flwr"} == {
        name: text for name, text in needs.items() if name != "flwr"
    }


def test_it_holds_the_packages_that_flower_clients_import(root: Path) -> None:
    targets = read(root / PLACE)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all((root / PLACE / source).resolve() == root / name for source, name in targets.items())
    layers = read(root)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(layers) - set(targets.values()) == {"api", "bench"}
