"""Ledgers and certificates of final blocks, made once more by the letter of docs/WIRE.md."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from consensus.learning.beacon import deal
from kernels.bn254 import P, R
from kernels.encoding import Refused, decode_g2
from kernels.hash_to_curve import C1, C2, C3, hash_to_g1
from kernels.reference import mul_g1
from tests.support.contracts import Deployed, World, keccak256

TAG = b"zkpot-v1-finality-BN254G1_XMD:SHA-256_SVDW_RO_"
GENESIS = bytes(range(32))


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A client with an account, 20 bytes."""

    client_key: bytes
    account: bytes
    weight: int
    rewards: int = 0

    @property
    def address(self) -> str:
        return "0x" + self.account.hex()

    @property
    def words(self) -> tuple[bytes, str, int, int]:
        """The fields, as a contract takes them."""
        return self.client_key, self.address, self.weight, self.rewards

    def encode(self) -> bytes:
        numbers = (self.weight.to_bytes(32, "big"), self.rewards.to_bytes(32, "big"))
        return self.client_key + bytes(12) + self.account + b"".join(numbers)

    def hash(self) -> bytes:
        return keccak256(keccak256(self.encode()))


@dataclass(frozen=True)
class Tree:
    """OpenZeppelin's StandardMerkleTree: children of node i are 2i + 1 and 2i + 2, leaves last."""

    nodes: list[bytes]

    @classmethod
    def build(cls, hashes: list[bytes]) -> Tree:
        n = len(hashes)
        nodes = [b""] * (n - 1) + sorted(hashes, reverse=True)
        for i in reversed(range(n - 1)):
            nodes[i] = keccak256(b"".join(sorted(nodes[2 * i + 1 : 2 * i + 3])))
        return cls(nodes)

    @property
    def root(self) -> bytes:
        return self.nodes[0] if self.nodes else bytes(32)

    def prove(self, node: bytes) -> list[bytes]:
        """The siblings from a node, a leaf's hash say, to the root."""
        at = self.nodes.index(node)
        proof = []
        while at:
            proof.append(self.nodes[at + 1 if at % 2 else at - 1])
            at = (at - 1) // 2
        return proof


@dataclass(frozen=True)
class Ledger:
    """What a block says of all bound clients."""

    leaves: tuple[Leaf, ...]
    tree: Tree

    @classmethod
    def of(cls, *leaves: Leaf) -> Ledger:
        return cls(leaves, Tree.build([leaf.hash() for leaf in leaves]))

    def prove(self, leaf: Leaf) -> list[bytes]:
        return self.tree.prove(leaf.hash())


@dataclass(frozen=True, kw_only=True)
class Block:
    """What a certificate names of a block."""

    height: int
    ledger_root: bytes
    total_weight: int
    total_rewards: int = 0
    learning_round: int = 0
    block_hash: bytes = b"\xb1" * 32

    @classmethod
    def of(cls, height: int, ledger: Ledger) -> Block:
        return cls(
            height=height,
            ledger_root=ledger.tree.root,
            total_weight=sum(leaf.weight for leaf in ledger.leaves),
            total_rewards=sum(leaf.rewards for leaf in ledger.leaves),
        )

    @property
    def words(self) -> tuple[int, int, bytes, bytes, int, int]:
        """The arguments of `submit` before the signature."""
        numbers = self.height, self.learning_round
        return *numbers, self.block_hash, self.ledger_root, self.total_weight, self.total_rewards

    def encode(self, genesis: bytes = GENESIS) -> bytes:
        return (
            b"zkpot finality v1"
            + genesis
            + self.height.to_bytes(8, "big")
            + self.learning_round.to_bytes(8, "big")
            + self.block_hash
            + self.ledger_root
            + self.total_weight.to_bytes(16, "big")
            + self.total_rewards.to_bytes(16, "big")
        )


