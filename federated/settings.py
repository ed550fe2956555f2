"""Settings of the client side. Only this file reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from federated.errors import HomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Env: ZKPOT_<FIELD>."""

    data_dir: Path = Path("~/.local/share/zkpot")  # fetched data sets, one folder each

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process, or of the given environment."""
        found = (os.environ if environment is None else environment).get("ZKPOT_DATA_DIR")
        wanted = Path(found) if found else cls().data_dir
        return cls(data_dir=expand_home(wanted, setting="ZKPOT_DATA_DIR"))


def expand_home(path: Path, *, setting: str) -> Path:
    """The path without its `~`. Raises HomeUnknown, which names the setting to give."""
    try:
        return path.expanduser()
    except RuntimeError:  # HOME is unset, and the system has no such user
        raise HomeUnknown(path, setting) from None
