"""Contracts of keys: of plain Groth16 by their JSON, of ours by their folders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from api.console.described import find_kind
from prover.contracts.verifier import count_gas, write_training_contract
from prover.errors import FormatError
from prover.formats.json_io import read_vkey
from prover.formats.solidity import GAS, write_contract
from prover.keys.folder import load_half
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME


class Written(NamedTuple):
    """A contract's source, and what it says of itself.

    gas : of the precompiles, for one proof
    """

    source: str
    n_public: int
    gas: int


def write_for(path: Path, name: str | None) -> Written:
    """The contract of a key. Raises FormatError, KeyMismatch, OSError.

    path : verification key of plain Groth16, JSON, or the folder of a key of ours
    name : of the contract; None: that of its kind
    """
    if path.is_dir():
        return _write_for_folder(path, name)
    key = read_vkey(path)
    each, every = GAS
    named = {} if name is None else {"name": name}
    return Written(write_contract(key, **named), key.n_public, each + every * key.n_public)


def _write_for_folder(path: Path, name: str | None) -> Written:
    both = [path / part for part in (STEP_NAME, EXPORT_NAME)]
    if all(part.is_dir() for part in both):
        raise FormatError(
            "it has two keys, of steps and of the export",
            where=str(path),
            next_step=f"write a contract for each: {both[0]}, {both[1]}",
        )
    key, card = load_half(path, find_kind(path))
    source = write_training_contract(key, card, name=name)
    return Written(source, key.n_public, count_gas(key))
