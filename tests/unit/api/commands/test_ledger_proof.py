"""`zkpot chain proof` over a node's folder, and `zkpot client binding`; accounts in a client's."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from consensus.disk.certificates import CERTIFICATE, save_certificate
from consensus.disk.development import GENESIS
from consensus.disk.identity import get_public_key
from consensus.disk.ledger import Ledger
from consensus.errors import IdentityError
from consensus.finality.certificate import Statement
from consensus.finality.proof import check_proof
from consensus.learning.binding import describe_typed_data
from consensus.learning.chain import start
from consensus.wire.ethereum import format_address
from federated.errors import AccountInvalid
from federated.joining.account import ACCOUNT, Account, sign_with, take_account
from federated.joining.folder import take_key
from tests.support.commands import run
from tests.support.finality import make_certificate
from tests.support.learning import Lab, account_secret
from tests.support.stored import grow
from tests.support.tiny_circuits import seeded

LAB = Lab(n_bound=2)
N_BLOCKS = 8  # beyond the end of the first round


def refuse(code: str, *arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert f"refused ({code})" in result.stderr
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's folder, certified one block before its last."""
    home = tmp_path / "node-0"
    ledger = Ledger(home, LAB.genesis)
    grow(ledger, LAB, N_BLOCKS - 1)
    save_certificate(home, make_certificate(LAB, ledger.state))
    grow(ledger, LAB, 1)
    ledger.close()
    (tmp_path / GENESIS).write_bytes(LAB.genesis.encode())
    return home


def test_a_proof_is_printed_and_verified(home: Path, tmp_path: Path) -> None:
    result = run("chain", "proof", home)
    assert result.exit_code == 0, result.output
    certificate, leaves = check_proof(json.loads(result.stdout), LAB.genesis)
    assert certificate.height == N_BLOCKS - 1
    assert [leaf.client_key for leaf in leaves] == sorted(LAB.client(i) for i in range(2))
    assert all(leaf.weight and leaf.rewards for leaf in leaves)

    one = tmp_path / "one.json"
    client = LAB.client(1).hex()
    assert run("chain", "proof", home, "--client", client, "--out", one).exit_code == 0
    genesis = ("--genesis", tmp_path / GENESIS)
    told = run("chain", "proof", one, "--verify", *genesis)
    assert told.exit_code == 0, told.output
    assert f"block {N_BLOCKS - 1}" in told.stdout
    assert client in told.stdout

    value = json.loads(one.read_text())
    value["leaves"][0]["rewards"] += 1
    one.write_text(json.dumps(value))
    assert "not under the root" in refuse(
        "ledger_proof_invalid", "chain", "proof", one, "--verify", *genesis
    )
    one.write_text("[")
    assert "no JSON" in refuse("ledger_proof_invalid", "chain", "proof", one, "--verify", *genesis)


def test_who_has_no_leaf_is_told(home: Path) -> None:
    """Whether it has no account or is not there at all, and what to do about either."""
    unbound = refuse("no_leaf", "chain", "proof", home, "--client", LAB.client(2).hex())
    assert "without an account" in unbound
    assert "zkpot client join --address-key" in unbound
    unknown = refuse("no_leaf", "chain", "proof", home, "--client", "07" * 32)
    assert f"block {N_BLOCKS - 1}" in unknown
    assert "zkpot client key" in unknown


def test_a_folder_without_a_certificate_is_refused(home: Path) -> None:
    raw = (home / CERTIFICATE).read_bytes()
    (home / CERTIFICATE).unlink()
    assert "f + 1" in refuse("no_certificate", "chain", "proof", home)
    (home / CERTIFICATE).write_bytes(raw[:-1] + b"\x00")
    assert "f + 1" in refuse("no_certificate", "chain", "proof", home)


def test_blocks_that_do_not_lead_there_are_refused(home: Path) -> None:
    """A certificate of blocks that are not here yet, and one of another block than is here."""
    state = LAB.reach(start(LAB.genesis).phase)
    while state.height < N_BLOCKS + 1:
        state = LAB.extend(state)
    save_certificate(home, make_certificate(LAB, state))
    assert "lead to 8" in refuse("no_certificate", "chain", "proof", home)
    other = LAB.extend(start(LAB.genesis))
    assert Statement.of(other).height == 1
    save_certificate(home, make_certificate(LAB, other))
    assert "another than the one" in refuse("ledger_unusable", "chain", "proof", home)


# -- accounts --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "client"
    take_key(folder, seeded(3))
    return folder


def public(folder: Path) -> bytes:
    return get_public_key(take_key(folder, seeded(3)))


def write_secret(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "account.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_typed_data_are_printed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / GENESIS).write_bytes(LAB.genesis.encode())
    result = run("client", "binding", "--genesis", tmp_path / GENESIS, "--state", folder)
    assert result.exit_code == 0, result.output
    expected = describe_typed_data(public(folder), LAB.genesis.digest)
    assert json.loads(result.stdout) == expected


def test_an_account_is_kept_once_it_was_given(folder: Path, tmp_path: Path) -> None:
    secret = account_secret(7).hex()
    account = sign_with(write_secret(tmp_path, f"0x{secret}\n"), public(folder), LAB.genesis)
    assert take_account(folder, LAB.genesis, public(folder), None) == Account()
    assert take_account(folder, LAB.genesis, public(folder), account) == account
    assert take_account(folder, LAB.genesis, public(folder), None) == account
    assert stat.S_IMODE((folder / ACCOUNT).stat().st_mode) == 0o600
    assert secret not in (folder / ACCOUNT).read_text()

    other = sign_with(write_secret(tmp_path, "01" * 32), public(folder), LAB.genesis)
    with pytest.raises(AccountInvalid, match="once and for all"):
        take_account(folder, LAB.genesis, public(folder), other)
    (folder / ACCOUNT).write_text("0x00")
    with pytest.raises(AccountInvalid, match="delete it"):
        take_account(folder, LAB.genesis, public(folder), None)


def test_signatures_of_wallets_are_checked(folder: Path) -> None:
    other = LAB.register(0)  # signed for another client
    account = Account.parse(format_address(other.address), f"0x{other.address_signature.hex()}")
    assert (account.address, account.signature) == (other.address, other.address_signature)
    with pytest.raises(AccountInvalid, match="zkpot client binding"):
        take_account(folder, LAB.genesis, public(folder), account)
    for address, signature in (("0x00", "0x" + "00" * 65), (format_address(bytes(20)), "0xzz")):
        with pytest.raises(AccountInvalid):
            Account.parse(address, signature)


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "00" * 32, "ff" * 32, "c0ffee" * 11])
def test_no_error_holds_a_private_key(folder: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(AccountInvalid) as caught:
        sign_with(write_secret(tmp_path, text), public(folder), LAB.genesis)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_that_others_may_read_is_refused(folder: Path, tmp_path: Path) -> None:
    path = write_secret(tmp_path, account_secret(7).hex(), mode=0o644)
    with pytest.raises(IdentityError, match="open to other users"):
        sign_with(path, public(folder), LAB.genesis)


def test_halves_of_an_account_are_wrong_usage(folder: Path, tmp_path: Path) -> None:
    (tmp_path / GENESIS).write_bytes(LAB.genesis.encode())
    path = write_secret(tmp_path, account_secret(7).hex())
    place = ("--genesis", tmp_path / GENESIS, "--state", folder, "--data", "x")
    both = ("--address", "0", "--address-signature", "0")
    for options in (both[:2], ("--address-key", path, *both)):
        result = run("client", "join", *place, *options)
        assert result.exit_code == 2, result.output
