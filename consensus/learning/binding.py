"""Which account of the EVM a client is bound to: typed data of EIP-712, signed by that account.

    domain   name "zkpot", version "1", salt the genesis digest
    message  Binding(bytes32 clientKey, bytes32 genesis)
    digest   keccak256(0x1901 | hash of the domain | hash of the message)

The account signs the client's key, and the client signs the whole `Register`, account included: so
neither can be bound without knowing. A signature is taken in one form only: secp256k1, r and s
below the group's order and s in its lower half (EIP-2), v 27 or 28. What it is for is one client
of one chain: no chain id of the EVM is in it, since the ledger may be read on any of them.
"""

from __future__ import annotations

from typing import Any

from coincurve import PrivateKey, PublicKey
from coincurve.utils import GROUP_ORDER_INT

from consensus.wire.addresses import ADDRESS_BYTES, ADDRESS_SIGNATURE_BYTES
from consensus.wire.ethereum import encode_words, keccak256

NAME, VERSION = "zkpot", "1"
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,bytes32 salt)"
_TYPE = b"Binding(bytes32 clientKey,bytes32 genesis)"
_FIRST_V = 27
_LARGEST_S = GROUP_ORDER_INT // 2


def compute_digest(client_key: bytes, genesis_digest: bytes) -> bytes:
    """What the account signs: 32 bytes."""
    domain = encode_words(
        keccak256(_DOMAIN_TYPE),
        keccak256(NAME.encode("ascii")),
        keccak256(VERSION.encode("ascii")),
        genesis_digest,
    )
    message = encode_words(keccak256(_TYPE), client_key, genesis_digest)
    return keccak256(b"\x19\x01" + keccak256(domain) + keccak256(message))


def describe_typed_data(client_key: bytes, genesis_digest: bytes) -> dict[str, Any]:
    """The same as JSON, as wallets take it (eth_signTypedData_v4)."""
    salt, key = (f"0x{raw.hex()}" for raw in (genesis_digest, client_key))
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "salt", "type": "bytes32"},
            ],
            "Binding": [
                {"name": "clientKey", "type": "bytes32"},
                {"name": "genesis", "type": "bytes32"},
            ],
        },
        "primaryType": "Binding",
        "domain": {"name": NAME, "version": VERSION, "salt": salt},
        "message": {"clientKey": key, "genesis": salt},
    }


def find_binding_fault(
    client_key: bytes, address: bytes, signature: bytes, genesis_digest: bytes
) -> str | None:
    """What is wrong with a binding, or None; nothing at all binds to nothing. Any bytes."""
    if not address and not signature:
        return None
    if len(address) != ADDRESS_BYTES or len(signature) != ADDRESS_SIGNATURE_BYTES:
        return "its address comes without a signature, or that without an address"
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    if s > _LARGEST_S or v not in (_FIRST_V, _FIRST_V + 1):
        return "the signature of its address is not in the one form: s low, v 27 or 28"
    if _recover(compute_digest(client_key, genesis_digest), signature) != address:
        return "the signature of its address is not that account's"
    return None


def _recover(digest: bytes, signature: bytes) -> bytes | None:
    """The account that signed; None for what is no signature."""
    recoverable = signature[:64] + bytes([signature[64] - _FIRST_V])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except ValueError:
        return None
    return _compute_address(key)


def _compute_address(key: PublicKey) -> bytes:
    return keccak256(key.format(compressed=False)[1:])[-ADDRESS_BYTES:]


def sign_binding(secret: bytes, client_key: bytes, genesis_digest: bytes) -> tuple[bytes, bytes]:
    """The address of a private key, and its signature. Deterministic (RFC 6979).

    secret : 32 bytes. Raises ValueError, without them, for what is no private key
    """
    if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < GROUP_ORDER_INT:
        raise ValueError("no private key of secp256k1")
    key = PrivateKey(secret)
    raw = key.sign_recoverable(compute_digest(client_key, genesis_digest), hasher=None)
    return _compute_address(key.public_key), raw[:64] + bytes([raw[64] + _FIRST_V])
