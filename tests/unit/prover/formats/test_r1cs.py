"""`.r1cs` and `.wtns`: what circom wrote, back byte for byte; every inconsistency refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend, get_backend
from kernels.bn254 import R
from prover.errors import FormatError
from prover.formats.coefficients import build_matrix, list_rows, list_values
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns, write_wtns
from tests.support.foreign import (
    CIRCUITS,
    encode_rows,
    patched,
    put_together,
    replaced,
    take_apart,
    vector,
)

NONE = bytes(4)  # a count of custom gates
LONG = 12345678901234567890123456789012345678901234567890123456789012345678901234567


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("reference")


def row_entries(m: SparseMatrix, row: int, backend: Backend) -> dict[int, int]:
    """{wire: coefficient} of one row."""
    values = list_values(m, backend).to_ints()
    span = range(int(m.indptr[row]), int(m.indptr[row + 1]))
    return {int(m.cols[i]): values[i] for i in span}


def satisfied(circuit: str, witness: FrArray, backend: Backend) -> bool:
    r1cs = read_r1cs(vector(circuit, ".r1cs"), backend)
    z = backend.to_mont(witness)
    a, b, c = (backend.matvec(m, z) for m in (r1cs.a, r1cs.b, r1cs.c))
    return backend.mul(a, b).equals(c)


def test_sizes_are_those_circom_printed(backend: Backend) -> None:
    mixed = read_r1cs(vector("mixed", ".r1cs"), backend)
    assert (mixed.n_rows, mixed.n_wires, mixed.n_public, mixed.domain) == (37, 41, 5, 64)
    small = read_r1cs(vector("multiplier", ".r1cs"), backend)
    assert (small.n_rows, small.n_wires, small.n_public) == (1, 4, 1)


def test_the_multiplier_is_one_product(backend: Backend) -> None:
    r1cs = read_r1cs(vector("multiplier", ".r1cs"), backend)
    a, b, c = (row_entries(m, 0, backend) for m in (r1cs.a, r1cs.b, r1cs.c))
    assert {next(iter(a)), next(iter(b))} == {2, 3}  # wires: 1, c, a, b
    (x,), (y,), (z,) = a.values(), b.values(), c.values()
    assert list(c) == [1]
    assert (x * y - z) % R == 0


def test_coefficients_are_short_where_they_can_be(backend: Backend) -> None:
    r1cs = read_r1cs(vector("mixed", ".r1cs"), backend)
    assert len(r1cs.a.wide) == 0
    assert r1cs.a.coeffs.min() < 0
    assert len(r1cs.b.wide) == 9
    assert set(r1cs.b.wide.to_ints()) <= {LONG, R - LONG}
    assert row_entries(r1cs.b, 0, backend)[0] == 7


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_round_trip(circuit: str, backend: Backend, tmp_path: Path) -> None:
    _, sections = take_apart(vector(circuit, ".r1cs").read_bytes())
    assert encode_rows(read_r1cs(vector(circuit, ".r1cs"), backend), backend) == dict(sections)[2]
    write_wtns(tmp_path / "x.wtns", read_wtns(vector(circuit, ".wtns")))
    assert (tmp_path / "x.wtns").read_bytes() == vector(circuit, ".wtns").read_bytes()


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_the_witness_solves_the_circuit(circuit: str, backend: Backend) -> None:
    witness = read_wtns(vector(circuit, ".wtns"))
    assert satisfied(circuit, witness, backend)
    values = witness.to_ints()
    values[1] += 1
    assert not satisfied(circuit, FrArray.from_ints(values), backend)


def test_matrices_from_entries_in_any_order(backend: Backend) -> None:
    edges = [0, 1, R - 1, SparseMatrix.WIDE - 1, SparseMatrix.WIDE, R - SparseMatrix.WIDE, LONG]
    rows = np.array([3, 0, 3, 1, 1, 0, 3], dtype=np.uint32)
    cols = np.array([0, 4, 2, 1, 1, 0, 4], dtype=np.uint32)
    m = build_matrix(rows, cols, FrArray.from_ints(edges), n_rows=5, n_cols=5, backend=backend)
    assert m.indptr.tolist() == [0, 2, 4, 4, 7, 7]
    assert list_rows(m).tolist() == sorted(rows.tolist())
    order = np.argsort(rows, kind="stable")
    assert list_values(m, backend).to_ints() == [edges[i] for i in order]
    assert len(m.wide) == 3
    vector_in = [2, 3, 5, 7, 11]
    expected = [0] * 5
    for r, c, v in zip(rows.tolist(), cols.tolist(), edges, strict=True):
        expected[r] += v * vector_in[c]
    product = backend.matvec(m, FrMont.from_ints(vector_in))
    assert product.to_ints() == [v % R for v in expected]


HEADER = 0  # offsets in section 1
N_WIRES, N_OUT, N_ROWS = 36, 40, 60


@pytest.mark.parametrize(
    ("section", "offset", "new", "what"),
    [
        (1, HEADER, struct.pack("<I", 31), "the field is not"),
        (1, HEADER + 4, b"\0", "the field is not"),
        (1, N_WIRES, struct.pack("<I", 5), "too few for the inputs"),
        (1, N_WIRES, struct.pack("<I", 42), "42 wires take 336"),
        (1, N_OUT, struct.pack("<I", 0xFFFFFFFF), "too few for the inputs"),
        (1, N_ROWS, struct.pack("<I", 36), "do not fill"),
        (1, N_ROWS, struct.pack("<I", 38), "do not fill"),
        (1, N_ROWS, struct.pack("<I", 0xFFFFFFFF), "too few for 4294967295 rows"),
        (2, 0, struct.pack("<I", 0xFFFFFFFF), "do not fill"),
        (2, 0, struct.pack("<I", 1), "do not fill|wire [0-9]+ of 41"),
        (2, 4, struct.pack("<I", 41), "wire 41 of 41"),
        (2, 8, R.to_bytes(32, "little"), "element 0 is not below"),
    ],
)
def test_refuses_inconsistent_circuits(
    section: int, offset: int, new: bytes, what: str, backend: Backend, tmp_path: Path
) -> None:
    raw = patched(vector("mixed", ".r1cs").read_bytes(), section, offset, new)
    (tmp_path / "x.r1cs").write_bytes(raw)
    with pytest.raises(FormatError, match=what):
        read_r1cs(tmp_path / "x.r1cs", backend)


@pytest.mark.parametrize("section", [1, 2, 3])
@pytest.mark.parametrize("change", [None, b"", b"\0" * 7])
def test_refuses_missing_and_short_sections(
    section: int, change: bytes | None, backend: Backend, tmp_path: Path
) -> None:
    raw = replaced(vector("mixed", ".r1cs").read_bytes(), section, change)
    (tmp_path / "x.r1cs").write_bytes(raw)
    with pytest.raises(FormatError):
        read_r1cs(tmp_path / "x.r1cs", backend)


def with_gates(gates: bytes | None, uses: bytes | None) -> bytes:
    """The multiplier with sections 4 and 5."""
    head, sections = take_apart(vector("multiplier", ".r1cs").read_bytes())
    added = [(kind, body) for kind, body in ((4, gates), (5, uses)) if body is not None]
    return put_together(head, [*sections, *added])


@pytest.mark.parametrize("gates", [None, b"", NONE])
@pytest.mark.parametrize("uses", [None, b"", NONE])
def test_empty_sections_of_custom_gates_say_nothing(
    gates: bytes | None, uses: bytes | None, backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "x.r1cs").write_bytes(with_gates(gates, uses))
    found = read_r1cs(tmp_path / "x.r1cs", backend)
    assert (found.n_rows, found.n_wires, found.n_public) == (1, 4, 1)
    for row in (found.a, found.b, found.c):
        assert row.nnz == 1


@pytest.mark.parametrize(
    ("gates", "uses", "what"),
    [
        (struct.pack("<I", 2) + b"Cmul\0" + NONE, NONE, "4: .* 2 custom gates, .* named Cmul,"),
        (struct.pack("<I", 1) + b"C\n\0" + NONE, NONE, "4: the circuit has 1 custom gates, and"),
        (struct.pack("<I", 1), NONE, "section 4: the circuit has 1 custom gates, and Groth16"),
        (NONE, struct.pack("<I", 7), "section 5: the circuit has 7 uses of custom gates"),
        (None, struct.pack("<I", 7), "section 5: the circuit has 7 uses of custom gates"),
        (NONE + b"\0", NONE, "section 4: 1 bytes follow a count of 0"),
        (b"\0\0", NONE, "section 4: 2 bytes are too few"),
    ],
)
def test_refuses_custom_gates(
    gates: bytes | None, uses: bytes, what: str, backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "x.r1cs").write_bytes(with_gates(gates, uses))
    with pytest.raises(FormatError, match=what):
        read_r1cs(tmp_path / "x.r1cs", backend)


@pytest.mark.parametrize(
    ("section", "offset", "new", "what"),
    [
        (1, 0, struct.pack("<I", 64), "the field is not"),
        (1, 4, b"\0", "the field is not"),
        (1, 36, struct.pack("<I", 40), "40 wires take 1280"),
        (1, 36, struct.pack("<I", 0xFFFFFFFF), "4294967295 wires take"),
        (2, 0, b"\2", "not the constant 1"),
        (2, 32 * 7, R.to_bytes(32, "little"), "element 7 is not below"),
        (2, -32, b"\xff" * 32, "element 40 is not below"),
    ],
)
def test_refuses_bad_witnesses(
    section: int, offset: int, new: bytes, what: str, tmp_path: Path
) -> None:
    raw = patched(vector("mixed", ".wtns").read_bytes(), section, offset, new)
    (tmp_path / "x.wtns").write_bytes(raw)
    with pytest.raises(FormatError, match=what):
        read_wtns(tmp_path / "x.wtns")


def test_refuses_a_witness_of_no_wires(tmp_path: Path) -> None:
    write_wtns(tmp_path / "x.wtns", FrArray.zeros(0))
    with pytest.raises(FormatError, match="not the constant 1"):
        read_wtns(tmp_path / "x.wtns")


def test_errors_carry_no_value(tmp_path: Path) -> None:
    secret = R + 987654321987654321
    raw = patched(vector("mixed", ".wtns").read_bytes(), 2, 64, secret.to_bytes(32, "little"))
    (tmp_path / "x.wtns").write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        read_wtns(tmp_path / "x.wtns")
    shown = str(caught.value) + repr(caught.value.__dict__)
    assert str(secret) not in shown
    assert f"{secret:x}" not in shown
