"""Certificates of final blocks for who follows no chain: one signature, checked by one equation.

    message   m = `zkpot finality v1` | genesis 32 | height 8 | learning round 8 | block hash 32 |
                  ledger root 32 | total weight 16 | total rewards 16          161 bytes, big-endian
    share     S_i = s_i H(m),  H into G1 under a tag of its own
    verified  e(S, G2) = e(H(m), [s]_2),  S of any f + 1 shares

The keys are those of the beacon (`consensus.learning.beacon`); messages of the two are hashed under
different tags, so no share of one is a share of the other.

Why f + 1 shares prove finality: among f + 1 validators one is correct, and a correct one signs a
share only for a block that is final for it, on its disk with 2f + 1 precommits. So the share is not
a part of a precommit: f + 1 precommits alone decide nothing. All correct validators have the same
block and state of a height, hence sign the same message; a share is a function of it, and to sign
it once more after a restart says nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.finality.ledger import read_ledger
from consensus.learning import beacon
from consensus.learning.chain_state import ChainState
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis

TAG = b"zkpot-v1-finality-BN254G1_XMD:SHA-256_SVDW_RO_"
_NAME = b"zkpot finality v1"
_NUMBER_BYTES, _TOTAL_BYTES = 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a certificate says, of the state after the block of `height`, 1 or above."""

    height: int
    learning_round: int
    block_hash: bytes
    ledger_root: bytes
    total_weight: int
    total_rewards: int

    @classmethod
    def of(cls, state: ChainState) -> Statement:
        """What is to be said of a state after a final block. ValueError before the first."""
        if state.height == 0:
            raise ValueError("no block is final yet: there is nothing to certify")
        ledger = read_ledger(state)
        return cls(
            height=state.height,
            learning_round=state.learning_round,
            block_hash=state.head,
            ledger_root=ledger.root,
            total_weight=ledger.total_weight,
            total_rewards=ledger.total_rewards,
        )

    @classmethod
    def read(cls, certificate: FinalityCertificate) -> Statement:
        """What a certificate says, whether or not it is signed."""
        return cls(**{name: getattr(certificate, name) for name in cls.__slots__})

    def encode(self, genesis_digest: bytes) -> bytes:
        """The message that is signed, of a chain."""
        numbers = (self.height, self.learning_round)
        totals = (self.total_weight, self.total_rewards)
        return b"".join(
            (
                _NAME,
                genesis_digest,
                *(n.to_bytes(_NUMBER_BYTES, "big") for n in numbers),
                self.block_hash,
                self.ledger_root,
                *(n.to_bytes(_TOTAL_BYTES, "big") for n in totals),
            )
        )

    def certify(self, signature: bytes) -> FinalityCertificate:
        """The certificate with a group's signature, which is not checked."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return FinalityCertificate(**fields, signature=signature)


def sign_share(secret: bytes, message: bytes) -> bytes:
    """A validator's share, compressed; of a block that is final for it, and of no other.

    Raises ValueError when `secret` is none of a dealer's.
    """
    return beacon.sign_share(secret, message, tag=TAG)


def is_signed(genesis: Genesis, message: bytes, signature: bytes) -> bool:
    """Whether this is the group's signature of the message. Any bytes."""
    return beacon.verify(genesis.beacon_point, message, signature, tag=TAG)


def find_fault(certificate: FinalityCertificate, genesis: Genesis) -> str | None:
    """What is wrong with a certificate of this chain, or None: then its block is final."""
    message = Statement.read(certificate).encode(genesis.digest)
    if is_signed(genesis, message, certificate.signature):
        return None
    return "the signature is not that of this chain's validators for these values"
