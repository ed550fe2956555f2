"""What is asked of an order of training proofs before it enters the queue."""

from __future__ import annotations

from typing import BinaryIO

from api.errors import Audience, describe
from api.http.circuits import Circuits
from api.http.problems import ApiProblem
from federated.provable.orders import TrainingOrder
from prover.errors import FormatError
from prover.keys.training_card import ExportCard, StepCard, TrainingCard


def open_order(file: BinaryIO) -> TrainingOrder:
    """An order whose head is read. ApiProblem bad_order; OSError."""

    def read(start: int, length: int) -> bytes:
        file.seek(start)
        return file.read(length)

    try:
        return TrainingOrder(read)
    except FormatError as error:
        raise _refuse(error) from None


def require_whole(order: TrainingOrder, n_bytes: int) -> None:
    """ApiProblem bad_order unless each record of these bytes is one of the recipe; OSError."""
    try:
        order.require_whole(n_bytes)
    except FormatError as error:
        raise _refuse(error) from None


def require_keys(order: TrainingOrder, circuits: Circuits) -> None:
    """ApiProblem refused unless the keys that are asked for are here, and of the order's recipe."""
    _require_key(order, order.head.step_key, circuits, StepCard, "a training step")
    _require_key(order, order.head.export_key, circuits, ExportCard, "an export")


def _require_key(
    order: TrainingOrder, wanted: bytes, circuits: Circuits, kind: type[TrainingCard], what: str
) -> None:
    if not wanted:
        return
    found = next((card for _, digest, card in circuits.list_of(kind) if digest == wanted), None)
    if found is None or found.recipe != order.recipe:
        raise ApiProblem(
            "refused",
            f"no key of {what} of this recipe has the digest {wanted.hex()} here",
            next_step="have the operator put the folder of that key among the service's, or name "
            "no key: then a proof is made under the service's own",
        )


def _refuse(error: FormatError) -> ApiProblem:
    return ApiProblem("bad_order", describe(error, Audience.CALLER).text)
