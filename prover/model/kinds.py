"""All kinds of layers, by the names that manifests give them."""

from __future__ import annotations

from collections.abc import Mapping

from prover.errors import ArchitectureInvalid
from prover.model.layers import Layer, Linear
from prover.model.planes import Conv2d
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

LAYER_KINDS: Mapping[str, type[Add | Conv2d | Flatten | Linear | MaxPool | SumPool]] = {
    kind.kind: kind for kind in (Add, Conv2d, Flatten, Linear, MaxPool, SumPool)
}


def layer_from_manifest(value: object) -> Layer:
    """Inverse of `to_manifest`; ArchitectureInvalid for every other value."""
    if not isinstance(value, dict):
        raise ArchitectureInvalid("each layer must be an object")
    kind = value.get("kind")
    layer = LAYER_KINDS.get(kind) if isinstance(kind, str) else None
    if layer is None:
        raise ArchitectureInvalid(
            f"a layer is of unknown kind; this version knows {sorted(LAYER_KINDS)}"
        )
    return layer.from_manifest(value)
