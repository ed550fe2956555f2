"""Statements in words: what one says, and in which field it is for another occasion."""

from __future__ import annotations

from typing import Any

from prover.wire.records import Record
from prover.wire.statement import Occasion

NOT_PROVEN = (
    "how the weights were trained, on which data, or by whom",
    "how the model does on any other sample; samples that were public may have been trained on",
    "anything against who made the key: they could keep its trapdoor and forge proofs, so know its "
    "digest from whom you trust",
)
"""What nobody should read into a proof of accuracy that is valid."""

CEREMONIES_FORGOTTEN = (
    "that one who contributed to the key, and one to its powers of tau, forgot its shares; or that "
    "its points are the circuit's, unless somebody you trust ran `zkpot ceremony verify --ptau`"
)
OF_CEREMONIES_NOT_PROVEN = (*NOT_PROVEN[:-1], CEREMONIES_FORGOTTEN)
"""... of a key whose ceremony holds."""

OF_TRAINING_NOT_PROVEN = (
    "that it is a step, or the end, of the training that you have in mind: compare its commitments "
    "with those that were made before steps were drawn",
    "anything about the data: whose they are, what they show, or where else they were used",
    "anything against who made the key: they could keep its trapdoor and forge proofs, so know its "
    "digest from whom you trust",
)
"""... and into one of a step of training, or of an export."""


def find_difference(statement: Record, expected: dict[str, Any]) -> str | None:
    """In which field a statement of any kind is for another occasion than expected, in words; else
    None."""
    values = statement.list_values()
    for name, wanted in expected.items():
        found = values[name]
        if found != wanted:
            return (
                f"the proof is for {get_label(name)} {show_value(name, found)}, "
                f"not for {show_value(name, wanted)}"
            )
    return None


def describe_occasion(occasion: Occasion) -> dict[str, Any]:
    """The occasion as a statement says it, in JSON types."""
    return {
        name: value if isinstance(value, int) else show_value(name, value)
        for name, value in occasion.list_values().items()
    }


def get_label(name: str) -> str:
    """A field of the statement in words."""
    return "model commitment" if name == "commitments" else name.replace("_", " ")


def show_value(name: str, value: bytes | int | tuple[bytes, ...]) -> str:
    """A field for a terminal. Names come from strangers: nothing but printable ASCII gets out."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(one.hex() for one in value)
    if name not in ("chain_id", "task_id"):
        return value.hex()
    if all(0x20 <= byte < 0x7F for byte in value):
        return value.decode("ascii")
    return f"0x{value.hex()}"
