"""The first keys of ceremonies, as commands make them: from rows, a card and powers of tau."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from prover.ceremony.own.record import Head
from prover.keys.proving_file import list_file

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.ceremony.own.first import FirstKey
    from prover.circuit.r1cs import R1CS
    from prover.keys.card import Card
    from prover.progress import StageProgress


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
