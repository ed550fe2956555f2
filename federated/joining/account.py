"""The account of the EVM that a client binds itself to, before it registers.

    FOLDER/account   two lines: address, and its signature over the client's key, in hexadecimal

The account's private key is read once, for that signature, and kept nowhere; a wallet that holds it
can make the same from what `zkpot client binding` prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consensus.disk.identity import read_private
from consensus.learning.binding import find_binding_fault, sign_binding
from consensus.wire.addresses import ADDRESS_SIGNATURE_BYTES
from consensus.wire.ethereum import format_address, parse_address
from consensus.wire.genesis import Genesis
from federated.errors import AccountInvalid
from kernels.files import PRIVATE, write_whole

ACCOUNT = "account"
SECRET_BYTES = 32
_MAX_BYTES = 256


@dataclass(frozen=True, slots=True)
class Account:
    """A client's account and its signature; both empty for a client without one."""

    address: bytes = b""
    signature: bytes = b""

    @classmethod
    def parse(cls, address: str, signature: str) -> Account:
        """Both as a wallet shows them. Raises AccountInvalid."""
        found = parse_address(address)
        if found is None:
            raise AccountInvalid("the address is none: 0x and 40 digits, in the case of EIP-55")
        try:
            raw = bytes.fromhex(signature.removeprefix("0x"))
        except ValueError:
            raw = b""
        if len(raw) != ADDRESS_SIGNATURE_BYTES:
            raise AccountInvalid("the signature of the address is not 65 bytes in hexadecimal")
        return cls(found, raw)


def sign_with(path: Path, client_key: bytes, genesis: Genesis) -> Account:
    """The account whose private key is in a file, in hexadecimal, that nobody else may read.

    Raises IdentityError, AccountInvalid; neither holds anything of the file.
    """
    next_step = "name a file with the private key of the account, 64 hexadecimal digits"
    text = read_private(path, _MAX_BYTES, next_step=next_step).decode("ascii", "replace").strip()
    try:
        return Account(
            *sign_binding(bytes.fromhex(text.removeprefix("0x")), client_key, genesis.digest)
        )
    except ValueError:
        raise AccountInvalid(f"{path} holds no private key of secp256k1") from None


def take_account(
    folder: Path, genesis: Genesis, client_key: bytes, given: Account | None
) -> Account:
    """The account that was given, kept from now on, or the one that was kept; else none.

    Raises AccountInvalid for a signature that the chain would not take, or for another account than
    the one that was kept; OSError.
    """
    kept = _load(folder / ACCOUNT)
    account = given or kept
    fault = find_binding_fault(client_key, account.address, account.signature, genesis.digest)
    if fault is not None:
        raise AccountInvalid(f"{fault}: sign what `zkpot client binding` prints for this client")
    if kept.address and account.address != kept.address:
        name = format_address(kept.address)
        raise AccountInvalid(f"{folder / ACCOUNT} binds this client to {name}, once and for all")
    if given is not None:
        text = f"{format_address(account.address)}\n0x{account.signature.hex()}\n"
        write_whole(folder / ACCOUNT, [text.encode("ascii")], mode=PRIVATE)
    return account


def _load(path: Path) -> Account:
    try:
        lines = path.read_text(encoding="ascii", errors="replace")[:_MAX_BYTES].split()
    except FileNotFoundError:
        return Account()
    if len(lines) != 2:
        raise AccountInvalid(f"{path} holds other than an address and its signature; delete it")
    return Account.parse(*lines)
