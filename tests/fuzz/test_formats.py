"""Any bytes to a reader of foreign files: a value, or a FormatError. Nothing else."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.backend import get_backend
from kernels.bn254 import P, R
from prover.errors import FormatError
from prover.formats.json_io import read_proof, read_public, read_vkey
from prover.formats.key_sections import read_sections
from prover.formats.power_contributions import read_history
from prover.formats.ptau import read_powers
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns, write_wtns
from prover.formats.zkey import read_zkey
from tests.support.foreign import put_together, take_apart, vector
from tests.support.tiny_circuits import seeded

BACKEND = get_backend("reference")

BINARY: dict[str, Callable[[Path], object]] = {
    ".r1cs": lambda path: read_r1cs(path, BACKEND),
    ".wtns": read_wtns,
    ".zkey": lambda path: read_zkey(path, BACKEND, check_points=False),
    "_2.zkey": lambda path: read_sections(path, get_backend("cpu"), seeded(1)),
    ".ptau": lambda path: (read_powers(path, 2), read_history(path)),
}
OPTIONAL = {".zkey": {10}, ".ptau": {12, 13, 14, 15}}
"""Sections that a file may do without."""

TEXT: dict[str, Callable[[Path], object]] = {
    "_vkey.json": read_vkey,
    "_proof.json": read_proof,
    "_public.json": read_public,
}

OUTCOMES = ("read", "refused")

PROPERTY = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)

EDGES = (
    *(struct.pack("<I", v) for v in (0, 1, 2, 3, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
    *(struct.pack("<Q", v) for v in (1 << 32, (1 << 63) - 1, (1 << 64) - 1)),
    *(v.to_bytes(32, "little") for v in (R - 1, R, P - 1, P, (1 << 256) - 1)),
)


def sample(ending: str) -> bytes:
    """A file that is read."""
    return vector("powers_3" if ending == ".ptau" else "multiplier", ending).read_bytes()


def verdict(read: Callable[[Path], object], path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    try:
        read(path)
    except FormatError as error:
        return "refused" if error.where.startswith(path.name) and error.next_step else "unclear"
    return "read"


@pytest.mark.parametrize("ending", [*BINARY, *TEXT])
@PROPERTY
@given(raw=st.binary(max_size=300))
def test_any_bytes(ending: str, raw: bytes, tmp_path: Path) -> None:
    reader = (BINARY | TEXT)[ending]
    assert verdict(reader, tmp_path / "x", raw) == "refused" or ending == "_public.json"


@pytest.mark.parametrize("ending", BINARY)
@PROPERTY
@given(data=st.data())
def test_overwritten_bytes(ending: str, data: st.DataObject, tmp_path: Path) -> None:
    raw = sample(ending)
    new = data.draw(st.one_of(st.sampled_from(EDGES), st.binary(min_size=1, max_size=8)))
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = (raw[:at] + new + raw[at + len(new) :])[: len(raw)]
    assert verdict(BINARY[ending], tmp_path / "x", raw) == "read"
    assert verdict(BINARY[ending], tmp_path / "x", changed) in OUTCOMES


@pytest.mark.parametrize("ending", BINARY)
@PROPERTY
@given(data=st.data())
def test_rearranged_sections(ending: str, data: st.DataObject, tmp_path: Path) -> None:
    """Sections dropped, doubled, swapped, cut and lengthened under a table that is right."""
    head, sections = take_apart(sample(ending))
    bodies = data.draw(st.lists(st.sampled_from(sections), max_size=len(sections) + 2))
    cut = data.draw(st.integers(0, 40))
    tail = data.draw(st.binary(max_size=4))
    if bodies and data.draw(st.booleans()):
        kind, body = bodies[-1]
        bodies[-1] = (kind, body[: len(body) - cut] + tail)
    outcome = verdict(BINARY[ending], tmp_path / "x", put_together(head, bodies))
    assert outcome in OUTCOMES
    needed = {kind for kind, _ in sections} - OPTIONAL.get(ending, set())
    if not needed <= {kind for kind, _ in bodies} or len({k for k, _ in bodies}) < len(bodies):
        assert outcome == "refused"


@PROPERTY
@given(data=st.data())
def test_a_witness_that_is_read_is_canonical(data: st.DataObject, tmp_path: Path) -> None:
    """One value, one encoding: what was read writes the same bytes."""
    raw = vector("multiplier", ".wtns").read_bytes()
    new = data.draw(st.one_of(st.sampled_from(EDGES), st.binary(min_size=32, max_size=32)))
    at = data.draw(st.integers(len(raw) - 128, len(raw) - 4))
    changed = (raw[:at] + new + raw[at + len(new) :])[: len(raw)]
    if verdict(read_wtns, tmp_path / "x", changed) == "read":
        write_wtns(tmp_path / "y", read_wtns(tmp_path / "x"))
        assert (tmp_path / "y").read_bytes() == changed


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 70), 1 << 70),
        st.floats(),
        st.text(max_size=5),
        st.integers(0, 1 << 256).map(str),
        st.sampled_from([str(R), str(P), "0", "1", "01"]),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("ending", TEXT)
@PROPERTY
@given(data=st.data())
def test_changed_members(ending: str, data: st.DataObject, tmp_path: Path) -> None:
    value = json.loads(vector("multiplier", ending).read_text())
    if isinstance(value, dict):
        value[data.draw(st.sampled_from(sorted(value)))] = data.draw(values)
    else:
        value[0] = data.draw(values)
    outcome = verdict(TEXT[ending], tmp_path / "x", json.dumps(value).encode())
    assert outcome in OUTCOMES


@pytest.mark.parametrize("ending", TEXT)
@PROPERTY
@given(data=st.data())
def test_overwritten_text(ending: str, data: st.DataObject, tmp_path: Path) -> None:
    raw = vector("multiplier", ending).read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.binary(max_size=6))
    changed = raw[:at] + new + raw[at + len(new) :]
    assert verdict(TEXT[ending], tmp_path / "x", changed) in OUTCOMES
