"""Sizes of keys: what is computed from counts is what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.sizes import compute_sizes
from prover.groth16.setup import setup_accuracy
from prover.keys.card import KeyCard
from prover.keys.folder import PROVING_NAME, VERIFYING_NAME, save_key
from prover.keys.halves import list_bases
from prover.keys.sizes import count_key_bytes
from prover.model.network import Architecture
from tests.support.tiny_circuits import seeded


@pytest.mark.parametrize(("sizes", "n_samples"), [([4, 3, 2], 4), ([9, 2], 2), ([20, 30, 5, 3], 7)])
def test_bytes_of_a_key_are_known_before_it_is_made(
    tmp_path: Path, sizes: list[int], n_samples: int
) -> None:
    architecture = Architecture.mlp(sizes)
    accuracy = compile_accuracy(architecture, n_samples)
    key = setup_accuracy(accuracy, random_bytes=seeded(1), backend=get_backend("cpu"))
    save_key(key, tmp_path, KeyCard.of(accuracy))
    expected = count_key_bytes(compute_sizes(architecture, n_samples))
    assert expected.proving == (tmp_path / PROVING_NAME).stat().st_size
    assert expected.verifying == (tmp_path / VERIFYING_NAME).stat().st_size
    assert expected.bases == sum(bases.data.nbytes for bases in list_bases(key))
