"""A deal: a client's two secrets in encrypted shares for its neighbours (Bonawitz round 1).

    for each neighbour, in graph order
        ciphertext    share of b | share of sigma     ChaCha20-Poly1305, one key for each pair and
                                                      direction, so the nonce is zero
        two digests   of the shares: a share that is sent later is the dealt one, or is refused
    and a digest of b

The neighbour at graph position p has the polynomials' values at p + 1. What sigma is has been said
already: `mask_key` comes from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from consensus.aggregation.circle import Circle
from consensus.aggregation.masks import expand
from consensus.aggregation.secrets import OwnSecrets, agree_share_key, encode_scalar
from consensus.aggregation.shamir import evaluate
from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.encoding import FR_BYTES
from prover.wire.kinds import DIGEST_BYTES, Bytes, Digest
from prover.wire.records import Record, header

MAX_CLIENTS = 1024
CIPHERTEXT_BYTES = 2 * FR_BYTES + 16
_DOMAIN = b"zkpot aggregation share v1\x00"
_NONCE = bytes(12)


class Secret(StrEnum):
    """Which of a client's two secrets a share is of."""

    SELF = "self"  # b
    PAIRS = "pairs"  # sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal(Record):
    """A client's deal. All but `self_digest` have a part for each neighbour, in graph order."""

    HEADER: ClassVar[bytes] = header(b"zkpotdea", 1)
    MAX_BYTES: ClassVar[int] = MAX_CLIENTS * (CIPHERTEXT_BYTES + 2 * DIGEST_BYTES) + 128
    self_digest: Digest
    ciphertexts: Annotated[bytes, Bytes(0, MAX_CLIENTS * CIPHERTEXT_BYTES, step=CIPHERTEXT_BYTES)]
    self_digests: Annotated[bytes, Bytes(0, MAX_CLIENTS * DIGEST_BYTES, step=DIGEST_BYTES)]
    pair_digests: Annotated[bytes, Bytes(0, MAX_CLIENTS * DIGEST_BYTES, step=DIGEST_BYTES)]

    def check_whole(self) -> None:
        n = self.n_neighbours
        same = len(self.self_digests) == len(self.pair_digests) == n * DIGEST_BYTES
        self.require(same, "has digests for more or fewer neighbours than ciphertexts")

    @property
    def n_neighbours(self) -> int:
        return len(self.ciphertexts) // CIPHERTEXT_BYTES

    def read_ciphertext(self, slot: int) -> bytes:
        """What the neighbour of this place in graph order is sent."""
        return self.ciphertexts[slot * CIPHERTEXT_BYTES : (slot + 1) * CIPHERTEXT_BYTES]

    def read_digest(self, secret: Secret, slot: int) -> bytes:
        """The digest of that neighbour's share."""
        digests = self.self_digests if secret is Secret.SELF else self.pair_digests
        return digests[slot * DIGEST_BYTES : (slot + 1) * DIGEST_BYTES]


Deals = Mapping[bytes, Deal]
"""By dealer."""


def digest_share(secret: Secret, share: int) -> bytes:
    """The digest that pins a share."""
    return hashlib.sha256(_DOMAIN + secret.encode() + b"\x00" + encode_scalar(share)).digest()


def digest_self_secret(self_secret: int) -> bytes:
    """The digest that pins b."""
    return hashlib.sha256(_DOMAIN + b"whole\x00" + encode_scalar(self_secret)).digest()


def make_deal(circle: Circle, dealer: bytes, secrets: OwnSecrets, backend: Backend) -> Deal:
    """The deal of a client: the same from the same secrets, however often it is made."""
    neighbours = circle.graph.list_neighbours(dealer)
    points = [circle.graph.find_position(c) + 1 for c in neighbours]

    def share(secret: Secret, value: int) -> list[int]:
        seed = secrets.derive_polynomial_seed(secret.encode())
        rest = expand(seed, circle.graph.threshold - 1)
        coefficients = FrArray.concat([FrArray.from_ints([value]), rest])
        return evaluate(coefficients, points, backend).to_ints()

    own, pairs = share(Secret.SELF, secrets.self_secret), share(Secret.PAIRS, secrets.sigma)
    sealed = [
        _seal(circle, dealer, receiver, secrets.share_private, encode_scalar(a) + encode_scalar(b))
        for receiver, a, b in zip(neighbours, own, pairs, strict=True)
    ]
    return Deal(
        self_digest=digest_self_secret(secrets.self_secret),
        ciphertexts=b"".join(sealed),
        self_digests=b"".join(digest_share(Secret.SELF, s) for s in own),
        pair_digests=b"".join(digest_share(Secret.PAIRS, s) for s in pairs),
    )


def _seal(
    circle: Circle, dealer: bytes, receiver: bytes, own: X25519PrivateKey, shares: bytes
) -> bytes:
    key = agree_share_key(circle, own, dealer=dealer, receiver=receiver, other=receiver)
    return ChaCha20Poly1305(key).encrypt(_NONCE, shares, _bind(circle, dealer, receiver))


def _bind(circle: Circle, dealer: bytes, receiver: bytes) -> bytes:
    """The associated data of a ciphertext."""
    return circle.place + dealer + receiver


def find_fault(deal: Deal, circle: Circle, dealer: bytes) -> str | None:
    """Why a deal does not count; None when it does. What is encrypted is for receivers to see."""
    if dealer not in circle.graph:
        return "is by a client that did not commit"
    if deal.n_neighbours != len(circle.graph.list_neighbours(dealer)):
        return "has shares for more or fewer neighbours than its dealer has"
    return None


def open_share(
    deal: Deal,
    circle: Circle,
    *,
    dealer: bytes,
    receiver: bytes,
    own: X25519PrivateKey,
    secret: Secret,
) -> int | None:
    """The receiver's share; None when what was sent is not what the dealer's digest says."""
    slot = circle.graph.find_slot(dealer, receiver)
    if slot is None:
        return None
    key = agree_share_key(circle, own, dealer=dealer, receiver=receiver, other=dealer)
    try:
        raw = ChaCha20Poly1305(key).decrypt(
            _NONCE, deal.read_ciphertext(slot), _bind(circle, dealer, receiver)
        )
    except InvalidTag:
        return None
    part = raw[:FR_BYTES] if secret is Secret.SELF else raw[FR_BYTES:]
    share = int.from_bytes(part, "little")
    fits = share < R and digest_share(secret, share) == deal.read_digest(secret, slot)
    return share if fits else None
