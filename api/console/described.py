"""What a file or a key folder says of itself, for `zkpot inspect`: its public part; nothing of it
is judged.

Files are known by their first bytes. Of private ones that is told which their public halves say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from federated.provable.batches import BatchSecret
from federated.provable.files import read_bounded
from federated.provable.proof_file import TrainingProof
from federated.provable.trajectory import Trajectory, TrajectoryBlindings
from kernels.encoding import encode_g1
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.norm.circuit import NormCircuit
from prover.circuit.sizes import CircuitSizes, compute_sizes
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.sizes import compute_step_sizes
from prover.circuit.training.step import StepCircuit
from prover.errors import FormatError
from prover.keys.card import MAX_CARD_BYTES, Card, KeyCard, UpdateCard
from prover.keys.folder import CARD_NAME, load_half, require_part
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME
from prover.pedersen.commitment import ModelCommitment
from prover.pipeline import compile_for_key
from prover.steps import compile_export_for_key, compile_step_for_key
from prover.training.commitments import BatchCommitments, TrajectoryCommitments, parse_recipe
from prover.updates import compile_norm_for_key
from prover.wire.envelope import Envelope
from prover.wire.records import Document, Record
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs
from prover.wire.update import UpdateEnvelope
from prover.wire.wording import show_value

Facts = dict[str, Any]
AnyCircuit = AccuracyCircuit | NormCircuit | StepCircuit | ExportCircuit
CARDS: tuple[type[Card], ...] = (StepCard, ExportCard, UpdateCard, KeyCard)
"""The kinds of keys; each names its own field in a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedKey:
    """A key on disk: what it says, the sizes of its circuit, and what compiles that.

    name : of its folder
    """

    name: str
    facts: Facts
    sizes: CircuitSizes
    compile_circuit: Callable[[], AnyCircuit]


# -- keys ------------------------------------------------------------------------------------------


def describe_keys(folder: Path) -> list[DescribedKey]:
    """The key of a folder, or both of a recipe. Raises FormatError, KeyMismatch, OSError."""
    both = [folder / name for name in (STEP_NAME, EXPORT_NAME)]
    found = [one for one in both if one.is_dir()] or [folder]
    return [_describe_key(one) for one in found]


def _describe_key(folder: Path) -> DescribedKey:
    kind = find_kind(folder)
    key, card = load_half(folder, kind)
    facts = {
        "what": f"key of {folder}",
        "key_digest": key.digest.hex(),
        "architecture": card.architecture.name,
        card.FIELD: card.to_field(),
        "circuit_digest": card.circuit_digest.hex(),
    }
    sizes, compile_circuit = _find_circuit(card, key)
    sizes = replace(sizes, is_padded=key.is_of_ceremony)
    return DescribedKey(name=folder.name, facts=facts, sizes=sizes, compile_circuit=compile_circuit)


def find_kind(folder: Path) -> type[Card]:
    """The kind of a key folder's card, by the field that only cards of one kind have; whether it is
    one, its parser says. Raises FormatError, OSError."""
    path = folder / CARD_NAME
    require_part(path)
    raw = read_bounded(path, MAX_CARD_BYTES)
    return next((kind for kind in CARDS if f'"{kind.FIELD}":'.encode() in raw), KeyCard)


def _find_circuit(card: Card, key: VerifyingKey) -> tuple[CircuitSizes, Callable[[], AnyCircuit]]:
    """Sizes without compiling, and what compiles the circuit and compares it with the key's."""
    match card:
        case StepCard():
            return compute_step_sizes(card.plan), lambda: compile_step_for_key(card, key)
        case ExportCard():
            return card.plan.sizes, lambda: compile_export_for_key(card, key)
        case UpdateCard():
            return card.plan.sizes, lambda: compile_norm_for_key(card, key)
        case KeyCard():
            sizes = compute_sizes(card.architecture, card.n_samples)
            return sizes, lambda: compile_for_key(card, key)
    raise AssertionError("a card of no kind")


# -- files -----------------------------------------------------------------------------------------


