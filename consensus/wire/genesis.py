"""Genesis: who validates, what is trained, and how the two go on. All that a node must trust.

One canonical JSON file (sorted keys, no spaces, ASCII, byte strings in hexadecimal, one line end);
its digest is the parent of block 1. Everything else a node reads is named by digest in here, signed
by someone named in here, or proven under a key named in here.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from consensus.aggregation.graph import LEAST_MEMBERS, compute_bounds
from consensus.aggregation.masked import MAX_PARAMETERS
from consensus.errors import GenesisInvalid
from consensus.wire.beacon_keys import decode_share_keys, require_one_sharing
from consensus.wire.codec import KEY_BYTES, MAX_TRANSACTIONS, MAX_VALIDATORS
from consensus.wire.reading import (
    read_float,
    read_hex,
    read_list,
    read_name,
    read_object,
    require,
    require_bytes,
    require_name,
    require_number,
)
from consensus.wire.task_norm import TaskNorm
from consensus.wire.task_training import TaskTraining
from kernels.array import G2Array
from prover.circuit.public_inputs import MAX_SAMPLES, PublicLayout
from prover.circuit.sizes import require_circuit
from prover.errors import ArchitectureInvalid
from prover.keys.card import KeyCard
from prover.model.network import Architecture, canonical_json
from prover.wire.kinds import DIGEST_BYTES

VERSION = 3
MAX_GENESIS_BYTES = 1 << 20
LEAST_SAMPLES = 256  # fewer make the count an oracle on single samples
MAX_PHASE_MS = 366 * 86_400_000
MAX_ROUNDS = 1 << 16
MAX_TIMEOUT_MS = 86_400_000
MAX_SCALES = 1024
_DOMAIN = b"zkpot genesis v3\x00"
PHASES_MS = (
    *("register_ms", "commit_ms", "prove_ms"),
    *("mask_ms", "unmask_ms", "attest_ms", "reveal_ms"),
)
"""Lengths of the phases that wait for clients."""


def set_phases(length_ms: int) -> dict[str, Any]:
    """The fields of a task all of whose phases are of one length."""
    return dict.fromkeys(PHASES_MS, length_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """key : Ed25519; beacon_share : public key of its beacon share, compressed point of G2"""

    key: bytes
    beacon_share: bytes

    def __post_init__(self) -> None:
        require_bytes("validators.key", self.key, KEY_BYTES)
        decode_share_keys("validators.beacon_share", (self.beacon_share,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Times of the steps of round 0, what each further round adds, and when an empty block is made.

    empty_block_ms, longest_empty_ms : the wait for something due, first and at most
                                       (`consensus.learning.pace`)
    """

    propose_ms: int
    prevote_ms: int
    precommit_ms: int
    increase_ms: int
    empty_block_ms: int
    longest_empty_ms: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            require_number(f"timeouts.{name}", getattr(self, name), 1, MAX_TIMEOUT_MS)
        holds = self.longest_empty_ms >= self.empty_block_ms
        require("timeouts.longest_empty_ms", holds, "is less than empty_block_ms")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what it is tested, and the length of a learning round's phases.

    architecture          : with the multipliers of the task
    verifying_key_digest  : sha256 of `verifying.key`, whose card is `card`
    pools                 : sha256 of the test pool (`consensus.learning.samples`); of a sealed task
                            one for each round, published when the commits of the round are final
    n_samples             : of the circuit, and drawn from the pool for every round; at least 256
                            unless `allow_few_samples` (for tests of the software)
    threshold             : least claimed count of a proof that counts, 1 to n_samples
    margin                : how many more than the global model a proof must show on the same
                            samples, -n_samples to n_samples: below 0 it may show so many fewer;
                            None: it need not show more or less than the threshold
    n_expected            : clients at most; as soon as so many are in, registration closes
    collusion             : C, how many clients of a round may work together with validators
                            without learning more than sums of C + 2 models or more
    *_ms                  : how long a phase waits for clients, by the time of blocks, see
                            `consensus.learning.chain`
    norm                  : bounds on updates around the global model; None: there are none
    training              : how clients train, and how many of their steps are proven; None: as they
                            like, and nothing is proven of it
    ceremonies            : sha256 of the transcript of each key's ceremony, in the order of
                            `key_digests`, which has to hold; none: validators rely on who made them
    scales                : named lists of numbers that the clients share (quantization); the chain
                            does not read them
    """

    task_id: bytes
    architecture: Architecture
    circuit_digest: bytes
    verifying_key_digest: bytes
    sealed: bool
    pools: tuple[bytes, ...]
    n_samples: int
    threshold: int
    margin: int | None
    n_rounds: int
    n_expected: int
    collusion: int
    register_ms: int
    commit_ms: int
    prove_ms: int
    mask_ms: int
    unmask_ms: int
    attest_ms: int
    reveal_ms: int
    allow_few_samples: bool = False
    norm: TaskNorm | None = None
    training: TaskTraining | None = None
    ceremonies: tuple[bytes, ...] = ()
    scales: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def __post_init__(self) -> None:
        require_name("task.task_id", self.task_id)
        for name in ("circuit_digest", "verifying_key_digest"):
            require_bytes(f"task.{name}", getattr(self, name), DIGEST_BYTES)
        for name in ("sealed", "allow_few_samples"):
            require(f"task.{name}", type(getattr(self, name)) is bool, "is not true or false")
        require_number("task.n_rounds", self.n_rounds, 1, MAX_ROUNDS)
        n_pools = self.n_rounds if self.sealed else 1
        require("task.pools", len(self.pools) == n_pools, f"are not {n_pools}")
        for digest in self.pools:
            require_bytes("task.pools", digest, DIGEST_BYTES)
        least = 2 if self.allow_few_samples else LEAST_SAMPLES
        require_number("task.n_samples", self.n_samples, least, MAX_SAMPLES)
        fits = self.architecture.n_parameters <= MAX_PARAMETERS
        require("task.architecture", fits, f"has more than {MAX_PARAMETERS} parameters")
        try:
            require_circuit(self.architecture, self.n_samples)
        except ArchitectureInvalid as error:
            raise GenesisInvalid("task.n_samples", str(error)) from None
        require_number("task.threshold", self.threshold, 1, self.n_samples)
        if self.margin is not None:
            require_number("task.margin", self.margin, -self.n_samples, self.n_samples)
        require_number("task.n_expected", self.n_expected, LEAST_MEMBERS, MAX_TRANSACTIONS)
        require_number("task.collusion", self.collusion, 0, self.n_expected - 2)
        try:
            compute_bounds(self.n_expected, self.collusion)
        except ValueError as error:
            raise GenesisInvalid("task.collusion", str(error)) from None
        for name in PHASES_MS:
            require_number(f"task.{name}", getattr(self, name), 1, MAX_PHASE_MS)
        if self.norm is not None:
            self.norm.require_circuit(self.architecture)
        if self.training is not None:
            self.training.require_recipe(self.architecture)
        whole = len(self.ceremonies) in (0, len(self.key_digests))
        require("task.ceremonies", whole, "are not one for each key, or none")
        for digest in self.ceremonies:
            require_bytes("task.ceremonies", digest, DIGEST_BYTES)
        _require_scales(self.scales)

    @cached_property
    def layout(self) -> PublicLayout:
        """What a verifier computes from the drawn samples."""
        return PublicLayout(self.architecture, self.n_samples)

    @cached_property
    def card(self) -> KeyCard:
        """The card that the verifying key must name: architecture, samples and circuit are its."""
        return KeyCard(
            architecture=self.architecture,
            n_samples=self.n_samples,
            circuit_digest=self.circuit_digest,
        )

    @property
    def key_digests(self) -> tuple[bytes, ...]:
        """Of every verifying key that proofs of this task name."""
        norm = () if self.norm is None else (self.norm.verifying_key_digest,)
        training = () if self.training is None else self.training.key_digests
        return self.verifying_key_digest, *norm, *training

    @property
    def file_digests(self) -> tuple[bytes, ...]:
        """Of every file that the task names: keys, their ceremonies, pools."""
        return (*self.key_digests, *self.ceremonies, *self.pools)

    def find_ceremony(self, key_digest: bytes) -> bytes | None:
        """The transcript that this key of the task must have come from; None: any, or none."""
        named = zip(self.key_digests, self.ceremonies, strict=False)
        return dict(named).get(key_digest)

    def get_pool(self, learning_round: int) -> bytes:
        """Digest of the pool that this round draws from."""
        return self.pools[learning_round if self.sealed else 0]

    def get_scales(self, name: str) -> tuple[float, ...]:
        """A named list of shared numbers; KeyError when the task has none of that name."""
        return dict(self.scales)[name]

    def to_json(self) -> dict[str, Any]:
        numbers = ("n_samples", "threshold", "margin", "n_rounds", "n_expected", "collusion")
        digests = ("circuit_digest", "verifying_key_digest")
        return {
            "task_id": self.task_id.decode("ascii"),
            "architecture": self.architecture.to_manifest(),
            **{name: getattr(self, name).hex() for name in digests},
            **{name: getattr(self, name) for name in (*numbers, *PHASES_MS)},
            "sealed": self.sealed,
            "pools": [digest.hex() for digest in self.pools],
            "allow_few_samples": self.allow_few_samples,
            "norm": None if self.norm is None else self.norm.to_json(),
            "training": None if self.training is None else self.training.to_json(),
            "ceremonies": [digest.hex() for digest in self.ceremonies],
            "scales": {name: [x.hex() for x in values] for name, values in self.scales},
        }

    @classmethod
    def from_json(cls, value: object) -> Task:
        fields = read_object("task", value, cls.__dataclass_fields__.keys())
        try:
            architecture = Architecture.from_manifest(fields["architecture"])
        except ArchitectureInvalid as error:
            raise GenesisInvalid("task.architecture", str(error)) from None
        return cls(
            **fields
            | {
                "task_id": read_name("task.task_id", fields["task_id"]),
                "architecture": architecture,
                **{
                    name: read_hex(f"task.{name}", fields[name])
                    for name in ("circuit_digest", "verifying_key_digest")
                },
                "pools": read_list("task.pools", fields["pools"], read_hex),
                "ceremonies": read_list("task.ceremonies", fields["ceremonies"], read_hex),
                **{
                    name: None if fields[name] is None else kind.from_json(fields[name])
                    for name, kind in (("norm", TaskNorm), ("training", TaskTraining))
                },
                "scales": _read_scales("task.scales", fields["scales"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """The first word of a chain.

    chain_id      : for people; other chains may have the same, so nothing is signed for it
    validators    : n = 3f + 1 of them, named by their index
    beacon_key    : public key of the whole beacon, compressed point of G2; f + 1 shares sign, of
                    any validators: their public keys lie on one polynomial of degree f
    admission_key : Ed25519 key whose permit lets a client register
    """

    chain_id: bytes
    validators: tuple[Validator, ...]
    beacon_key: bytes
    admission_key: bytes
    task: Task
    timeouts: Timeouts

    def __post_init__(self) -> None:
        require_name("chain_id", self.chain_id)
        n = len(self.validators)
        require("validators", 1 <= n <= MAX_VALIDATORS, f"are not 1 to {MAX_VALIDATORS}")
        require("validators", n % 3 == 1, "are not 3f + 1")
        distinct = len({v.key for v in self.validators}) == n
        require("validators", distinct, "share a key")
        require_bytes("admission_key", self.admission_key, KEY_BYTES)
        require_one_sharing(self.beacon_point, self.share_points, self.n_faulty)

    @property
    def n_validators(self) -> int:
        return len(self.validators)

    @property
    def n_faulty(self) -> int:
        """f: how many validators may be faulty."""
        return (self.n_validators - 1) // 3

    @cached_property
    def beacon_point(self) -> G2Array:
        """`beacon_key`, array of length 1."""
        return decode_share_keys("beacon_key", (self.beacon_key,))

    @cached_property
    def share_points(self) -> G2Array:
        """Every validator's `beacon_share`, by index."""
        keys = tuple(v.beacon_share for v in self.validators)
        return decode_share_keys("validators.beacon_share", keys)

    @cached_property
    def digest(self) -> bytes:
        """sha256 of a domain tag and the file's bytes: what signatures name, parent of block 1."""
        return hashlib.sha256(_DOMAIN + self.encode()).digest()

    @property
    def name(self) -> bytes:
        """The digest in hexadecimal: what statements of proofs have as their chain id."""
        return self.digest.hex().encode("ascii")

    def encode(self) -> bytes:
        """The file's bytes."""
        value = {
            "version": VERSION,
            "chain_id": self.chain_id.decode("ascii"),
            "validators": [
                {"key": v.key.hex(), "beacon_share": v.beacon_share.hex()} for v in self.validators
            ],
            "beacon_key": self.beacon_key.hex(),
            "admission_key": self.admission_key.hex(),
            "task": self.task.to_json(),
            "timeouts": {name: getattr(self.timeouts, name) for name in Timeouts.__slots__},
        }
        return canonical_json(value) + b"\n"

    @classmethod
    def decode(cls, raw: bytes) -> Genesis:
        """Inverse of `encode`. Raises GenesisInvalid for every other byte string."""
        require("file", len(raw) <= MAX_GENESIS_BYTES, f"is above {MAX_GENESIS_BYTES} bytes")
        try:
            value = json.loads(raw.decode("ascii"))
        except (ValueError, RecursionError):
            raise GenesisInvalid("file", "is no JSON") from None
        fields = read_object("file", value, {"version", *cls.__dataclass_fields__})
        require("version", fields.pop("version") == VERSION, f"is not {VERSION}")
        genesis = cls(
            chain_id=read_name("chain_id", fields["chain_id"]),
            validators=read_list("validators", fields["validators"], _read_validator),
            beacon_key=read_hex("beacon_key", fields["beacon_key"]),
            admission_key=read_hex("admission_key", fields["admission_key"]),
            task=Task.from_json(fields["task"]),
            timeouts=Timeouts(**read_object("timeouts", fields["timeouts"], Timeouts.__slots__)),
        )
        require("file", genesis.encode() == raw, "is not in canonical form")
        return genesis


# -- parts -----------------------------------------------------------------------------------------


def _require_scales(scales: tuple[tuple[str, tuple[float, ...]], ...]) -> None:
    names = [name for name, _ in scales]
    values = [x for _, numbers in scales for x in numbers]
    require("task.scales", names == sorted(set(names)), "are not by ascending name")
    require("task.scales", all(n.isascii() for n in names), "have names beyond ASCII")
    require("task.scales", len(names) + len(values) <= MAX_SCALES, "are too many")
    finite = all(type(x) is float and math.isfinite(x) for x in values)
    require("task.scales", finite, "hold something other than finite floats")


def _read_validator(where: str, value: object) -> Validator:
    fields = read_object(where, value, Validator.__slots__)
    return Validator(**{name: read_hex(f"{where}.{name}", x) for name, x in fields.items()})


def _read_scales(where: str, value: object) -> tuple[tuple[str, tuple[float, ...]], ...]:
    if not isinstance(value, dict):
        raise GenesisInvalid(where, "is no object")
    return tuple((name, read_list(where, value[name], read_float)) for name in sorted(value))
