"""The first key of a circuit is, byte by byte, that of snarkjs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kernels.array import FrArray, FrMont, G1Array
from kernels.backend import get_backend
from kernels.bn254 import G1, R, root_of_unity
from prover.ceremony.initial import make_initial
from prover.ceremony.phase1 import require_powers
from prover.foreign import prove_foreign
from prover.formats.json_io import encode_proof
from prover.formats.key_sections import SETUP_ORDER, write_sections
from prover.formats.ptau import read_powers
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns
from prover.formats.zkey import Zkey, read_zkey
from prover.groth16.setup import append_public_rows
from tests.support.ceremonies import begin
from tests.support.foreign import CIRCUITS, take_apart, vector
from tests.support.known_powers import TAU, write_powers
from tests.support.tiny_circuits import seeded

# SHA-256 of what `snarkjs groth16 setup mixed.r1cs` makes of the prepared powers.
MIXED = "bb80fefc0f039e2fe622c8242d954e327512ce49c61e0d1b63f6ec3ac48ff11e"


def test_of_powers_that_are_prepared(tmp_path: Path) -> None:
    path = tmp_path / "k.zkey"
    write_sections(path, begin("multiplier").initial, SETUP_ORDER)
    theirs = vector("multiplier", "_0.zkey").read_bytes()
    for (section, ours), (number, body) in zip(
        take_apart(path.read_bytes())[1], take_apart(theirs)[1], strict=True
    ):
        assert (section, ours) == (number, body)
    assert path.read_bytes() == theirs


def test_of_powers_that_are_not(tmp_path: Path) -> None:
    path = tmp_path / "k.zkey"
    write_sections(path, begin("mixed").initial, SETUP_ORDER)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MIXED


@pytest.mark.parametrize(("circuit", "counts"), [("multiplier", (4, 1, 4)), ("mixed", (41, 5, 64))])
def test_counts(circuit: str, counts: tuple[int, int, int]) -> None:
    assert begin(circuit).initial.counts == counts


# -- powers for just the rows ----------------------------------------------------------------------


def make_key(power: int, folder: Path) -> Zkey:
    """A first key of 64 rows, of powers of a tau that everybody knows."""
    backend, r1cs = get_backend("cpu"), read_r1cs(vector("mixed", ".r1cs"), get_backend("cpu"))
    powers = read_powers(write_powers(folder / f"{power}.ptau", power), 6)
    prepared = require_powers(powers, backend, seeded(1))
    path = folder / f"{power}.zkey"
    write_sections(path, make_initial(r1cs, powers, prepared, backend), SETUP_ORDER)
    return read_zkey(path, backend)


def test_what_they_lack_changes_no_proof(tmp_path: Path) -> None:
    backend, witness = get_backend("cpu"), read_wtns(vector("mixed", ".wtns"))
    exact, larger = (make_key(power, tmp_path) for power in (6, 7))
    assert not exact.key.h.equals(larger.key.h)
    assert exact.key.c.equals(larger.key.c)
    proofs = [
        prove_foreign(key, witness, random_bytes=seeded(2), backend=backend)
        for key in (exact, larger)
    ]
    assert encode_proof(proofs[0]) == encode_proof(proofs[1])


def test_what_they_give_a_forger_is_off_in_every_row(tmp_path: Path) -> None:
    """H of just 2n - 1 powers gives tau^(n-1), which is zero in no row; one row must be zero."""
    backend, n, v = get_backend("cpu"), 64, root_of_unity(7)
    q = FrMont.from_ints([-2 * pow(v, (2 * i + 1) * (n - 1), R) % R for i in range(n)])
    scalars = backend.from_mont(q)  # (X^n - 1) X^(n-1) on the odd points, where X^n is -1
    one = G1Array.from_ints([G1])
    for power, expected in ((6, -pow(TAU, n - 1, R)), (7, (pow(TAU, n, R) - 1) * TAU ** (n - 1))):
        key = make_key(power, tmp_path).key
        wanted = backend.fixed_base_g1(FrArray.from_ints([expected % R]), one)
        assert backend.msm_g1(scalars, key.h).equals(wanted)
    for circuit in CIRCUITS:
        r1cs = read_r1cs(vector(circuit, ".r1cs"), backend)
        padded = append_public_rows(r1cs)
        entries = [m.indptr[r1cs.n_rows : r1cs.n_rows + 2] for m in (padded.a, padded.b, padded.c)]
        assert [int(end - start) for start, end in entries] == [1, 0, 0]
        assert padded.a.cols[entries[0][0]] == 0  # the constant
