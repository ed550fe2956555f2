"""Model files as commands read them: whole, or the public architecture alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import typer

from api.console.refusals import meaning
from kernels.machine import count_memory
from prover.circuit.norm.plan import NormPlan, require_norm
from prover.errors import ArchitectureInvalid, BoundsInvalid, CircuitTooLarge, ModelFormatError
from prover.model.network import Architecture, QuantizedModel
from prover.model.presets import parse_architecture
from prover.model.update import UpdateBounds
from prover.model.zkq import MAGIC, MAX_MANIFEST_BYTES, VERSION, decode_model

MAX_MODEL_BYTES = 1 << 30
_HEADER = struct.Struct("<8sIIQ")  # magic, version, length of the manifest, of the payload


def load_model(path: Path) -> QuantizedModel:
    """The model with its private weights. Raises ModelFormatError, OSError."""
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise _no_model(path)
    return decode_model(path.read_bytes())


def read_architecture(path: Path) -> Architecture:
    """The manifest of a .zkq file. No byte of the payload, where the weights are, is read.

    Raises ModelFormatError, OSError.
    """
    with path.open("rb", buffering=0) as stream:  # a buffer would read ahead, into the weights
        head = stream.read(_HEADER.size)
        if len(head) != _HEADER.size:
            raise _no_model(path)
        magic, version, n_manifest, _ = _HEADER.unpack(head)
        if magic != MAGIC or version != VERSION or n_manifest > MAX_MANIFEST_BYTES:
            raise _no_model(path)
        manifest = stream.read(n_manifest)
    try:
        architecture = Architecture.from_manifest(json.loads(manifest.decode("ascii")))
    except (ArchitectureInvalid, ValueError, RecursionError):
        raise _no_model(path) from None
    if architecture.encode() != manifest:
        raise _no_model(path)
    return architecture


def require_norm_plan(model: str, bounds: str) -> NormPlan:
    """The plan of a circuit of bounds on updates, from what `find_architecture` takes and the
    text of --norm. Errors as there, and a usage error for bounds that are none."""
    names, parts = ("weight", "bias", "squares"), bounds.split(",")
    if len(parts) != len(names) or not all(p.isascii() and p.isdigit() for p in parts):
        raise typer.BadParameter(
            "bounds are three numbers, such as 8,2000,50000", param_hint="--norm"
        )
    architecture = find_architecture(model)
    with meaning("--norm", BoundsInvalid, CircuitTooLarge):
        found = UpdateBounds(**dict(zip(names, map(int, parts), strict=True)))
        return require_norm(architecture, found, max_bytes=count_memory())


def find_architecture(model: str) -> Architecture:
    """The architecture of a .zkq file, or of a name such as mlp-784-128-10 or lenet5.

    A usage error for what is neither.
    Raises ModelFormatError, OSError for a file that is there but is no model.
    """
    path = Path(model)
    try:
        return read_architecture(path) if path.is_file() else parse_architecture(model)
    except ArchitectureInvalid as error:
        raise typer.BadParameter(
            f"there is no file {model}, and as a name: {error}", param_hint="MODEL"
        ) from error


def _no_model(path: Path) -> ModelFormatError:
    return ModelFormatError(
        f"this is no quantized model of version {VERSION}",
        where=str(path),
        next_step="give a .zkq file written by `zkpot quantize`",
    )
