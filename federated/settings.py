"""Settings of the client side. Only this file reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Env: ZKPOT_<FIELD>."""

    data_dir: Path = Path("~/.local/share/zkpot")  # fetched data sets, one folder each

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process, or of the given environment."""
        found = (os.environ if environment is None else environment).get("ZKPOT_DATA_DIR")
        return cls(data_dir=(Path(found) if found else cls().data_dir).expanduser())
