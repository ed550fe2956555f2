"""Orders of training proofs: written, read record by record, and refused for any other bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from federated.provable.orders import MAX_HEAD_BYTES, OrderHead, StepOrder, bound_record
from prover.errors import FieldInvalid, FormatError
from prover.pedersen.opening import opens
from prover.training.batch import make_batch
from prover.training.step import train_step
from prover.wire.records import LENGTH_BYTES
from tests.support.ordered import CHOSEN, N_STEPS, OCCASION, committer, open_order, recipe, trained

RAW = trained().write()


def rewrite(raw: bytes, change: Callable[[OrderHead], OrderHead]) -> bytes:
    """The same records under another head."""
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    records = raw[LENGTH_BYTES + length :]
    head = change(open_order(raw).head).encode()
    return len(head).to_bytes(LENGTH_BYTES, "little") + head + records


def put(raw: bytes, index: int, **change: Any) -> bytes:
    """The order with fields of a step's record changed, and the head that fits it."""
    order = open_order(raw)
    record = replace(order.read_step(index), **change).encode()
    start = order.n_bytes - int(order.head.lengths[index:].sum())
    end = start + int(order.head.lengths[index])
    lengths = order.head.lengths.copy()
    lengths[index] = len(record)
    changed = raw[:start] + record + raw[end:]
    return rewrite(changed, lambda head: replace(head, lengths=lengths))


def test_each_record_has_what_its_proof_is_made_of() -> None:
    order = open_order(RAW)
    order.require_whole(len(RAW))
    assert (order.head.occasion, order.recipe) == (OCCASION, recipe())
    assert tuple(order.head.steps) == CHOSEN
    path, reached = trained().path.trajectory, None
    for index, t in enumerate(CHOSEN):
        step = order.read_step(index)
        masters = step.masters.astype(np.int64)
        reached = train_step(recipe(), masters, step.images, step.labels).after
        assert np.array_equal(reached, path.get_masters(t + 1))
        batch = make_batch(recipe(), step.images, step.labels)
        for secret, values in (
            (step.before, masters),
            (step.after, reached),
            (step.data, batch.wires),
        ):
            assert opens(secret.public.d, values, secret.blinding.rho, committer())
    export = order.read_export()
    assert np.array_equal(export.masters, path.get_masters(N_STEPS))
    for secret, values in (
        (export.of_masters, path.get_masters(N_STEPS)),
        (export.of_model, path.export().wires),
    ):
        assert opens(secret.public.d, values, secret.blinding.rho, committer())


def test_a_record_is_read_alone() -> None:
    asked = list[tuple[int, int]]()

    def read(start: int, length: int) -> bytes:
        asked.append((start, length))
        return RAW[start : start + length]

    order = type(open_order(RAW))(read)
    order.read_step(1)
    (_, _, (start, length)) = asked
    assert length == int(order.head.lengths[1]) <= bound_record(recipe())
    assert StepOrder.decode(RAW[start : start + length]) is not None


def test_nobody_orders_steps_that_are_none() -> None:
    with pytest.raises(FormatError, match="steps 0 to 4"):
        trained().write((0, N_STEPS))
    with pytest.raises(FieldInvalid, match="do not ascend"):
        trained().write((2, 1))
    with pytest.raises(FormatError, match="other committed batches"):
        trained().write(batches=trained(2).batches)


def test_secrets_are_not_shown() -> None:
    order = open_order(RAW)
    for record in (order.read_step(0), order.read_export()):
        assert "rho" not in repr(record)
        assert "masters" not in repr(record)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "begins with other bytes"),
        (RAW[:100], "in its head"),
        ((MAX_HEAD_BYTES + 9).to_bytes(4, "little") + bytes(MAX_HEAD_BYTES + 9), "in its head"),
        (RAW[:4] + b"x" + RAW[5:], "begins with other bytes"),
        (RAW[:-1], "its head says"),
        (RAW + b"x", "its head says"),
        (rewrite(RAW, lambda h: replace(h, lengths=np.roll(h.lengths, 1))), "record of step 0"),
        (
            rewrite(RAW, lambda h: replace(h, lengths=h.lengths + np.uint32(1 << 20))),
            "its head says",
        ),
        (put(RAW, 1, masters=np.zeros(3, dtype=np.int32)), "step 2 has another number of masters"),
        (put(RAW, 1, labels=np.zeros(0, dtype=np.uint8)), "step 2 has another batch"),
        (put(RAW, 1, labels=np.zeros(5, dtype=np.uint8)), "step 2 has another batch"),
        (put(RAW, 1, labels=np.full(4, 3, dtype=np.uint8)), "step 2 has a label of no class"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        open_order(raw).require_whole(len(raw))


def test_a_record_longer_than_its_recipe_makes_it_is_not_read() -> None:
    grown = RAW + bytes(1 << 16)
    lengths = open_order(RAW).head.lengths + np.array([0, 0, 0, 1 << 16], dtype=np.uint32)
    raw = rewrite(grown, lambda head: replace(head, lengths=lengths))
    with pytest.raises(FormatError, match="export is longer"):
        open_order(raw).require_whole(len(raw))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"recipe": b"{}"}, "no recipe"),
        ({"steps": np.zeros(0, dtype=np.uint32)}, "steps"),
        ({"steps": np.array([0, 2, 2], dtype=np.uint32)}, "do not ascend"),
        ({"steps": np.array([0, 2, 1 << 16], dtype=np.uint32)}, "none can be"),
        ({"step_key": b"short"}, "step_key"),
        ({"lengths": np.ones(3, dtype=np.uint32)}, "one record for each"),
    ],
)
def test_heads_that_cannot_be_meant(change: dict[str, Any], what: str) -> None:
    head = open_order(RAW).head
    fields = {name: getattr(head, name) for name in OrderHead.KINDS} | change
    with pytest.raises(ValueError, match=what):
        OrderHead(**fields)
