"""A proposal to OpenZeppelin's Governor, from its making to its execution."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from py_ecc.secp256k1 import secp256k1

from tests.support.contracts import DEPLOYER, Deployed, World, encode_call, keccak256

DAY_S = 86_400
EVM_CHAIN = 1
"""The chain id of the EVM in which contracts are tested."""


class Vote(IntEnum):
    AGAINST = 0
    FOR = 1


class State(IntEnum):
    DEFEATED = 3
    SUCCEEDED = 4
    EXECUTED = 7


class Proposal:
    """One call that a `ClientGovernor` is to make: a day until votes, then a week of them."""

    def __init__(
        self, world: World, governor: Deployed, target: Deployed, name: str, *values: Any, why: str
    ) -> None:
        self.world, self.governor, self.why = world, governor, why
        self.action = ([target.address], [0], [encode_call(target.artifact, name, values)])
        self.number = 0

    def propose(self, proposer: str = DEPLOYER) -> None:
        """And waits until votes are taken."""
        (self.number,) = self.world.send(
            self.governor, "propose", *self.action, self.why, caller=proposer
        )
        self.world.wait(DAY_S + 1)

    def vote(self, voter: str, choice: Vote) -> int:
        """The weight that the voter's own transaction has."""
        (weight,) = self.world.send(self.governor, "castVote", self.number, choice, caller=voter)
        return weight

    def vote_signed(self, voter: str, choice: Vote, signature: bytes) -> int:
        """Likewise, where somebody else sends what the voter has signed."""
        values = (self.number, choice, voter, signature)
        (weight,) = self.world.send(self.governor, "castVoteBySig", *values)
        return weight

    def sign_ballot(self, secret: bytes, voter: str, choice: Vote) -> bytes:
        """r, s, v of EIP-712 over the first ballot of a voter, by OpenZeppelin's types."""
        ballot = [
            keccak256(b"Ballot(uint256 proposalId,uint8 support,address voter,uint256 nonce)"),
            *(n.to_bytes(32, "big") for n in (self.number, choice, int(voter, 16), 0)),
        ]
        digest = hash_typed(hash_domain(b"clients", self.governor.address), *ballot)
        v, r, s = secp256k1.ecdsa_raw_sign(digest, secret)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])

    def end(self) -> int:
        """Its state once no votes are taken any more."""
        self.world.wait(8 * DAY_S)
        return self.get_state()

    def get_state(self) -> int:
        (state,) = self.world.send(self.governor, "state", self.number)
        return state

    def execute(self) -> None:
        self.world.send(self.governor, "execute", *self.action, keccak256(self.why.encode()))


def hash_domain(name: bytes, address: str) -> bytes:
    """Of a contract's EIP-712 domain, of version 1."""
    kind = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    words = [
        keccak256(kind),
        keccak256(name),
        keccak256(b"1"),
        *(n.to_bytes(32, "big") for n in (EVM_CHAIN, int(address, 16))),
    ]
    return keccak256(b"".join(words))


def hash_typed(domain: bytes, *words: bytes) -> bytes:
    """What is signed of a structure: its type's hash and its fields are the words."""
    return keccak256(b"\x19\x01" + domain + keccak256(b"".join(words)))


def find_address(secret: bytes) -> str:
    """The account of a private key."""
    x, y = secp256k1.privtopub(secret)
    return "0x" + keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:].hex()
