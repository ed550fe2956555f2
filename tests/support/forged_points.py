"""Keys with another point in place of one of theirs, and a verifying half that vouches for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernels.array import G1Array, G2Array
from prover.groth16.setup import pin_files
from prover.keys.halves import ProvingKey


def put_point(
    key: ProvingKey, name: str, at: int, point: G1Array | G2Array | None = None
) -> ProvingKey:
    """The key whose array of that name has `point` there.

    point : default the identity
    """
    bases = getattr(key, name)
    data = bases.data.copy()
    data[at] = 0 if point is None else point.data[0]
    changed: dict[str, Any] = {name: type(bases)(data)}
    return pin_files(replace(key, **changed))
