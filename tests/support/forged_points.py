"""Keys with another point in place of one of theirs, and a verifying half that vouches for it."""

from __future__ import annotations

from dataclasses import replace

from kernels.array import G1Array, G2Array
from prover.groth16.setup import pin_files
from prover.keys.halves import ProvingKey, list_arrays


def put_point(
    key: ProvingKey, name: str, at: int, point: G1Array | G2Array | None = None
) -> ProvingKey:
    """The key whose array of that name, its own or its first linked group's, has `point` there.

    point : default the identity
    """
    (array,) = [a for a in list_arrays(min(1, len(key.groups))) if a.name == name]
    bases = array.of(key)
    data = bases.data.copy()
    data[at] = 0 if point is None else point.data[0]
    changed = {name: type(bases)(data)}
    if array.group is None:
        return pin_files(replace(key, **changed))
    first = replace(key.groups[0], **changed)
    return pin_files(replace(key, groups=(first, *key.groups[1:])))
