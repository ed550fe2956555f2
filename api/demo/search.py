"""Whether anything that left the clients shows a model of theirs: all that others hold, searched.

Others are the validators, the place where clients put blobs, the server with its streams, the
service, and whoever reads logs. What the server forgets is still in its append-only file. Of every
model several runs of parameters are looked for, and its blinding, in all the ways in which numbers
are written here: as they are or times the unit of global models.

That it finds what is there is checked on the clients' own folders, where all of it lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from consensus.learning.aggregate import ONE
from kernels.bn254 import R
from kernels.integers import to_scalars
from kernels.numpy_types import Int64Array

N_RUNS, RUN = 3, 16
"""Runs of a model that are looked for, and parameters in each."""
PROBE_BYTES = 8
_FACTORS = (1, ONE)
_LG_TABLE = 20
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_TYPES = tuple(order + kind for order in "<>" for kind in ("i2", "i4", "i8", "f4", "f8"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Secret:
    """A client's model of a round, or the masters that it trained.

    name    : for people
    numbers : int64[n_parameters]
    rho     : the blinding of the commitment to them
    known   : numbers that everybody has and that these began as; what is still as it was tells
              nothing
    kinds   : what numbers and rho are called
    """

    name: str
    numbers: Int64Array
    rho: int
    known: Int64Array | None = None
    kinds: tuple[str, str] = ("weights", "blinding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """n_bytes : in all; found : which secrets, and where"""

    n_bytes: int
    found: tuple[str, ...]


class Searcher:
    """Looks for secrets in any bytes, for all of them at once."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._probes: dict[bytes, list[tuple[str, bytes, int]]] = {}
        self._table = np.zeros(1 << _LG_TABLE, dtype=np.bool_)
        self.names: set[str] = set()
        for secret in secrets:
            found = (list_weights(secret), list_blindings(secret))
            for kind, needles in zip(secret.kinds, found, strict=True):
                name = f"{secret.name}'s {kind}"
                self.names.add(name)
                for needle in needles:
                    self._add(name, needle)

    def find(self, raw: bytes) -> set[str]:
        """Names of the secrets that show in these bytes."""
        found: set[str] = set()
        for start in range(PROBE_BYTES):
            n = (len(raw) - start) // PROBE_BYTES
            words = np.frombuffer(raw, dtype="<u8", count=max(n, 0), offset=min(start, len(raw)))
            for i in np.flatnonzero(self._table[_hash(words)]):
                found |= self._confirm(raw, start + PROBE_BYTES * int(i))
        return found

    def _confirm(self, raw: bytes, at: int) -> set[str]:
        known = self._probes.get(raw[at : at + PROBE_BYTES], ())
        return {
            name
            for name, needle, offset in known
            if at >= offset and raw.startswith(needle, at - offset)
        }

    def _add(self, name: str, needle: bytes) -> None:
        """By the eight bytes in it that are least alike."""
        offsets = range(len(needle) - PROBE_BYTES + 1)
        offset = max(offsets, key=lambda i: len(set(needle[i : i + PROBE_BYTES])))
        probe = needle[offset : offset + PROBE_BYTES]
        self._probes.setdefault(probe, []).append((name, needle, offset))
        self._table[_hash(np.frombuffer(probe, dtype="<u8"))] = True


def _hash(words: Any) -> Any:
    return (words * _FACTOR) >> np.uint64(64 - _LG_TABLE)


# -- what is looked for ----------------------------------------------------------------------------


def list_weights(secret: Secret) -> Iterator[bytes]:
    """Encodings of runs of a model's parameters."""
    for run in choose_runs(secret.numbers, secret.known):
        as_bytes = run.astype(np.int8 if abs(run).max() < 128 else np.int32).tobytes()
        yield from (as_bytes, as_bytes.hex().encode(), ", ".join(map(str, run)).encode())
        for factor in _FACTORS:
            yield from _encode(run * factor)


def list_blindings(secret: Secret) -> Iterator[bytes]:
    """Encodings of a blinding."""
    for factor in _FACTORS:
        rho = secret.rho * factor % R
        for order in ("little", "big"):
            raw = rho.to_bytes(32, order)
            yield from (raw, raw.hex().encode())
        yield str(rho).encode()


def choose_runs(parameters: Int64Array, known: Int64Array | None = None) -> list[Int64Array]:
    """The runs of weights in which most values differ: no other bytes look like them by chance.

    known : of runs that differ from it in at least half of their places
    holds : a model's weights lie together in its file, apart from biases, which are greater;
            masters are all greater, and all lie together
    """
    runs = parameters[: len(parameters) // RUN * RUN].reshape(-1, RUN)
    if known is not None:
        began = known[: len(parameters) // RUN * RUN].reshape(-1, RUN)
        runs = runs[(runs != began).sum(axis=1) >= RUN // 2]
    small = runs[(abs(runs) < 128).all(axis=1)]
    chosen = small if len(small) else runs
    order = sorted(range(len(chosen)), key=lambda i: -len(set(chosen[i].tolist())))
    return [chosen[i] for i in order[:N_RUNS]]


def _encode(values: Int64Array) -> Iterator[bytes]:
    """As integers and floats of every width that holds them, and as scalars in both forms."""
    for name in _TYPES:
        kind = np.dtype(name)
        if kind.kind == "f" or abs(values).max() <= np.iinfo(kind).max:
            yield values.astype(kind).tobytes()
    yield to_scalars(values).data.tobytes()
    shifted = [int(x) * (1 << 256) % R for x in values]
    yield b"".join(x.to_bytes(32, "little") for x in shifted)


# -- where ----------------------------------------------------------------------------------------


def search(searcher: Searcher, places: Iterable[tuple[str, bytes]]) -> Searched:
    """All of these bytes, each content once. places : what they are, for people, and the bytes"""
    n_bytes, seen, found = 0, set[int](), list[str]()
    for where, raw in places:
        n_bytes += len(raw)
        digest = hash(raw)
        if digest not in seen:
            seen.add(digest)
            found += [f"{name} in {where}" for name in sorted(searcher.find(raw))]
    return Searched(n_bytes=n_bytes, found=tuple(found))


def read_files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under these folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()


def read_server(redis: Redis) -> Iterator[tuple[str, bytes]]:
    """Every value that the server holds now, one key after the other. Raises RedisError."""
    for key in redis.scan_iter(count=1000):
        yield f"the server's {key.decode(errors='replace')}", b"\x00".join(_read_value(redis, key))


def _read_value(redis: Any, key: bytes) -> Iterator[bytes]:
    match redis.type(key):
        case b"string":
            yield redis.get(key) or b""
        case b"list":
            yield from redis.lrange(key, 0, -1)
        case b"set":
            yield from redis.smembers(key)
        case b"zset":
            yield from redis.zrange(key, 0, -1)
        case b"hash":
            for name, value in redis.hgetall(key).items():
                yield from (name, value)
        case b"stream":
            for _, fields in redis.xrange(key):
                for name, value in fields.items():
                    yield from (name, value)
