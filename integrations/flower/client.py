"""The client mod: one argument of `ClientApp`, and what the app trains is proven.

app = ClientApp(mods=[prove("task")])
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flwr.app import Array, ArrayRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from integrations.errors import ArraysUnsupported, TicketInvalid
from integrations.flower.proving import Prover
from integrations.flower.records import read_ticket, write_proof
from integrations.flower.tickets import Mode
from kernels.backend import get_backend

FIT_ARRAYS, FIT_WEIGHT = "fitres.parameters", "fitres.num_examples"
"""The records of a client of `client_fn`, the only ones that SecAgg+ of flwr 1.42 masks."""


def prove(task: str | Path, *, secure: bool = False, backend: str = "cpu") -> ProvingMod:
    """A mod that rounds the trained model to the task's integers, commits to it and proves it.

    task    : the task's folder; read when the first model is proven
    secure  : for SecAgg+: `mods=[secaggplus_mod, prove(task, secure=True)]`, in this order. The
              first is the outermost: it masks what this one has made
    backend : `cpu`, or `cuda`
    """
    mode = Mode.MASKED if secure else Mode.OPEN
    return ProvingMod(task=Path(task), mode=mode, backend=backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvingMod:
    """A mod of a ClientApp, as `prove` makes one. It can be sent to another process, as Flower's
    simulation does: the key is loaded there, once."""

    task: Path
    mode: Mode
    backend: str

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """The app's reply, proven; messages that are not about training pass.

        raises : TicketInvalid, ArraysUnsupported, TooFewCorrect, ProvingFailed, and what is wrong
                 with the folder. Flower tells the server, which counts a failure; none says a
                 weight
        """
        if not message.metadata.message_type.startswith(MessageType.TRAIN):
            return call_next(message, context)
        self._require_masks(message)
        ticket = read_ticket(message.content)
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        name, record = _find_arrays(reply.content)
        arrays = [array.numpy() for array in record.values()]
        prover = _load(self.task, self.mode, self.backend)
        proven = prover.prove(arrays, ticket, message.metadata.dst_node_id)
        if self.mode is Mode.MASKED:
            _require_fit(reply.content)
            reply.content[FIT_ARRAYS] = ArrayRecord(list(proven.arrays))
            reply.content[FIT_WEIGHT] = MetricRecord({"num_examples": 1})
        else:
            named = zip(record, proven.arrays, strict=True)
            reply.content[name] = ArrayRecord({key: Array(array) for key, array in named})
        write_proof(reply.content, proven)
        return reply

    def _require_masks(self, message: Message) -> None:
        """The mod of SecAgg+ lets pass unmasked what is not its own kind of training."""
        if self.mode is Mode.MASKED and message.metadata.message_type != MessageType.TRAIN:
            raise TicketInvalid(
                f"SecAgg+ masks answers to {MessageType.TRAIN!r} alone, and the server asks by "
                "another name: let it train by ProvenSecAggPlusWorkflow"
            )


@cache
def _load(task: Path, mode: Mode, backend: str) -> Prover:
    """One for all nodes of this process."""
    return Prover.load(
        task, mode=mode, random_bytes=secrets.token_bytes, backend=get_backend(backend)
    )


def _find_arrays(content: RecordDict) -> tuple[str, ArrayRecord]:
    """The one ArrayRecord of an answer, by its name."""
    if len(content.array_records) != 1:
        text = f"are in {len(content.array_records)} ArrayRecords"
        raise ArraysUnsupported(text, "the model of one")
    ((name, record),) = content.array_records.items()
    return name, record


def _require_fit(content: RecordDict) -> None:
    """Before anything that only masks may show is in the answer."""
    if FIT_ARRAYS not in content.array_records or FIT_WEIGHT not in content.metric_records:
        raise TicketInvalid(
            "SecAgg+ masks the clients of a client_fn alone: write the client as a NumPyClient"
        )
