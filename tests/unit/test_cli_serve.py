"""`zkpot up`, `zkpot api` and `zkpot api-key`: what they refuse, and what they write."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.auth import KeyRing, Scope
from api.cli import build_app


def make_key(file: Path, name: str) -> str:
    arguments = ["api-key", name, "--file", str(file), "--scope", "read"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_a_new_key_gets_a_line_of_its_own(tmp_path: Path, end: str) -> None:
    """Also behind a last line that an editor left without an end."""
    file = tmp_path / "keys"
    alice = make_key(file, "alice")
    file.write_text(file.read_text().rstrip("\n") + end)
    bob = make_key(file, "bob")
    ring = KeyRing.load(file)
    for name, key in (("alice", alice), ("bob", bob)):
        caller = ring.identify(f"Bearer {key}")
        assert caller is not None
        assert (caller.name, caller.scopes) == (name, {Scope.READ})
