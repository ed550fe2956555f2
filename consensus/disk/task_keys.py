"""The keys that a genesis names, and that they are what it says of them.

A genesis pins a key by its digest and says in clear what is trained: architecture, samples and
circuit. The key names the same by digests of its own. Who reads a key for a chain compares the two,
or proofs about one network would count for another.
"""

from __future__ import annotations

from contextlib import suppress

from consensus.content.interface import Blobs
from consensus.errors import BlobUnavailable
from consensus.wire.genesis import Task
from prover.errors import KeyMismatch
from prover.keys.card import Card
from prover.keys.halves import VerifyingKey


def load_task_key(task: Task, blobs: Blobs) -> VerifyingKey:
    """The verifying key of a task.

    Raises BlobUnavailable; FormatError, KeyMismatch for one that contradicts the genesis.
    """
    key = VerifyingKey.decode(blobs.get(task.verifying_key_digest))
    require_task_key(task, key)
    return key


def load_norm_key(task: Task, blobs: Blobs) -> VerifyingKey:
    """The verifying key of a task's bounds on updates. Raises as `load_task_key`; ValueError for a
    task without bounds."""
    if task.norm is None:
        raise ValueError("the task has no bounds on updates")
    key = VerifyingKey.decode(blobs.get(task.norm.verifying_key_digest))
    card = task.norm.make_card(task.architecture)
    _require_key(key, card, task.norm.verifying_key_digest)
    return key


def require_task_key(task: Task, key: VerifyingKey) -> None:
    """KeyMismatch unless this is the key that the genesis names, and what it says of the key."""
    _require_key(key, task.card, task.verifying_key_digest)


def _require_key(key: VerifyingKey, card: Card, digest: bytes) -> None:
    if key.digest != digest:
        raise KeyMismatch(
            "the genesis names another key",
            next_step=f"take the key whose digest is {digest.hex()}",
        )
    try:
        card.require_key(key)
    except KeyMismatch as error:
        raise KeyMismatch(
            f"the genesis contradicts the key that it names: {error.what}",
            next_step="take the genesis that the chain was started with",
        ) from None


def check_task_keys(task: Task, blobs: Blobs) -> None:
    """Raises FormatError or KeyMismatch for a key that contradicts the genesis; it may lack yet."""
    with suppress(BlobUnavailable):
        load_task_key(task, blobs)
    if task.norm is not None:
        with suppress(BlobUnavailable):
            load_norm_key(task, blobs)
