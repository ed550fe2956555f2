"""What contracts of the EVM read: its hash, its words, addresses as text. Pure.

A word is 32 bytes, big-endian, as everywhere in the EVM; all else of this project is little-endian.
"""

from __future__ import annotations

from Crypto.Hash import keccak

from consensus.wire.addresses import ADDRESS_BYTES

WORD_BYTES = 32


def keccak256(raw: bytes) -> bytes:
    """The 32 bytes of Keccak-256, which is not SHA3-256: its padding is another."""
    return keccak.new(data=raw, digest_bits=256).digest()


def encode_word(value: int | bytes) -> bytes:
    """One word of abi.encode: a number, an address (zeros before it), or 32 bytes as they are."""
    if isinstance(value, int):
        return value.to_bytes(WORD_BYTES, "big")
    return value.rjust(WORD_BYTES, b"\0")


def encode_words(*values: int | bytes) -> bytes:
    """abi.encode of values that take one word each."""
    return b"".join(map(encode_word, values))


def format_address(address: bytes) -> str:
    """An address as wallets show it, with the upper and lower case of EIP-55."""
    digits = address.hex()
    marks = keccak256(digits.encode("ascii")).hex()
    shown = (d.upper() if int(mark, 16) >= 8 else d for d, mark in zip(digits, marks, strict=False))
    return "0x" + "".join(shown)


def parse_address(text: str) -> bytes | None:
    """Inverse of `format_address`; also of one case alone, which tells of no slip. Else None."""
    try:
        address = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None
    if len(address) != ADDRESS_BYTES or len(text) != 2 + 2 * ADDRESS_BYTES or text[:2] != "0x":
        return None
    plain = text[2:] in (text[2:].lower(), text[2:].upper())
    return address if plain or text == format_address(address) else None
