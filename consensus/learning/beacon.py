"""The beacon: one signature per message that no f validators can foresee and nobody can choose.

BLS signatures (Boneh, Lynn, Shacham, Asiacrypt 2001) over BN254 with a shared key, as in Boldyreva
(PKC 2003): the secret s = F(0) of a polynomial F of degree f; validator i holds s_i = F(i + 1).

    share    S_i = s_i H(m) in G1             e(S_i, G2) = e(H(m), [s_i]_2)
    beacon   S = sum_i lambda_i S_i = s H(m)  e(S, G2)   = e(H(m), [s]_2),  lambda by Lagrange at 0

Why it holds: f + 1 shares are needed for the first bit of S, and any f + 1 give the same S: G1 has
prime order, so for given m and [s]_2 one point satisfies the equation, with one encoding. The
message names genesis, learning round and commit height, and honest validators sign a share only
when that block is final; so the shard is drawn after the commits, and a proposer has nothing to
try out.

The keys of a chain come from `deal`. That is a dealer for development: who runs it knows s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from consensus.wire.beacon_keys import evaluate
from consensus.wire.genesis import Genesis
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G2, R
from kernels.cpu.words.group import mul_g1, neg_g1
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.encoding import Refused, decode_fr, decode_g1, encode_fr, encode_g1, encode_g2
from kernels.hash_to_curve import hash_to_g1
from kernels.pairing import pairing_product_is_one
from kernels.reference import mul_g2
from prover.randomness import RandomBytes, draw_nonzero_scalar
from prover.wire.records import encode_fields

TAG = b"zkpot-v1-beacon-BN254G1_XMD:SHA-256_SVDW_RO_"
SECRET_BYTES = 32
_G2_GENERATOR = G2Array.from_ints([G2])


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconKeys:
    """What a dealer hands out: public keys as in genesis, and each validator's secret."""

    group: bytes
    shares: tuple[bytes, ...]
    secrets: tuple[bytes, ...] = field(repr=False)


def compute_message(genesis_digest: bytes, *, learning_round: int, commit_height: int) -> bytes:
    """What the beacon of a learning round signs."""
    numbers = (n.to_bytes(8, "little") for n in (learning_round, commit_height))
    return encode_fields((b"zkpot beacon v1", genesis_digest, *numbers))


def compute_order_message(genesis_digest: bytes, *, register_height: int) -> bytes:
    """What the beacon signs from which orders of batches are drawn, once for all rounds."""
    number = register_height.to_bytes(8, "little")
    return encode_fields((b"zkpot order beacon v1", genesis_digest, number))


def deal(*, n_validators: int, n_faulty: int, random_bytes: RandomBytes) -> BeaconKeys:
    """Keys for n validators of whom f + 1 sign. For development: forget the secrets."""
    coefficients = [draw_nonzero_scalar(random_bytes) for _ in range(n_faulty + 1)]
    secrets = [evaluate(coefficients, i + 1) for i in range(n_validators)]
    public = encode_g2(G2Array.from_ints(mul_g2(s, G2) for s in (coefficients[0], *secrets)))
    keys = [public[i : i + 64] for i in range(0, len(public), 64)]
    return BeaconKeys(
        group=keys[0],
        shares=tuple(keys[1:]),
        secrets=tuple(encode_fr(FrArray.from_ints([s])) for s in secrets),
    )


def sign_share(secret: bytes, message: bytes, *, tag: bytes = TAG) -> bytes:
    """A validator's share, compressed. Raises ValueError when `secret` is none of a dealer's.

    tag : of the hash into G1; of messages of another kind another one, also below
    """
    scalar = decode_fr(secret, 1)
    if isinstance(scalar, Refused):
        raise ValueError("the beacon secret is not 32 bytes of a canonical scalar")
    return encode_g1(mul_g1(scalar, _hash(message, tag)))


