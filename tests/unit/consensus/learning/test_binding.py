"""Bindings of clients to accounts: accepted, refused, forged; what the state makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from coincurve.utils import GROUP_ORDER_INT

from consensus.learning.admission import find_admission_fault
from consensus.learning.binding import (
    compute_digest,
    describe_typed_data,
    find_binding_fault,
    sign_binding,
)
from consensus.learning.chain import find_fault, start
from consensus.learning.chain_state import Phase
from consensus.wire.ethereum import format_address, keccak256, parse_address
from consensus.wire.transactions import Register
from tests.support.learning import Lab, account_secret

LAB = Lab(n_bound=3)
BEGIN = start(LAB.genesis)
BOUND = LAB.register(0)
CHAIN = LAB.genesis.digest


def find(address: bytes, signature: bytes) -> str | None:
    return find_binding_fault(BOUND.client_key, address, signature, CHAIN)


def negate_s(signature: bytes) -> bytes:
    """The other signature of the same account over the same digest."""
    s = GROUP_ORDER_INT - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def test_a_binding_holds() -> None:
    assert find(BOUND.address, BOUND.address_signature) is None
    assert find(b"", b"") is None
    assert find_admission_fault(BEGIN, BOUND) is None


def test_the_digest_is_that_of_eip712() -> None:
    """Once more by the definition; of the key that EIP-55's and wallets' tests use."""
    domain_type = keccak256(b"EIP712Domain(string name,string version,bytes32 salt)")
    domain = keccak256(domain_type + keccak256(b"zkpot") + keccak256(b"1") + CHAIN)
    kind = keccak256(b"Binding(bytes32 clientKey,bytes32 genesis)")
    message = keccak256(kind + BOUND.client_key + CHAIN)
    expected = keccak256(b"\x19\x01" + domain + message)
    assert compute_digest(BOUND.client_key, CHAIN) == expected
    said = describe_typed_data(BOUND.client_key, CHAIN)
    assert said["message"]["clientKey"] == f"0x{BOUND.client_key.hex()}"
    assert said["domain"]["salt"] == said["message"]["genesis"] == f"0x{CHAIN.hex()}"


def test_an_address_is_that_of_wallets() -> None:
    """The account of the private key 1, and Keccak of nothing, as everybody knows them."""
    address, _ = sign_binding((1).to_bytes(32, "big"), BOUND.client_key, CHAIN)
    assert format_address(address) == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
    assert keccak256(b"").hex().startswith("c5d2460186f7233c927e7db2dcc703c0")


@pytest.mark.parametrize(
    ("address", "signature"),
    [
        (BOUND.address, b""),
        (b"", BOUND.address_signature),
        (bytes(20), BOUND.address_signature),
        (BOUND.address, bytes(65)),
        (BOUND.address, b"\xff" * 65),
        (BOUND.address, negate_s(BOUND.address_signature)),
        (BOUND.address, BOUND.address_signature[:64] + bytes([55 - BOUND.address_signature[64]])),
        (BOUND.address, BOUND.address_signature[:64] + bytes([BOUND.address_signature[64] - 27])),
        (BOUND.address, bytes(32) + BOUND.address_signature[32:]),
        (BOUND.address, GROUP_ORDER_INT.to_bytes(32, "big") + BOUND.address_signature[32:]),
        (BOUND.address, BOUND.address_signature[:32] + bytes(32) + BOUND.address_signature[64:]),
        (LAB.register(1).address, BOUND.address_signature),
    ],
)
def test_others_are_refused(address: bytes, signature: bytes) -> None:
    assert find(address, signature) is not None


def test_a_malleated_signature_is_one_for_libraries() -> None:
    """It is refused for its form alone: it names the same account."""
    fault = find(BOUND.address, negate_s(BOUND.address_signature))
    assert fault == "the signature of its address is not in the one form: s low, v 27 or 28"


def test_a_binding_is_of_one_client_and_one_chain() -> None:
    other = Lab(n_clients=4, n_bound=1).register(0)
    for stolen in (
        replace(LAB.register(1), address=BOUND.address, address_signature=BOUND.address_signature),
        replace(BOUND, address_signature=other.address_signature),
    ):
        client = 1 if stolen.client_key == LAB.client(1) else 0
        fault = find_admission_fault(BEGIN, LAB.sign(stolen, LAB.clients[client]))
        assert fault == "the signature of its address is not that account's"


def test_a_client_signs_its_account() -> None:
    """Nobody else can take it off, or put another on, on the way."""
    for changes in ({"address": b"", "address_signature": b""}, _account(2)):
        fault = find_admission_fault(BEGIN, replace(BOUND, **changes))
        assert fault == "the signature is not its client's"


def _account(i: int) -> dict[str, Any]:
    address, signature = sign_binding(account_secret(i), BOUND.client_key, CHAIN)
    return {"address": address, "address_signature": signature}


def share_account(i: int) -> Register:
    """A client's registration with the account of client 0."""
    return LAB.bind(LAB.register(i), i, owner=0)


def test_an_account_stays_with_its_first_client() -> None:
    """In one block or in two; the second registers without, and its key not again."""
    block = LAB.block(BEGIN, [BOUND, share_account(1)])
    assert find_fault(BEGIN, block) is None
    together = LAB.extend(BEGIN, [BOUND, share_account(1)])
    apart = LAB.extend(LAB.extend(BEGIN, [BOUND]), [share_account(1)])
    for state in (together, apart):
        assert dict(state.accounts) == {LAB.client(0): BOUND.address}
        assert LAB.client(1) in state.clients
        assert find_admission_fault(state, BOUND) == "the client is registered"
        assert find_admission_fault(state, LAB.register(1)) == "the client is registered"


def test_who_names_no_account_has_none() -> None:
    lab = Lab(n_bound=1)
    assert list(lab.reach(Phase.COMMIT).accounts) == [lab.client(0)]


def test_bindings_never_move() -> None:
    first = LAB.reach(Phase.COMMIT)
    assert len(first.accounts) == 3
    assert LAB.reach(Phase.COMMIT, learning_round=1).accounts == first.accounts


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(31)])
def test_no_key_is_told(secret: bytes) -> None:
    with pytest.raises(ValueError, match="no private key") as caught:
        sign_binding(secret, BOUND.client_key, CHAIN)
    assert secret.hex() not in str(caught.value) or not secret


def test_addresses_as_text() -> None:
    text = format_address(BOUND.address)
    assert parse_address(text) == parse_address("0x" + text[2:].lower()) == BOUND.address
    wrong = text[:2] + text[2:].swapcase()
    for other in (wrong, text[2:], text[:-1], text + "0", "0x" + "g" * 40, "", text[:-2] + " 0"):
        assert parse_address(other) is None