@dataclass(frozen=True, kw_only=True)
class LedgerProof:
    """What `zkpot chain proof` prints, as contracts take it. ways : of each leaf to the root"""

    genesis: bytes
    group_key: list[int]
    block: Block
    signature: list[int]
    leaves: list[Leaf]
    ways: list[list[bytes]]

    @classmethod
    def read(cls, value: dict[str, Any]) -> LedgerProof:
        """Of its JSON, by the letter of docs/WIRE.md."""
        certificate = value["certificate"]
        numbers = ("height", "learning_round", "total_weight", "total_rewards")
        return cls(
            genesis=to_bytes(value["genesis"]),
            group_key=read_words(value["group_key"]),
            block=Block(
                ledger_root=to_bytes(certificate["ledger_root"]),
                block_hash=to_bytes(certificate["block_hash"]),
                **{name: certificate[name] for name in numbers},
            ),
            signature=read_words(certificate["signature"]),
            leaves=[
                Leaf(
                    client_key=to_bytes(leaf["client_key"]),
                    account=to_bytes(leaf["account"]),
                    weight=leaf["weight"],
                    rewards=leaf["rewards"],
                )
                for leaf in value["leaves"]
            ],
            ways=[[to_bytes(node) for node in leaf["proof"]] for leaf in value["leaves"]],
        )

    @property
    def words(self) -> tuple[Any, ...]:
        """The arguments of `submit`."""
        return *self.block.words, self.signature

    def find(self, client_key: bytes) -> tuple[Leaf, list[bytes]]:
        """A client's leaf and its way."""
        found = zip(self.leaves, self.ways, strict=True)
        return next((leaf, way) for leaf, way in found if leaf.client_key == client_key)


def to_bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def read_words(words: list[str]) -> list[int]:
    return [int(word, 16) for word in words]


class Validators:
    """Four validators, of whom any two sign."""

    def __init__(self, seed: int = 1) -> None:
        keys = deal(n_validators=4, n_faulty=1, random_bytes=Random(seed).randbytes)
        self._secrets = [int.from_bytes(raw, "little") for raw in keys.secrets]
        group = decode_g2(keys.group, 1)
        assert not isinstance(group, Refused)
        (((x0, x1), (y0, y1)),) = group.to_ints()
        self.group_key = [x1, x0, y1, y0]

    def sign(
        self, message: bytes, *, tag: bytes = TAG, signers: tuple[int, int] = (0, 1)
    ) -> list[int]:
        """The signature of two: sum of lambda_i s_i H(m)."""
        i, j = (k + 1 for k in signers)
        inverse = pow(j - i, -1, R)
        secret = (self._secrets[i - 1] * j - self._secrets[j - 1] * i) * inverse % R
        return list(mul_g1(secret, hash_to_g1(message, tag)))

    def sign_alone(self, message: bytes, signer: int) -> list[int]:
        """One validator's share."""
        return list(mul_g1(self._secrets[signer], hash_to_g1(message, TAG)))


@dataclass
class Shown:
    """A chain whose blocks are shown to a contract."""

    world: World
    validators: Validators
    contract: Deployed
    height: int = 0

    @classmethod
    def deploy(cls, world: World, validators: Validators) -> Shown:
        contract = world.deploy("ZkpotFinality", validators.group_key, GENESIS)
        return cls(world, validators, contract)

    def certify(self, block: Block) -> tuple[Any, ...]:
        """The arguments of `submit`."""
        return *block.words, self.validators.sign(block.encode())

    def show(self, ledger: Ledger) -> Block:
        """The next block has this ledger, and the contract sees it."""
        self.height += 1
        block = Block.of(self.height, ledger)
        self.world.send(self.contract, "submit", *self.certify(block))
        return block


def make_leaf(number: int, weight: int, rewards: int = 0) -> Leaf:
    """A client of a ledger, drawn from its number."""
    rng = Random(number)
    key, account = rng.randbytes(32), rng.randbytes(20)
    return Leaf(client_key=key, account=account, weight=weight, rewards=rewards)


def count_candidates(u: int) -> int:
    """How many candidates the map tries for an element of F_p, one to three (RFC 9380, 6.6.1)."""
    t = C1 * u * u % P
    inverse = pow((1 - t) * (1 + t), P - 2, P)
    step = u * (1 - t) * inverse * C3
    for n, x in enumerate((C2 - step, C2 + step), 1):
        if pow(x**3 + 3, (P - 1) // 2, P) != P - 1:
            return n
    return 3
