"""`circuit.json` of a key folder: which circuit the key is for, in public words.

A key names its circuit by a digest only. The card beside it says what was compiled, so that a
verifier can compute the public wires and a prover can compile the circuit again:

    architecture    manifest of `Architecture`, with the task's multipliers
    n_samples       samples of the circuit
    circuit_digest  hexadecimal, as in verifying.key
    origin          who knew the trapdoor, as in verifying.key
    version         1

One canonical JSON encoding (sorted keys, no spaces) and a line end. A card that lies changes no
verdict about the weights: public wires that are not the circuit's do not verify. It could only show
another name or sample limit, and `AccuracyCircuit.digest` compared with the key's finds that out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kernels.machine import count_memory
from prover.accuracy import AccuracyCircuit, compile_accuracy
from prover.errors import ArchitectureInvalid, FormatError, KeyMismatch
from prover.keyfile import VERIFYING_NAME, load_verifying_key
from prover.keys import DIGEST_BYTES, KeyOrigin, VerifyingKey
from prover.model import Architecture, canonical_json
from prover.public_inputs import PublicLayout
from prover.sizes import require_circuit

CARD_NAME = "circuit.json"
VERSION = 1
MAX_CARD_BYTES = 1 << 17
_FIELDS = {"architecture", "circuit_digest", "n_samples", "origin", "version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCard:
    """What a key is for."""

    architecture: Architecture
    n_samples: int
    circuit_digest: bytes
    origin: KeyOrigin

    @property
    def layout(self) -> PublicLayout:
        """Labels and shapes of the public wires."""
        return PublicLayout(self.architecture, self.n_samples)

    def encode(self) -> bytes:
        value = {
            "architecture": self.architecture.to_manifest(),
            "circuit_digest": self.circuit_digest.hex(),
            "n_samples": self.n_samples,
            "origin": self.origin.value,
            "version": VERSION,
        }
        return canonical_json(value) + b"\n"

    @classmethod
    def decode(cls, raw: bytes, *, where: str = CARD_NAME) -> KeyCard:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        try:
            value = json.loads(raw.decode("ascii"))
            if not isinstance(value, dict) or set(value) != _FIELDS:
                raise ValueError("other fields")
            if not isinstance(value["n_samples"], int) or value["version"] != VERSION:
                raise ValueError("another version")
            card = cls(
                architecture=Architecture.from_manifest(value["architecture"]),
                n_samples=value["n_samples"],
                circuit_digest=bytes.fromhex(value["circuit_digest"]),
                origin=KeyOrigin(value["origin"]),
            )
            if card.encode() != raw or len(card.circuit_digest) != DIGEST_BYTES:
                raise ValueError("not canonical")
            require_circuit(card.architecture, card.n_samples)  # one that a key can be of
        except (ArchitectureInvalid, ValueError, TypeError, RecursionError):
            raise FormatError(
                f"it is no card of version {VERSION}",
                where=where,
                next_step="fetch the key again, or run the setup again",
            ) from None
        return card


def load_card(directory: Path, key: VerifyingKey) -> KeyCard:
    """The card of a key folder. Raises FormatError, KeyMismatch for a card of another key, OSError.

    holds : sizes of the card's public layout are the key's, so verification cannot fail by them
    """
    path = directory / CARD_NAME
    require_part(path)
    with path.open("rb") as stream:
        card = KeyCard.decode(stream.read(MAX_CARD_BYTES + 1), where=str(path))
    sizes = (card.layout.n_public, len(card.layout.challenges))
    if (card.circuit_digest, card.origin) != (key.circuit_digest, key.origin) or sizes != (
        key.n_public,
        key.n_challenges,
    ):
        raise KeyMismatch(f"{path} is the card of another key than {VERIFYING_NAME}")
    return card


def require_part(path: Path) -> None:
    """FormatError when a file of a key folder is not there."""
    if not path.is_file():
        raise FormatError(
            "this part of the key is not there",
            where=str(path),
            next_step="give the folder of a key, fetch the whole key, or run `zkpot setup`",
        )


def load_verifying_half(
    directory: Path, *, require_ceremony: bool = False
) -> tuple[VerifyingKey, KeyCard]:
    """All that a verifier reads of a key folder; the proving half is not opened.

    Raises FormatError, KeyMismatch, CeremonyRequired, OSError.
    """
    require_part(directory / VERIFYING_NAME)
    key = load_verifying_key(directory, require_ceremony=require_ceremony)
    return key, load_card(directory, key)


def compile_for_key(card: KeyCard, key: VerifyingKey) -> AccuracyCircuit:
    """The circuit that the card describes; KeyMismatch when the key was made for another.

    Raises CircuitTooLarge, before anything is allocated, for one that this machine cannot hold.
    """
    require_circuit(card.architecture, card.n_samples, max_bytes=count_memory())
    accuracy = compile_accuracy(card.architecture, card.n_samples)
    if accuracy.digest != key.circuit_digest:
        raise KeyMismatch(
            f"the key was made for another circuit than {card.architecture.name} "
            f"on {card.n_samples} samples"
        )
    return accuracy
