"""Settings of the service's processes. Only this file of `api` reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from api.errors import SettingsInvalid
from federated.errors import HomeUnknown
from federated.settings import Settings as DataSettings
from federated.settings import expand_home
from kernels.machine import bound_threads, count_processors

PREFIX = "ZKPOT_"
OTHERS = frozenset({"ZKPOT_CACHE_DIR", "ZKPOT_LANES", "ZKPOT_THREADS"})
"""Names that other parts of the program read."""
MAX_TASKS_PER_JOB = 1 << 12
"""Shards of one job; the container of their proofs holds no more."""
MAX_IN_FLIGHT = 2
"""Tasks of one worker at once."""
_INJECTED = re.compile(
    r"ZKPOT(_[A-Z0-9]+)*_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Names that Kubernetes writes for services called zkpot, zkpot-redis and the like."""
_INJECTED_PORT = re.compile(r"ZKPOT(_[A-Z0-9]+)*_PORT=(tcp|udp|sctp)://.*")
"""... and one that a hand might write too, with a number."""
_BUCKET = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[\w-]+(/[\w-]+)*))?/?", re.ASCII
)
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_ENDPOINT = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[\w.-]+)(:(?P<port>[0-9]{1,5}))?(/[\w./-]*)?", re.ASCII
)
_MAX_PORT = 65_535
_MAX_KEY_FILE_BYTES = 256
MAX_PROOF_ROWS = 1 << 22
"""Rows of one proof; what they take of memory is planned (`prover.plan`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Env: ZKPOT_<FIELD>.

    All processes of one service share the server, the store and these numbers. The store holds
    uploads, and keys, which every shard of a job must be proven with: it is the data directory, on
    several machines then a shared file system, or a bucket.
    """

    redis_url: str | None = field(default=None, repr=False)  # unset: an own server under data_dir
    data_dir: Path = DataSettings().data_dir
    store: str = (
        "folder"  # or s3://bucket/prefix: then each machine has a data directory of its own
    )
    store_key: str | None = field(default=None, repr=False)  # 64 hexadecimal digits; for a bucket
    store_key_file: Path | None = None  # with them
    api_keys_file: Path | None = None
    genesis: Path | None = None  # of the chain that the API shows
    backend: str = "cpu"
    fallback_backend: str = "cpu"  # takes over when `backend` fails
    device: int | None = None  # ordinal of a worker's GPU; one that no other worker has when unset
    in_flight: int | None = None  # tasks of a worker at once; unset: see `tasks_in_flight`
    key_cache_bytes: int = 8 << 30  # prepared keys in a worker's memory
    memory_bytes: int | None = None  # of a worker or command; unset: nearly all there is
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
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int) and value < (0 if one.name == "device" else 1):
                raise SettingsInvalid(f"{PREFIX}{one.name.upper()}={value} must be positive")
        if self.redis_url is not None:
            _check_redis_url(self.redis_url)
        if self.store != "folder" and not _BUCKET.fullmatch(self.store):
            raise SettingsInvalid(
                f"ZKPOT_STORE={self.store} must be `folder`, or s3://bucket/prefix with a prefix "
                "of letters, digits, '-', '_' and '/'"
            )
        if self.store_key is not None and self.store_key_file is not None:
            raise SettingsInvalid("set ZKPOT_STORE_KEY or ZKPOT_STORE_KEY_FILE, not both")
        if self.store_key is not None:
            _parse_store_key(self.store_key, "ZKPOT_STORE_KEY")
        if self.retry_last_ms < self.retry_first_ms:
            raise SettingsInvalid(
                f"ZKPOT_RETRY_LAST_MS={self.retry_last_ms} is less than "
                f"ZKPOT_RETRY_FIRST_MS={self.retry_first_ms}"
            )
        if self.in_flight is not None and self.in_flight > MAX_IN_FLIGHT:
            raise SettingsInvalid(
                f"ZKPOT_IN_FLIGHT={self.in_flight} must be 1 or {MAX_IN_FLIGHT}: a worker has one "
                "device, and a second task does for what goes on beside it"
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

    @property
    def tasks_in_flight(self) -> int:
        """Tasks that a worker has in hand at once.

        Two where a device proves and the host has time. A CPU proves with all its threads: two
        proofs side by side took 0 to 7 % more of its time than one after the other.
        """
        if self.in_flight is not None:
            return self.in_flight
        return 1 if self.backend == "cpu" else MAX_IN_FLIGHT

    @property
    def experiments(self) -> Path:
        """The folder of reports of `zkpot experiment`, one folder for each profile."""
        return self.data_dir / "experiments"

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix of the store; None for the data directory."""
        match = _BUCKET.fullmatch(self.store)
        return (match["bucket"], match["prefix"] or "") if match else None

    def load_store_key(self) -> bytes | None:
        """32 bytes under which private content is sealed, if one was set.

        Raises SettingsInvalid for a file without one.
        """
        if self.store_key_file is None:
            given = self.store_key
            return None if given is None else _parse_store_key(given, "ZKPOT_STORE_KEY")
        try:
            with self.store_key_file.open("rb") as file:
                text = file.read(_MAX_KEY_FILE_BYTES).decode("ascii", "replace").strip()
        except OSError as error:
            raise SettingsInvalid(
                f"ZKPOT_STORE_KEY_FILE={self.store_key_file} cannot be read: {error.strerror}"
            ) from None
        return _parse_store_key(text, "ZKPOT_STORE_KEY_FILE")

    def write_environment(self) -> dict[str, str]:
        """The environment of this process with these settings, for one that it starts."""
        found = {name: v for name, v in os.environ.items() if not name.startswith(PREFIX)}
        found |= {name: os.environ[name] for name in OTHERS if name in os.environ}
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        given = {PREFIX + n.upper(): str(v) for n, v in values.items() if v is not None}
        return found | given

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process, or of the given environment. Raises SettingsInvalid."""
        given = os.environ if environment is None else environment
        known = {PREFIX + one.name.upper(): one for one in fields(cls)}
        _refuse_unknown(given, {*known, *OTHERS})
        found = {
            one.name: _parse(name, str(one.type), given[name])
            for name, one in known.items()
            if given.get(name)
        }
        if "data_dir" not in found:
            default = str(DataSettings().data_dir)
            found["data_dir"] = _parse("ZKPOT_DATA_DIR", "Path", default)
        made = cls(**found)  # type: ignore[arg-type]
        made.load_store_key()
        if made.bucket is not None:
            _check_endpoint(given)
        return made


def _refuse_unknown(given: Mapping[str, str], known: Iterable[str]) -> None:
    """Raises SettingsInvalid for the first name with our prefix that nobody reads."""
    for name in sorted(name for name in given if name.startswith(PREFIX)):
        if name in known or _is_injected(name, given[name]):
            continue
        likely = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        hint = f"did you mean {likely[0]}?" if likely else f"known: {', '.join(sorted(known))}"
        raise SettingsInvalid(f"unknown setting {name}; {hint}")


def _is_injected(name: str, value: str) -> bool:
    return bool(_INJECTED.fullmatch(name) or _INJECTED_PORT.fullmatch(f"{name}={value}"))


def _parse_store_key(text: str, name: str) -> bytes:
    """32 bytes. SettingsInvalid, which repeats nothing of it."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        raise SettingsInvalid(
            f"{name} must give 64 hexadecimal digits: `openssl rand -hex 32` makes them"
        )
    return bytes.fromhex(text)


def _check_endpoint(given: Mapping[str, str]) -> None:
    """SettingsInvalid for an address of the bucket's server that is none.

    The library that reads it ends the process in its own words. Nothing of it is repeated: it may
    hold a password.
    """
    for name in _ENDPOINTS:
        url = given.get(name)
        match = _ENDPOINT.fullmatch(url) if url else None
        if url and (match is None or int(match["port"] or 0) > _MAX_PORT):
            raise SettingsInvalid(f"{name} must be http://HOST:PORT or https://HOST")


def _check_redis_url(url: str) -> None:
    """SettingsInvalid for what a client would read otherwise than it is meant, or not at all.

    Nothing of it is repeated: it may hold a password, whole or what a stray character leaves of it.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsInvalid("ZKPOT_REDIS_URL must start with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(url)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        is_whole = bool(place) and parts.port != 0 and "#" not in url
    except ValueError:  # its text repeats what it could not read
        is_whole = False
    if not is_whole:
        raise SettingsInvalid(
            "ZKPOT_REDIS_URL cannot be read: it names no host (or no path of a socket), or its "
            "user name or password has characters that must be written otherwise: %23 for #, "
            "%2F for /, %3F for ?, %25 for %"
        )


def _parse(name: str, kind: str, text: str) -> object:
    if kind.startswith("Path"):
        try:
            return expand_home(Path(text), setting=name)
        except HomeUnknown as error:
            raise SettingsInvalid(str(error)) from None
    if not kind.startswith("int"):
        return text
    try:
        return int(text)
    except ValueError:
        raise SettingsInvalid(f"{name} is no whole number") from None


def share_threads(n_processes: int) -> int:
    """Threads for each of so many processes that divide this machine's processors, at least 1.

    `$ZKPOT_THREADS` bounds them too. Raises SettingInvalid.
    """
    most = max(1, count_processors() // max(1, n_processes))
    return bound_threads(os.environ.get("ZKPOT_THREADS", ""), most)


_HANDED_ON = frozenset(
    (
        *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "LD_LIBRARY_PATH"),
        *("XDG_CACHE_HOME", "ZKPOT_CACHE_DIR", "ZKPOT_LANES", "ZKPOT_THREADS"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"),
    )
)


def write_bare_environment() -> dict[str, str]:
    """The environment for a process that reads what strangers wrote: how to run, and no keys of
    queue or store."""
    return {name: value for name, value in os.environ.items() if name in _HANDED_ON}
