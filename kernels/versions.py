"""Versions of what is installed, for people who look for a fault."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OWN = "zkpot"
_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def find_version(package: str) -> str:
    """The version that is installed; "absent" when nothing says that the package is."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def find_own_version() -> str:
    """The version of this program: of the source tree that it runs from, else as installed."""
    try:
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
        if project["name"] == OWN:
            return str(project["version"])
    except (OSError, ValueError, KeyError):
        pass  # no source tree
    return find_version(OWN)
