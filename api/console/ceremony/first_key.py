"""The first key of a ceremony, as commands make it: from a circuit's card and powers of tau."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prover.ceremony.own.record import Head
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.norm.circuit import compile_norm
from prover.errors import KeyMismatch
from prover.keys.card import Card, KeyCard, UpdateCard
from prover.keys.proving_file import list_file

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.ceremony.own.first import FirstKey
    from prover.circuit.r1cs import R1CS
    from prover.model.network import Architecture
    from prover.progress import StageProgress


def choose_card(model: str, samples: int | None, norm: str | None) -> tuple[Card, R1CS]:
    """The card and rows of the circuit that is asked for; errors as `find_architecture` has."""
    from api.console.model_files import find_architecture, require_norm_plan
    from api.console.refusals import meaning
    from prover.circuit.norm.circuit import compile_plan
    from prover.circuit.sizes import require_circuit
    from prover.errors import ArchitectureInvalid
    from prover.plan import USUAL_SAMPLES

    if norm is not None:
        if samples is not None:
            raise typer.BadParameter("give --samples or --norm, not both")
        plan = compile_plan(require_norm_plan(model, norm))
        return UpdateCard.of(plan), plan.r1cs
    architecture: Architecture = find_architecture(model)
    n_samples = samples or USUAL_SAMPLES
    with meaning("--samples", ArchitectureInvalid):
        require_circuit(architecture, n_samples)
    circuit = compile_accuracy(architecture, n_samples)
    return KeyCard.of(circuit), circuit.r1cs


def compile_card(card: Card) -> R1CS:
    """The rows of a card's circuit. Raises KeyMismatch for a card that names another circuit."""
    if isinstance(card, UpdateCard):
        norm = compile_norm(card.architecture, card.bounds)
        digest, r1cs = norm.digest, norm.r1cs
    else:
        assert isinstance(card, KeyCard)
        accuracy = compile_accuracy(card.architecture, card.n_samples)
        digest, r1cs = accuracy.digest, accuracy.r1cs
    if digest != card.circuit_digest:
        raise KeyMismatch("the card names another circuit than the one that it describes")
    return r1cs


def make_first_key(
    r1cs: R1CS,
    card: Card,
    ptau: Path,
    device: Backend,
    progress: StageProgress,
    *,
    exponent_limit: int | None = None,
) -> tuple[Head, FirstKey]:
    """The first key and the head of its transcript, from powers that are tested before.

    exponent_limit : None, or of beacons in the powers' history, which is then verified, too
    """
    import secrets

    from prover.ceremony.history import require_history
    from prover.ceremony.own.first import make_first
    from prover.ceremony.phase1 import require_powers
    from prover.circuit.r1cs import choose_power
    from prover.formats.ptau import read_powers

    lg_n = choose_power(r1cs.n_rows).bit_length() - 1
    powers = read_powers(ptau, lg_n, doubled=True)
    prepared = require_powers(powers, device, secrets.token_bytes, progress)
    if exponent_limit is not None:
        require_history(ptau, powers, device, exponent_limit=exponent_limit, progress=progress)
    first = make_first(r1cs, powers, prepared, device, progress)
    _, n_challenges = card.public_sizes
    head = Head(
        circuit_digest=card.circuit_digest,
        first_digest=sha256_of(first),
        n_challenges=n_challenges,
        n_linked=len(first.counts.linked),
        alpha=powers.alpha_1[:1],
        public=first.public,
        tau=powers.tau_2[1:2],
        beta=powers.beta_2,
    )
    return head, first


def list_first(first: FirstKey) -> Iterator[memoryview]:
    """The bytes of the first key's file."""
    return list_file(first.counts, first.list_parts())


def sha256_of(first: FirstKey) -> bytes:
    """The sha256 of that file."""
    digest = sha256()
    for chunk in list_first(first):
        digest.update(chunk)
    return digest.digest()
