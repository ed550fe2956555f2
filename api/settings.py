"""Settings of the service's processes. Only this file of `api` reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from federated.settings import Settings as DataSettings

PREFIX = "ZKPOT_"
OTHERS = frozenset({"ZKPOT_CACHE_DIR", "ZKPOT_DEVICE", "ZKPOT_LANES", "ZKPOT_THREADS"})
"""Names that other parts of the program read."""
MAX_TASKS_PER_JOB = 1 << 12
"""Shards of one job; the container of their proofs holds no more."""


class SettingsInvalid(ValueError):
    """The environment asks for something that cannot be meant; names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Env: ZKPOT_<FIELD>.

    All processes of one service share the server, the data directory and these numbers. The data
    directory holds keys, which every shard of a job must be proven with: on several machines it is
    a shared file system.
    """

    redis_url: str | None = None  # an own server under data_dir when unset
    data_dir: Path = DataSettings().data_dir
    api_keys_file: Path | None = None
    genesis: Path | None = None  # of the chain that the API shows
    backend: str = "cpu"
    fallback_backend: str = "cpu"  # takes over when `backend` fails
    key_cache_bytes: int = 8 << 30  # prepared keys in a worker's memory
    keys_limit_bytes: int = 64 << 30  # keys on disk; then only circuits that have one are proven
    lease_ms: int = 60_000  # a task is another worker's after this without a renewal
    max_deliveries: int = 3  # then the job goes to the dead letters
    retry_first_ms: int = 1_000
    retry_last_ms: int = 60_000
    queue_limit: int = 10_000  # tasks that may wait or run
    owner_tasks_limit: int = 5_000  # of them, tasks of one caller's jobs
    owner_bytes_limit: int = 1 << 30  # in the queue's server, jobs of one caller with their results
    result_ttl_s: int = 7 * 24 * 3600
    upload_ttl_s: int = 7 * 24 * 3600
    upload_limit_bytes: int = 32 << 30  # of all uploads together
    drain_s: int = 110  # for the task under way after SIGTERM

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise SettingsInvalid(f"{PREFIX}{field.name.upper()}={value} must be positive")
        if self.redis_url is not None and not self.redis_url.startswith(
            ("redis://", "rediss://", "unix://")
        ):
            raise SettingsInvalid("ZKPOT_REDIS_URL must start with redis://, rediss:// or unix://")
        if self.retry_last_ms < self.retry_first_ms:
            raise SettingsInvalid(
                f"ZKPOT_RETRY_LAST_MS={self.retry_last_ms} is less than "
                f"ZKPOT_RETRY_FIRST_MS={self.retry_first_ms}"
            )
        if self.lease_ms < 300:
            raise SettingsInvalid(
                f"ZKPOT_LEASE_MS={self.lease_ms} must be at least 300: a live task would run twice"
            )
        for name in ("queue_limit", "owner_tasks_limit"):
            if getattr(self, name) < MAX_TASKS_PER_JOB:
                raise SettingsInvalid(
                    f"{PREFIX}{name.upper()}={getattr(self, name)} must be at least "
                    f"{MAX_TASKS_PER_JOB}: the largest job would never be admitted"
                )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process, or of the given environment. Raises SettingsInvalid."""
        given = os.environ if environment is None else environment
        known = {PREFIX + field.name.upper(): field for field in fields(cls)}
        unknown = sorted(n for n in given if n.startswith(PREFIX) and n not in {*known, *OTHERS})
        if unknown:
            raise SettingsInvalid(
                f"unknown setting {unknown[0]}; known: {', '.join(sorted(known))}"
            )
        found = {
            field.name: _parse(name, str(field.type), given[name])
            for name, field in known.items()
            if given.get(name)
        }
        settings: dict[str, object] = {"data_dir": DataSettings().data_dir.expanduser(), **found}
        return cls(**settings)  # type: ignore[arg-type]


def _parse(name: str, kind: str, text: str) -> object:
    if kind.startswith("Path"):
        return Path(text).expanduser()
    if kind != "int":
        return text
    try:
        return int(text)
    except ValueError:
        raise SettingsInvalid(f"{name} is no whole number") from None
