"""Secrets of a client in a round, and the keys and seeds that come from them.

    root      32 random bytes, the one thing that is drawn
    sigma, b  scalars from the root: of the pairs' masks, and of the client's own
    mask key  X25519, its private half HKDF(sigma): whoever has sigma has the pairs' seeds
    share key X25519, from the root: nobody ever learns it
    s_ij      HKDF(X25519(mask_i, mask_key_j)), own seed HKDF(b)

All is derived, so a client that starts again from its root deals the same shares and masks alike:
nothing is ever encrypted twice under one key with two contents. A pair's seed names both clients
beside both keys: else who commits with a copy of another's key would have the same masks as that
one with everybody, and where the two stand on either side of a client they would cancel there.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consensus.aggregation.circle import Circle, PublicKeys
from consensus.aggregation.masks import SEED_BYTES
from kernels.bn254 import R
from kernels.encoding import FR_BYTES
from prover.wire.records import encode_fields

_SCALAR_SOURCE_BYTES = 48  # mod r: a bias below 2^-128
_DOMAIN = b"zkpot aggregation v1"


def _derive(secret: bytes, label: bytes, place: bytes, *names: bytes, n: int = SEED_BYTES) -> bytes:
    """HKDF-SHA256 of a secret, for one purpose in one place (chain and round)."""
    info = encode_fields((_DOMAIN, label, place, *names))
    return HKDF(SHA256(), n, None, info).derive(secret)


def encode_scalar(scalar: int) -> bytes:
    """32 bytes, little-endian."""
    return scalar.to_bytes(FR_BYTES, "little")


class OwnSecrets:
    """All secrets of a client in a round, from its root. Never logged, never sent whole.

    place : `Circle.place`, chain and round
    """

    def __init__(self, root: bytes, place: bytes) -> None:
        self._root, self._place = root, place
        self.sigma = self._derive_scalar(b"sigma")
        self.self_secret = self._derive_scalar(b"self secret")
        self.mask_private = derive_mask_private(self.sigma, place)
        share_private = _derive(root, b"share key", place)
        self.share_private = X25519PrivateKey.from_private_bytes(share_private)

    def __repr__(self) -> str:
        return "OwnSecrets()"

    @property
    def public(self) -> PublicKeys:
        """The keys that the client commits with."""
        return PublicKeys(
            mask_key=self.mask_private.public_key().public_bytes_raw(),
            share_key=self.share_private.public_key().public_bytes_raw(),
        )

    def derive_polynomial_seed(self, label: bytes) -> bytes:
        """The seed of the coefficients that hide one of the two secrets."""
        return _derive(self._root, b"polynomial", self._place, label)

    def _derive_scalar(self, label: bytes) -> int:
        raw = _derive(self._root, label, self._place, n=_SCALAR_SOURCE_BYTES)
        return int.from_bytes(raw, "little") % R


def derive_mask_private(sigma: int, place: bytes) -> X25519PrivateKey:
    """The private half of a mask key."""
    raw = _derive(encode_scalar(sigma), b"mask key", place)
    return X25519PrivateKey.from_private_bytes(raw)


def derive_self_seed(self_secret: int, place: bytes) -> bytes:
    """The seed of the mask that a client adds for itself."""
    return _derive(encode_scalar(self_secret), b"self seed", place)


def agree_pair_seed(
    circle: Circle, owner: bytes, mask_private: X25519PrivateKey, other: bytes
) -> bytes:
    """s_ij, from one's own private key; both sides get the same."""
    first, second = circle.sort((owner, other))
    keys = circle.keys[first].mask_key, circle.keys[second].mask_key
    shared = _exchange(mask_private, circle.keys[other].mask_key)
    return _derive(shared, b"pair seed", circle.place, first, second, *keys)


def agree_share_key(
    circle: Circle, own: X25519PrivateKey, *, dealer: bytes, receiver: bytes, other: bytes
) -> bytes:
    """The key that a dealer's shares for one receiver travel under, once.

    other : the one of both whose public key is taken
    """
    keys = circle.keys[dealer].share_key, circle.keys[receiver].share_key
    shared = _exchange(own, circle.keys[other].share_key)
    return _derive(shared, b"shares", circle.place, dealer, receiver, *keys)


def _exchange(own: X25519PrivateKey, public: bytes) -> bytes:
    return own.exchange(X25519PublicKey.from_public_bytes(public))
