"""The first key of a ceremony, as commands make it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.formats.key_sections import KeySections
    from prover.progress import StageProgress


def make_first_key(
    r1cs: Path,
    ptau: Path,
    device: Backend,
    progress: StageProgress,
    *,
    exponent_limit: int | None = None,
) -> KeySections:
    """The first key of a circuit, from powers that are tested before.

    exponent_limit : None, or of beacons in the powers' history, which is then verified, too
    """
    import secrets

    from prover.ceremony.history import require_history
    from prover.ceremony.initial import count_rows, make_initial
    from prover.ceremony.phase1 import require_powers
    from prover.formats.ptau import read_powers
    from prover.formats.r1cs import read_r1cs

    circuit = read_r1cs(r1cs, device)
    powers = read_powers(ptau, count_rows(circuit))
    prepared = require_powers(powers, device, secrets.token_bytes, progress)
    if exponent_limit is not None:
        require_history(ptau, powers, device, exponent_limit=exponent_limit, progress=progress)
    return make_initial(circuit, powers, prepared, device, progress)


def describe(key: KeySections) -> dict[str, Any]:
    """What a key says of itself, in JSON types."""
    wires, n_public, domain = key.counts
    return {
        "wires": wires,
        "n_public": n_public,
        "domain": domain,
        "circuit_hash": key.ceremony.circuit_hash.hex(),
    }