def describe_file(path: Path) -> Facts:
    """What a file says. Raises FormatError for malformed ones and those of no kind, OSError."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    for kind, describe in _KINDS.items():
        if head.startswith(kind.HEADER[:-2]):
            raw = read_bounded(path, kind.MAX_BYTES)
            return describe(_decode(kind, raw, path))
    raise FormatError(
        "it is no file that says something of itself",
        where=str(path),
        next_step="give a name, a .zkq file, a key folder, a proof or a file of commitments",
    )


def _decode(kind: type[Record], raw: bytes, path: Path) -> Any:
    if issubclass(kind, Document):
        return kind.decode(raw, where=str(path))
    found = kind.decode(raw)
    if found is None:
        raise FormatError(
            "it is no proof of this version",
            where=str(path),
            next_step="fetch it again, or make it again",
        )
    return found


def _describe_proof(proof: TrainingProof) -> Facts:
    steps = [StepEnvelope.decode(raw) for raw in proof.steps]
    export = ExportEnvelope.decode(proof.export)
    seed = int.from_bytes(proof.seed, "little") if proof.seed else None
    return {
        "what": "proof of training, not verified",
        "mode": "full" if proof.is_full else "sampled",
        "proven_steps": list(proof.chosen),
        "beacon": proof.beacon.hex(),
        "seed": seed,
        "start": f"model of {len(proof.start)} bytes" if proof.start else "drawn from the seed",
        "trajectory": _describe_path(proof.trajectory),
        "batches": _describe_batches(proof.batches),
        "first_step": _describe_statement(steps[0]) if steps[0] else None,
        "export": _describe_statement(export) if export else None,
    }


def _describe_round(proofs: TrainingProofs) -> Facts:
    steps = [StepEnvelope.decode(raw) for raw in proofs.steps]
    export = ExportEnvelope.decode(proofs.export)
    return {
        "what": "proofs of a round's training, not verified",
        "proven_steps": [None if one is None else one.statement.step for one in steps],
        "export": _describe_statement(export) if export else None,
    }


def _describe_path(path: TrajectoryCommitments) -> Facts:
    facts = {"what": "commitments of a trajectory", "digest": path.digest.hex()}
    return facts | _describe_training(path) | {"last_commitment": encode_g1(path.d[-1:]).hex()}


def _describe_training(path: TrajectoryCommitments | Trajectory) -> Facts:
    """What both halves of a trajectory say."""
    recipe = parse_recipe(path.recipe)
    assert recipe is not None, "asked when the file was read"
    return {
        "architecture": recipe.architecture.name,
        "training": recipe.numbers,
        "recipe_digest": recipe.digest.hex(),
        "start_digest": path.start.hex(),
        "batches_digest": path.batches.hex(),
        "steps": len(path.numbers),
    }


def _describe_batches(data: BatchCommitments) -> Facts:
    return {
        "what": "committed batches",
        "digest": data.digest.hex(),
        "batches": len(data.d),
        "batch_size": data.batch_size,
        "values_per_sample": data.n_in,
        "classes": data.n_classes,
    }


def _describe_statement(envelope: Any) -> Facts:
    """The fields of an envelope's statement."""
    kinds = {
        Envelope: "proof of accuracy",
        UpdateEnvelope: "proof of bounds",
        StepEnvelope: "proof of a training step",
        ExportEnvelope: "proof of an export",
    }
    values = {
        name: value if isinstance(value, int) else _show(name, value)
        for name, value in envelope.statement.list_values().items()
    }
    return {"what": f"{kinds[type(envelope)]}, not verified"} | values


def _show(name: str, value: Any) -> Any:
    is_numbers = isinstance(value, tuple) and all(isinstance(one, int) for one in value)
    return list(value) if is_numbers else show_value(name, value)


_KINDS: dict[type[Record], Callable[[Any], Facts]] = {
    TrainingProof: _describe_proof,
    TrainingProofs: _describe_round,
    TrajectoryCommitments: _describe_path,
    BatchCommitments: _describe_batches,
    Trajectory: lambda x: (
        {"what": "trajectory, private: weights are not shown"} | _describe_training(x)
    ),
    TrajectoryBlindings: lambda x: {
        "what": "blindings of a trajectory, private: not shown",
        "digest_of_commitments": x.commitments.hex(),
        "steps": len(x.rho),
    },
    BatchSecret: lambda x: {
        "what": "samples of committed batches, private: not shown",
        "digest_of_commitments": x.commitments.hex(),
        "batches": len(x.rho),
        "samples": len(x.labels),
    },
    ModelCommitment: lambda x: {"what": "commitment", "model_commitment": encode_g1(x.d).hex()},
    Envelope: _describe_statement,
    UpdateEnvelope: _describe_statement,
    StepEnvelope: _describe_statement,
    ExportEnvelope: _describe_statement,
}
_HEAD_BYTES = max(len(kind.HEADER) for kind in _KINDS)
