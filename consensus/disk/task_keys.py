"""The keys that a genesis names, and that they are what it says of them.

A genesis pins a key by its digest and says in clear what is trained: architecture, samples and
circuit. The key names the same by digests of its own. Who reads a key for a chain compares the two,
or proofs about one network would count for another. Where the genesis names ceremonies, the
transcript of each key's has to hold, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from consensus.content.interface import Blobs
from consensus.errors import BlobUnavailable
from consensus.wire.genesis import Task
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.errors import CeremonyInvalid, KeyMismatch
from prover.groth16.verify_training import TrainingKeys
from prover.keys.card import Card
from prover.keys.halves import VerifyingKey


def load_task_key(task: Task, blobs: Blobs) -> VerifyingKey:
    """The verifying key of a task.

    Raises BlobUnavailable; FormatError, KeyMismatch for one that contradicts the genesis.
    """
    return _load_key(task, blobs, task.verifying_key_digest, task.card)


def load_norm_key(task: Task, blobs: Blobs) -> VerifyingKey:
    """The verifying key of a task's bounds on updates. Raises as `load_task_key`; ValueError for a
    task without bounds."""
    if task.norm is None:
        raise ValueError("the task has no bounds on updates")
    card = task.norm.make_card(task.architecture)
    return _load_key(task, blobs, task.norm.verifying_key_digest, card)


def load_training_keys(task: Task, blobs: Blobs) -> TrainingKeys:
    """Both verifying keys of a task's training. Raises as `load_task_key`; ValueError for a task
    that asks for none."""
    training = task.training
    if training is None:
        raise ValueError("the task asks for no training")
    step = training.make_step_card(task.architecture)
    export = training.make_export_card(task.architecture)
    return TrainingKeys(
        step=_load_key(task, blobs, training.step_key, step),
        step_inputs=StepInputs(plan=step.plan),
        export=_load_key(task, blobs, training.export_key, export),
        export_inputs=ExportInputs(plan=export.plan),
    )


def require_task_key(task: Task, key: VerifyingKey) -> None:
    """KeyMismatch unless this is the key that the genesis names, and what it says of the key."""
    _require_key(key, task.card, task.verifying_key_digest)


def check_task_keys(task: Task, blobs: Blobs) -> None:
    """Raises FormatError or KeyMismatch for a key that contradicts the genesis; it may lack yet."""
    for digest, card in _list_cards(task):
        with suppress(BlobUnavailable):
            _load_key(task, blobs, digest, card)


def _list_cards(task: Task) -> Iterator[tuple[bytes, Card]]:
    """Digests of all verifying keys of a task, each with the card that it must name."""
    yield task.verifying_key_digest, task.card
    if task.norm is not None:
        yield task.norm.verifying_key_digest, task.norm.make_card(task.architecture)
    if task.training is not None:
        yield task.training.step_key, task.training.make_step_card(task.architecture)
        yield task.training.export_key, task.training.make_export_card(task.architecture)


def _load_key(task: Task, blobs: Blobs, digest: bytes, card: Card) -> VerifyingKey:
    key = VerifyingKey.decode(blobs.get(digest))
    _require_key(key, card, digest)
    ceremony = task.find_ceremony(digest)
    if ceremony is not None:
        _require_ceremony(key, ceremony, blobs)
    return key


def _require_ceremony(key: VerifyingKey, digest: bytes, blobs: Blobs) -> None:
    # Here: a node of a task that relies on who made its keys has no use for it.
    from kernels.backend import get_backend
    from prover.ceremony.own.finish import require_transcript

    what = "the key is of another ceremony, or of none"
    try:
        if key.ceremony_digest == digest:
            require_transcript(blobs.get(digest), key, get_backend("cpu"))
            return
    except CeremonyInvalid as error:
        what = error.what
    raise KeyMismatch(
        f"the genesis names a ceremony of a key, and {what}",
        next_step="take the genesis that the chain was started with",
    )


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
