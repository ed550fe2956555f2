"""API keys: what a file may hold, who a header is, and what a scope allows."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from api.errors import KeyFileError
from api.http.auth import LOCAL, Caller, KeyRing, Scope, make_key


def write_keys(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


def test_without_a_file_everyone_is_local() -> None:
    ring = KeyRing.load(None)
    assert ring.is_open
    assert ring.identify(None) == LOCAL
    assert all(LOCAL.may(scope) for scope in Scope)


def test_a_key_names_its_caller_and_no_other_does(tmp_path: Path) -> None:
    random = Random(1)
    alice, alice_line = make_key("alice", [Scope.JOBS, Scope.READ], random.randbytes)
    bob, bob_line = make_key("bob", [Scope.VERIFY], random.randbytes)
    assert alice not in alice_line
    ring = KeyRing.load(write_keys(tmp_path / "keys", alice_line, "", bob_line))
    found = ring.identify(f"Bearer {alice}")
    assert found == Caller(name="alice", scopes=frozenset({Scope.JOBS, Scope.READ}))
    other = ring.identify(f"bearer {bob}")
    assert other is not None
    assert other.name == "bob"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic KEY",
        "Bearer KEYx",
        "KEY",
        "Bearer " + 4096 * "a",
        "\udcff",
    ],
)
def test_other_headers_name_nobody(tmp_path: Path, header: str | None) -> None:
    key, line = make_key("alice", [Scope.READ], Random(2).randbytes)
    ring = KeyRing.load(write_keys(tmp_path / "keys", line))
    assert ring.identify(header and header.replace("KEY", key)) is None


def test_every_digest_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those after the one that fits, so the time does not tell which it was."""
    import hmac

    lines = [make_key(name, [Scope.READ], Random(name).randbytes) for name in ("a", "b", "c")]
    ring = KeyRing.load(write_keys(tmp_path / "keys", *(line for _, line in lines)))
    seen: list[bytes] = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        seen.append(a)
        return real(a, b)

    monkeypatch.setattr("api.http.auth.hmac.compare_digest", compare)
    ring.identify(f"Bearer {lines[0][0]}")
    assert len(seen) == 3


def test_scopes() -> None:
    reader = Caller(name="r", scopes=frozenset({Scope.READ}))
    admin = Caller(name="a", scopes=frozenset({Scope.ADMIN}))
    assert reader.may(Scope.READ)
    assert not reader.may(Scope.JOBS)
    assert not reader.may(Scope.ADMIN)
    assert all(admin.may(scope) for scope in Scope)
    assert reader.may_see("r")
    assert not reader.may_see("a")
    assert admin.may_see("r")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        json.dumps({"name": "a", "sha256": "00", "scopes": ["read"]}),
        json.dumps({"name": "a", "sha256": "0" * 64, "scopes": []}),
        json.dumps({"name": "a", "sha256": "0" * 64, "scopes": ["root"]}),
        json.dumps({"name": "../a", "sha256": "0" * 64, "scopes": ["read"]}),
        json.dumps({"name": 7, "sha256": "0" * 64, "scopes": ["read"]}),
        json.dumps({"name": "a", "sha256": 7, "scopes": ["read"]}),
        "[" * 100_000,
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(KeyFileError):
        KeyRing.load(write_keys(tmp_path / "keys", line))


@pytest.mark.parametrize(("name", "scopes"), [("a", []), ("", [Scope.READ]), ("A b", [Scope.READ])])
def test_no_key_is_made_without_name_or_scope(name: str, scopes: list[Scope]) -> None:
    with pytest.raises(KeyFileError):
        make_key(name, scopes, Random(3).randbytes)
