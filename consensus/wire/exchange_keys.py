"""X25519 public keys of clients: which 32 bytes are one. Pure."""

from __future__ import annotations

from consensus.wire.codec import KEY_BYTES

_P = 2**255 - 19
_OF_ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
_LOW_ORDER = frozenset((0, 1, *_OF_ORDER_8, _P - 1))


def is_exchange_key(raw: bytes) -> bool:
    """Whether these are a key in its one encoding, with which an exchange gives a secret.

    Refused are other lengths, numbers of p or above (RFC 7748 would take them, as second
    encodings), and the five points of low order of curve and twist: whatever the other party's
    secret is, the outcome is zero, so that everyone knows the mask.
    """
    u = int.from_bytes(raw, "little")
    return len(raw) == KEY_BYTES and u < _P and u not in _LOW_ORDER
