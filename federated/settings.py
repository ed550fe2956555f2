"""Settings of the client side. Only this file reads the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ZKPOT_THREADS")


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes that are begun in the block compute on one thread each: as many of them as there
    are processors would else wait for each other's threads for half of their time."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
