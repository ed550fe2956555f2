"""What a peer is asked to do, and how its answers compare with ours.

Inputs arrive in our types and are converted before the clock starts. Answers are plain Python
values: a point as affine integers, a transform as its digest, a pairing check as booleans.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from importlib import import_module
from typing import Any, Protocol

from bench.errors import Unavailable
from bench.registry import Task
from kernels.array import FrArray, FrMont, G1Array, G2Array


class Peer(Protocol):
    """Each method raises Unavailable for what the peer cannot do, or not at that size."""

    def msm_g1(self, scalars: FrArray, bases: G1Array) -> Task[Any]: ...
    def msm_g2(self, scalars: FrArray, bases: G2Array) -> Task[Any]: ...
    def ntt(self, a: FrMont) -> Task[Any]:
        """Forward transform over <w>, natural order in and out."""
        ...

    def pairing_check(self, g1: G1Array, g2: G2Array) -> Task[Any]:
        """Whether the product of the pairings is one. The answer is (verdict, verdict of the
        same points with the first one doubled), so that a constant cannot pass."""
        ...


PEERS = {
    "arkworks": "bench.peers.arkworks:Arkworks",
    "mcl": "bench.peers.mcl:Mcl",
    "py_ecc": "bench.peers.pure_python:PyEcc",
}
"""arkworks is reached through `zksnake`, mcl through `mclbn256`."""


def load_peer(name: str) -> Peer:
    """Raises Unavailable when the package of the peer is not installed."""
    module, attribute = PEERS[name].split(":")
    try:
        peer: Peer = getattr(import_module(module), attribute)()
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed (extra: bench)") from error
    return peer


def digest(values: Iterable[int]) -> str:
    """SHA-256 of canonical scalars, 32 little-endian bytes each."""
    return sha256(b"".join(v.to_bytes(32, "little") for v in values)).hexdigest()
