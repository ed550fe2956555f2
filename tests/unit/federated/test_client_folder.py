"""A client's folder, and where a genesis comes from: one client, one task, nobody else's."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from consensus.disk.development import sign_permit
from consensus.disk.identity import get_public_key
from consensus.errors import GenesisInvalid, IdentityError
from federated.errors import ClientFolderInvalid, GenesisUnavailable, NotAdmitted
from federated.joining.folder import (
    GENESIS,
    KEY,
    PERMIT,
    holding,
    pin_genesis,
    take_key,
    take_permit,
)
from federated.joining.genesis_source import load_genesis
from tests.support.learning import Lab
from tests.support.tiny_circuits import seeded

LAB, OTHER = Lab(), Lab(changes={"threshold": 2})


def test_a_key_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "me"
    first = get_public_key(take_key(folder, seeded(1)))
    assert get_public_key(take_key(folder, seeded(2))) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    (folder / KEY).chmod(0o644)
    with pytest.raises(IdentityError, match="open to other users"):
        take_key(folder, seeded(2))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        holding(tmp_path),
        pytest.raises(ClientFolderInvalid, match="another client"),
        holding(tmp_path),
    ):
        pass
    with holding(tmp_path):
        pass


def test_the_first_genesis_is_the_only_one(tmp_path: Path) -> None:
    assert pin_genesis(tmp_path, LAB.genesis)
    assert not pin_genesis(tmp_path, LAB.genesis)
    with pytest.raises(ClientFolderInvalid, match=OTHER.genesis.digest.hex()):
        pin_genesis(tmp_path, OTHER.genesis)
    assert (tmp_path / GENESIS).read_bytes() == LAB.genesis.encode()


def test_a_permit_is_checked_and_kept(tmp_path: Path) -> None:
    key, public = LAB.clients[0], LAB.client(0)
    right = sign_permit(LAB.admission, LAB.genesis.digest, public)
    assert take_permit(tmp_path, LAB.genesis, key, None) == b""
    for wrong in (
        sign_permit(LAB.admission, OTHER.genesis.digest, public),
        sign_permit(LAB.admission, LAB.genesis.digest, LAB.client(1)),
        sign_permit(LAB.clients[0], LAB.genesis.digest, public),
        b"",
    ):
        with pytest.raises(NotAdmitted, match=f"zkpot chain permit CHAIN {public.hex()}"):
            take_permit(tmp_path, LAB.genesis, key, wrong.hex())
    with pytest.raises(NotAdmitted):
        take_permit(tmp_path, LAB.genesis, key, "no permit")
    assert not (tmp_path / PERMIT).exists()
    assert take_permit(tmp_path, LAB.genesis, key, right.hex()) == right
    assert take_permit(tmp_path, LAB.genesis, key, None) == right
    (tmp_path / PERMIT).write_bytes(b"\xff")
    with pytest.raises(NotAdmitted):
        take_permit(tmp_path, LAB.genesis, key, None)


# -- where a genesis comes from --------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[str]:
    """A server that has the genesis, and something else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {
                "/genesis.json": LAB.genesis.encode(),
                "/tasks/other.json": OTHER.genesis.encode(),
                "/page": b"<html>",
            }.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_genesis_comes_from_a_file_or_a_url(tmp_path: Path, url: str) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(LAB.genesis.encode())
    for source in (str(path), url, f"{url}/", f"{url}/genesis.json"):
        assert load_genesis(source).digest == LAB.genesis.digest
        assert load_genesis(source, expected=LAB.genesis.digest).encode() == LAB.genesis.encode()
    assert load_genesis(f"{url}/tasks/other.json").digest == OTHER.genesis.digest


def test_what_is_no_genesis_or_another_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(GenesisUnavailable, match=f"has digest {LAB.genesis.digest.hex()}"):
        load_genesis(url, expected=OTHER.genesis.digest)
    with pytest.raises(GenesisUnavailable, match="404"):
        load_genesis(f"{url}/nothing.json")
    with pytest.raises(GenesisUnavailable, match="does not answer"):
        load_genesis("http://127.0.0.1:9")
    with pytest.raises(GenesisUnavailable, match="cannot be read"):
        load_genesis(str(tmp_path / "nothing"))
    with pytest.raises(GenesisInvalid):
        load_genesis(f"{url}/page")
