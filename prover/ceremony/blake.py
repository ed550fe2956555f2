"""BLAKE2b-512 gone on with from a state that a file holds (RFC 7693): hashlib begins anew only."""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1
_BLOCK = 128
_IV = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
QUARTERS = (
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)
"""Of a state of 16 words, what is mixed together: columns, then diagonals, as ChaCha has it."""


def finish(state: bytes, rest: bytes) -> bytes:
    """The digest of what the state stands for and of the rest, 64 bytes.

    state : 216 bytes, as `prover.formats.power_contributions` draws them, at most 128 waiting
    """
    h = list(struct.unpack_from("<8Q", state, _BLOCK))
    n_hashed, n_waiting = struct.unpack_from("<2Q", state, 192)
    data = state[:n_waiting] + rest
    while len(data) > _BLOCK:
        n_hashed += _BLOCK
        h = _compress(h, data[:_BLOCK], n_hashed, is_last=False)
        data = data[_BLOCK:]
    h = _compress(h, data.ljust(_BLOCK, b"\0"), n_hashed + len(data), is_last=True)
    return struct.pack("<8Q", *h)


def _compress(h: list[int], block: bytes, n_bytes: int, *, is_last: bool) -> list[int]:
    m = struct.unpack("<16Q", block)
    v = [*h, *_IV]
    v[12] ^= n_bytes & _MASK
    v[13] ^= n_bytes >> 64
    if is_last:
        v[14] ^= _MASK
    for k in range(12):
        words = _SIGMA[k % 10]
        for i, places in enumerate(QUARTERS):
            _mix(v, places, m[words[2 * i]], m[words[2 * i + 1]])
    return [a ^ b ^ c for a, b, c in zip(h, v[:8], v[8:], strict=True)]


def _mix(v: list[int], places: tuple[int, int, int, int], x: int, y: int) -> None:
    a, b, c, d = places
    for word, first, second in ((x, 32, 24), (y, 16, 63)):
        v[a] = (v[a] + v[b] + word) & _MASK
        v[d] = _rotate(v[d] ^ v[a], first)
        v[c] = (v[c] + v[d]) & _MASK
        v[b] = _rotate(v[b] ^ v[c], second)


def _rotate(word: int, n: int) -> int:
    return ((word >> n) | (word << (64 - n))) & _MASK