def verify_share(share_key: G2Array, message: bytes, share: bytes, *, tag: bytes = TAG) -> bool:
    """Whether this is the share of the validator with this key, array of length 1. Any bytes."""
    return _verify(share_key, message, share, tag)


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The beacon from shares by validator; pass f + 1 of them or more.

    Raises ValueError for a share that is no point. From false or too few shares comes some point
    that `verify` refuses.
    """
    validators = sorted(shares)
    points = decode_g1(b"".join(shares[i] for i in validators), len(validators))
    if not validators or isinstance(points, Refused):
        raise ValueError("a beacon share is no point: pass shares that `verify_share` accepts")
    weights = FrArray.from_ints(_lagrange_at_zero([i + 1 for i in validators]))
    return encode_g1(small_msm_g1(weights, points))


def verify(group_key: G2Array, message: bytes, beacon: bytes, *, tag: bytes = TAG) -> bool:
    """Whether this is the beacon of the message under the group's key, array of length 1."""
    return _verify(group_key, message, beacon, tag)


class ShareSet:
    """Shares of one message as they come, one of each validator, and the signature they give.

    genesis : whose validators' shares they are
    tag     : of the hash into G1, as of `sign_share`
    holds   : a share costs no pairing when it comes. f + 1 of them are added up and their sum is
              verified, once; only a sum that fails has its shares tested, each once
    """

    def __init__(self, genesis: Genesis, *, tag: bytes = TAG) -> None:
        self._genesis, self._tag = genesis, tag
        self._shares: dict[int, bytes] = {}
        self._tested: dict[int, bool] = {}

    def add(self, validator: int, share: bytes) -> bool:
        """Keeps the first share of a validator. False: it has another one here, which stays."""
        return self._shares.setdefault(validator, share) == share

    def combine(self, message: bytes, liars: set[int]) -> bytes | None:
        """The group's signature of the message; None while true shares are missing.

        liars : validators whose shares are not looked at; who is found to have given a false one
                is added to them
        """
        while (chosen := self._choose(liars)) is not None:
            signature = self._add_up(chosen)
            key = self._genesis.beacon_point
            if signature is not None and verify(key, message, signature, tag=self._tag):
                return signature
            self._find_liars(message, chosen, liars)
        return None

    def _choose(self, liars: set[int]) -> dict[int, bytes] | None:
        """f + 1 shares, none of which was found false; None while they are missing."""
        fit = sorted(v for v in self._shares if v not in liars and self._tested.get(v, True))
        n_needed = self._genesis.n_faulty + 1
        return {v: self._shares[v] for v in fit[:n_needed]} if len(fit) >= n_needed else None

    def _add_up(self, chosen: dict[int, bytes]) -> bytes | None:
        """None where a share is no point."""
        try:
            return combine(chosen)
        except ValueError:
            return None

    def _find_liars(self, message: bytes, chosen: dict[int, bytes], liars: set[int]) -> None:
        """Of shares whose sum fails one at least is false: f + 1 true ones give the signature, as
        the keys of a genesis lie on one polynomial."""
        keys = self._genesis.share_points
        for validator, share in chosen.items():
            if validator not in self._tested:
                key = keys[validator : validator + 1]
                self._tested[validator] = verify_share(key, message, share, tag=self._tag)
        false = {validator for validator in chosen if not self._tested[validator]}
        assert false, "a sum of true shares is the signature"
        liars.update(false)


def _verify(key: G2Array, message: bytes, signature: bytes, tag: bytes) -> bool:
    point = decode_g1(signature, 1)
    if not isinstance(point, G1Array):
        return False
    pair = G1Array.concat([point, neg_g1(_hash(message, tag))])
    return pairing_product_is_one(pair, G2Array.concat([_G2_GENERATOR, key]))


def _hash(message: bytes, tag: bytes) -> G1Array:
    return G1Array.from_ints([hash_to_g1(message, tag)])


def _lagrange_at_zero(points: Sequence[int]) -> list[int]:
    """lambda_i = prod_{j != i} x_j / (x_j - x_i) mod r."""
    weights = []
    for i, x in enumerate(points):
        above, below = 1, 1
        for j, other in enumerate(points):
            if j != i:
                above = above * other % R
                below = below * (other - x) % R
        weights.append(above * pow(below, -1, R) % R)
    return weights
