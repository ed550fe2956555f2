"""`.zkey`: points as they are, coefficients without their Montgomery factors, nothing trusted."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernels.array import G1Array, G2Array, SparseMatrix, words_from_ints
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, MONT_BITS, P, R
from prover.errors import FormatError
from prover.formats.r1cs import read_r1cs
from prover.formats.zkey import Zkey, read_zkey, write_zkey
from prover.groth16.prove import prepare
from prover.keys.proving_file import compute_proving_digest
from tests.support.foreign import (
    CIRCUITS,
    outside_g2,
    patched,
    put_together,
    replaced,
    take_apart,
    vector,
)


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("reference")


@pytest.fixture(scope="module")
def keys(backend: Backend) -> dict[str, Zkey]:
    return {c: read_zkey(vector(c, ".zkey"), backend) for c in CIRCUITS}


def mont_bytes(*values: int) -> bytes:
    return words_from_ints((v << MONT_BITS) % P for v in values).tobytes()


def assert_same(a: SparseMatrix, b: SparseMatrix, n_rows: int) -> None:
    """The first rows agree, entry by entry."""
    assert a.indptr[: n_rows + 1].tolist() == b.indptr[: n_rows + 1].tolist()
    nnz = int(a.indptr[n_rows])
    assert a.cols[:nnz].tolist() == b.cols[:nnz].tolist()
    assert a.coeffs[:nnz].tolist() == b.coeffs[:nnz].tolist()
    assert a.wide.equals(b.wide)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_matrices_are_those_of_the_circuit(
    circuit: str, keys: dict[str, Zkey], backend: Backend
) -> None:
    key, found = keys[circuit].key, keys[circuit].circuit
    r1cs = read_r1cs(vector(circuit, ".r1cs"), backend)
    assert (key.n_wires, key.n_public) == (r1cs.n_wires, r1cs.n_public)
    assert (found.n_wires, found.n_public) == (r1cs.n_wires, r1cs.n_public)
    assert found.n_rows == key.domain
    assert_same(found.a, r1cs.a, r1cs.n_rows)
    assert_same(found.b, r1cs.b, r1cs.n_rows)
    n_public_rows = 1 + r1cs.n_public
    assert found.a.cols[r1cs.a.nnz :].tolist() == list(range(n_public_rows))
    assert found.a.coeffs[r1cs.a.nnz :].tolist() == [1] * n_public_rows
    assert found.b.nnz == r1cs.b.nnz


def test_wires_without_entries_have_no_base(keys: dict[str, Zkey], backend: Backend) -> None:
    r1cs = read_r1cs(vector("mixed", ".r1cs"), backend)
    key = keys["mixed"].key
    occurs = np.bincount(r1cs.b.cols, minlength=r1cs.n_wires) > 0
    assert key.b_wires.tolist() == np.flatnonzero(occurs).tolist()
    for bases in (key.b1, key.b2):
        assert isinstance(bases, G1Array | G2Array)
        assert len(bases) == occurs.sum() + 2
        assert bases.data.any(axis=1).all()
    assert not occurs.all()


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_round_trip(circuit: str, keys: dict[str, Zkey], backend: Backend, tmp_path: Path) -> None:
    write_zkey(tmp_path / "x.zkey", keys[circuit], backend)
    head, sections = take_apart((tmp_path / "x.zkey").read_bytes())
    original_head, original = take_apart(vector(circuit, ".zkey").read_bytes())
    assert head == original_head
    assert [kind for kind, _ in sections] == list(range(1, 11))
    for kind, body in original:
        if kind != 4:
            assert dict(sections)[kind] == body
    # snarkjs lists the entries row by row too, with A and B of one row in turn.
    entries, original_entries = (
        sorted(body[4 + 44 * i :][:44] for i in range((len(body) - 4) // 44))
        for body in (dict(sections)[4], dict(original)[4])
    )
    assert entries == original_entries


def test_a_wire_may_have_a_base_in_one_group_only(backend: Backend, tmp_path: Path) -> None:
    """No key of snarkjs is so; it is read and written as it is, and asks for no proof to hold."""
    raw = vector("multiplier", ".zkey").read_bytes()
    body = dict(take_apart(raw)[1])[6]
    wire = next(i for i in range(len(body) // 64) if any(body[64 * i :][:64]))
    raw = patched(raw, 6, 64 * wire, bytes(64))
    (tmp_path / "x.zkey").write_bytes(raw)
    read = read_zkey(tmp_path / "x.zkey", backend)
    assert wire in read.key.b_wires
    write_zkey(tmp_path / "y.zkey", read, backend)
    sections = dict(take_apart((tmp_path / "y.zkey").read_bytes())[1])
    assert [sections[i] for i in (6, 7)] == [dict(take_apart(raw)[1])[i] for i in (6, 7)]


def test_a_prepared_key_is_not_written(
    keys: dict[str, Zkey], backend: Backend, tmp_path: Path
) -> None:
    key = keys["mixed"]
    prepared = replace(key, key=prepare(key.key, backend))
    with pytest.raises(TypeError, match="prepared for a device"):
        write_zkey(tmp_path / "x.zkey", prepared, backend)


def test_a_foreign_key_is_no_proving_half_of_ours(keys: dict[str, Zkey]) -> None:
    """The file does not say which quotient a key has: ours only."""
    with pytest.raises(TypeError, match="whole quotient"):
        compute_proving_digest(keys["mixed"].key)


def test_a_key_without_contributions_says_so(
    keys: dict[str, Zkey], backend: Backend, tmp_path: Path
) -> None:
    key = replace(keys["multiplier"], contributions=b"")
    write_zkey(tmp_path / "x.zkey", key, backend)
    read = read_zkey(tmp_path / "x.zkey", backend)
    assert len(read.contributions) == 68
    assert read.contributions[64:] == bytes(4)
    assert isinstance(key.key.h, G1Array)
    other = replace(key, key=replace(key.key, h=key.key.h[::-1]))
    write_zkey(tmp_path / "y.zkey", other, backend)
    _, sections = take_apart((tmp_path / "y.zkey").read_bytes())
    assert dict(sections)[10][:64] != read.contributions[:64]
    raw = replaced((tmp_path / "x.zkey").read_bytes(), 10, None)
    (tmp_path / "x.zkey").write_bytes(raw)
    for random_bytes in (None, np.random.default_rng(1).bytes):
        read = read_zkey(tmp_path / "x.zkey", backend, random_bytes=random_bytes)
        assert read.contributions == b""


SIZES = 72  # offset in section 2: n_wires, n_public, domain size
POINTS = 84  # alpha1, beta1, beta2, gamma2, delta1, delta2


@pytest.mark.parametrize(
    ("section", "offset", "new", "what"),
    [
        (1, 0, struct.pack("<I", 2), "protocol 2 is not Groth16"),
        (2, 0, struct.pack("<I", 48), "the curve is not BN254"),
        (2, 4, b"\0", "the curve is not BN254"),
        (2, 36, struct.pack("<I", 31), "the curve is not BN254"),
        (2, 40, b"\0", "the curve is not BN254"),
        (2, SIZES, struct.pack("<I", 5), "5 points take 320"),
        (2, SIZES, struct.pack("<I", 1), "too few for 1 public"),
        (2, SIZES, struct.pack("<I", 0xFFFFFFFF), "4294967295 points take"),
        (2, SIZES + 4, struct.pack("<I", 2), "3 points take 192"),
        (2, SIZES + 4, struct.pack("<I", 0xFFFFFFFF), "too few for"),
        (
            2,
            SIZES,
            struct.pack("<II", 1 << 20, (1 << 20) - 1),
            "public wires are more than 1048574",
        ),
        (2, SIZES + 8, struct.pack("<I", 0), "no power of two"),
        (2, SIZES + 8, struct.pack("<I", 1), "no power of two"),
        (2, SIZES + 8, struct.pack("<I", 3), "no power of two"),
        (2, SIZES + 8, struct.pack("<I", 8), "8 points take 512"),
        (2, SIZES + 8, struct.pack("<I", 1 << 28), "no power of two"),
        (2, POINTS, bytes(64), "point 0 is infinity"),
        (2, POINTS + 128, bytes(128), "point 0 is infinity"),
        (2, POINTS + 256, bytes(128), "point 1 is infinity"),
        (2, POINTS + 384, bytes(64), "point 2 is infinity"),
        (2, POINTS + 448, bytes(128), "point 2 is infinity"),
        (2, POINTS, mont_bytes(1, 3), "point 0 is not on the curve"),
        (4, 0, struct.pack("<I", 5), "where the count says 5"),
        (4, 0, struct.pack("<I", 0xFFFFFFFF), "where the count says"),
        (4, 4, struct.pack("<I", 2), "matrix 2 is not below 2"),
        (4, 8, struct.pack("<I", 4), "row 4 is not below 4"),
        (4, 12, struct.pack("<I", 4), "wire 4 is not below 4"),
        (4, 16, R.to_bytes(32, "little"), "element 0 is not below"),
        (10, 64, struct.pack("<I", 2), "too short for 2 contributions"),
        (10, 64, struct.pack("<I", 0xFFFFFFFF), "too short for"),
    ],
)
def test_refuses_inconsistent_keys(
    section: int, offset: int, new: bytes, what: str, backend: Backend, tmp_path: Path
) -> None:
    raw = patched(vector("multiplier", ".zkey").read_bytes(), section, offset, new)
    (tmp_path / "x.zkey").write_bytes(raw)
    with pytest.raises(FormatError, match=what):
        read_zkey(tmp_path / "x.zkey", backend, check_points=False)


def off_curve(n_words: int) -> bytes:
    return mont_bytes(*range(1, n_words // 4)) + mont_bytes(5)


def alias(raw: bytes) -> bytes:
    """The first coordinate plus p: the same point, in words that are not canonical."""
    return (int.from_bytes(raw[:32], "little") + P).to_bytes(32, "little") + raw[32:]


@pytest.mark.parametrize("section", [3, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("kind", ["off the curve", "not canonical"])
def test_refuses_points_elsewhere(
    section: int, kind: str, keys: dict[str, Zkey], backend: Backend, tmp_path: Path
) -> None:
    raw = vector("multiplier", ".zkey").read_bytes()
    words = 16 if section == 7 else 8
    body = dict(take_apart(raw)[1])[section]
    point = body[-8 * words :]
    if not any(point):  # a wire in no row: the one before has a base
        body = body[: -8 * words]
        point = body[-8 * words :]
    assert any(point)
    new = off_curve(words) if kind == "off the curve" else alias(point)
    index = len(body) // (8 * words) - 1
    bad = patched(raw, section, 8 * words * index, new)
    (tmp_path / "x.zkey").write_bytes(bad)
    with pytest.raises(FormatError, match=f"section {section}: point {index} is not"):
        read_zkey(tmp_path / "x.zkey", backend)
    if section != 3:
        read_zkey(tmp_path / "x.zkey", backend, check_points=False)


@pytest.mark.parametrize(("section", "offset"), [(2, POINTS + 128), (2, POINTS + 448), (7, 0)])
def test_refuses_points_of_another_order(
    section: int, offset: int, backend: Backend, tmp_path: Path
) -> None:
    (x0, x1), (y0, y1) = outside_g2()
    raw = patched(
        vector("multiplier", ".zkey").read_bytes(), section, offset, mont_bytes(x0, x1, y0, y1)
    )
    (tmp_path / "x.zkey").write_bytes(raw)
    for random_bytes in (None, np.random.default_rng(1).bytes):
        with pytest.raises(FormatError, match="is not in the group G2"):
            read_zkey(tmp_path / "x.zkey", backend, random_bytes=random_bytes)


@pytest.mark.parametrize("section", range(1, 10))
@pytest.mark.parametrize(
    "change",
    [lambda body: None, lambda body: b"", lambda body: body[:-1], lambda body: body + b"x"],
)
def test_refuses_missing_and_short_sections(
    section: int, change: Callable[[bytes], bytes | None], backend: Backend, tmp_path: Path
) -> None:
    raw = vector("multiplier", ".zkey").read_bytes()
    new = change(dict(take_apart(raw)[1])[section])
    (tmp_path / "x.zkey").write_bytes(replaced(raw, section, new))
    with pytest.raises(FormatError):
        read_zkey(tmp_path / "x.zkey", backend, check_points=False)


@pytest.mark.parametrize("body", [b"", bytes(67), bytes(64) + struct.pack("<I", 1) + bytes(391)])
def test_refuses_short_contributions(body: bytes, backend: Backend, tmp_path: Path) -> None:
    raw = replaced(vector("multiplier", ".zkey").read_bytes(), 10, body)
    (tmp_path / "x.zkey").write_bytes(raw)
    with pytest.raises(FormatError, match="section 10: too short"):
        read_zkey(tmp_path / "x.zkey", backend, check_points=False)


def test_sections_may_come_in_any_order(
    keys: dict[str, Zkey], backend: Backend, tmp_path: Path
) -> None:
    head, sections = take_apart(vector("multiplier", ".zkey").read_bytes())
    extra = [(99, b"unknown sections are skipped")]
    (tmp_path / "x.zkey").write_bytes(put_together(head, extra + sections[::-1]))
    read, expected = read_zkey(tmp_path / "x.zkey", backend).key, keys["multiplier"].key
    assert isinstance(read.h, G1Array)
    assert isinstance(read.b2, G2Array)
    assert read.h.equals(expected.h)  # type: ignore[arg-type]
    assert read.b2.equals(expected.b2)  # type: ignore[arg-type]
    assert read.verifying.public.equals(expected.verifying.public)
    assert read.h.to_ints()[0] not in (None, G1)
