"""Fields that are scalars: bytes of others, or of too many, are refused."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from prover.errors import FieldInvalid
from prover.wire.array_kinds import Scalars
from prover.wire.records import Record, header


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Some(Record):
    HEADER: ClassVar[bytes] = header(b"some", 1)
    scalars: Annotated[FrArray, Scalars(1, 3)]


def encode(*values: int) -> bytes:
    raw = b"".join(v.to_bytes(32, "little") for v in values)
    return Some.HEADER + len(raw).to_bytes(4, "little") + raw


@pytest.mark.parametrize("values", [(0,), (R - 1, 1), (5, 6, 7)])
def test_scalars_round_trip(values: tuple[int, ...]) -> None:
    some = Some.parse(encode(*values))
    assert some.scalars.to_ints() == list(values)
    assert some.encode() == encode(*values)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (encode(), "has not 1 to 3 scalars"),
        (encode(1, 2, 3, 4), "has more than 3 scalars"),
        (encode(1, R), "is no whole number of scalars below r"),
        (encode((1 << 256) - 1), "is no whole number of scalars below r"),
        (Some.HEADER + b"\x21\x00\x00\x00" + bytes(33), "is no whole number of scalars below r"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, what: str) -> None:
    with pytest.raises(FieldInvalid, match=what):
        Some.parse(raw)


@pytest.mark.parametrize("value", [FrArray.zeros(0), FrArray.zeros(2, 2), [1]])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(FieldInvalid, match="has not 1 to 3 scalars"):
        Some(scalars=value)  # type: ignore[arg-type]
