"""A development chain: one party deals all keys, on disk, for a demonstration or a test network.

    FOLDER/genesis.json            what everyone needs, and all that anyone trusts
    FOLDER/admission.key           lets clients register
    FOLDER/node-I/validator.key    Ed25519, signs votes
    FOLDER/node-I/validator.signed the last place that it signed at (`consensus.disk.place`)
    FOLDER/node-I/beacon.key       share of the beacon
    FOLDER/blobs/                  keys of the circuit, test pool, later models

Whoever dealt the beacon's shares can foresee it: a production chain needs a distributed generation.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.disk.identity import (
    KEY_FILE,
    Identity,
    create_key,
    get_public_key,
    load_key,
    load_seed,
)
from consensus.disk.place import PLACE_FILE, SignedPlace
from consensus.errors import IdentityError
from consensus.learning import beacon
from consensus.wire.genesis import Genesis, Task, Timeouts, Validator
from consensus.wire.transactions import permit_bytes
from kernels.files import write_whole
from prover.randomness import RandomBytes

GENESIS, ADMISSION, BEACON, BLOBS = "genesis.json", "admission.key", "beacon.key", "blobs"
SEED_BYTES = 32


def node_home(folder: Path, index: int) -> Path:
    """The folder of a validator."""
    return folder / f"node-{index}"


def create_chain(
    folder: Path,
    *,
    chain_id: bytes,
    task: Task,
    timeouts: Timeouts,
    n_validators: int,
    random_bytes: RandomBytes,
) -> Genesis:
    """Writes genesis and all keys, never over others.

    Raises IdentityError, OSError, GenesisInvalid.

    random_bytes : of the system; everything secret comes from it
    """
    dealt = beacon.deal(
        n_validators=n_validators, n_faulty=(n_validators - 1) // 3, random_bytes=random_bytes
    )
    seeds = [random_bytes(SEED_BYTES) for _ in range(n_validators)]
    admission = random_bytes(SEED_BYTES)
    genesis = Genesis(
        chain_id=chain_id,
        validators=tuple(
            Validator(key=_derive_public(seed), beacon_share=share)
            for seed, share in zip(seeds, dealt.shares, strict=True)
        ),
        beacon_key=dealt.group,
        admission_key=_derive_public(admission),
        task=task,
        timeouts=timeouts,
    )
    # Only now, or a genesis that cannot be would leave keys in the way of the next attempt; as a
    # disk without room for all would, so keys without a genesis are taken back.
    with ExitStack() as undo:

        def create(home: Path, secret: bytes, name: str) -> None:
            create_key(home, secret, name)
            undo.callback((home / name).unlink, missing_ok=True)

        create(folder, admission, ADMISSION)
        for i, (seed, secret) in enumerate(zip(seeds, dealt.secrets, strict=True)):
            home = node_home(folder, i)
            create(home, seed, KEY_FILE)
            create(home, secret, BEACON)
            SignedPlace.create(home, genesis.digest, genesis.validators[i].key)
            undo.callback((home / PLACE_FILE).unlink, missing_ok=True)
        write_whole(folder / GENESIS, [genesis.encode()])
        undo.pop_all()
    return genesis


def _derive_public(seed: bytes) -> bytes:
    return get_public_key(Ed25519PrivateKey.from_private_bytes(seed))


def load_identity(home: Path, genesis: Genesis) -> Identity:
    """The identity of the validator whose keys lie in the folder. Raises IdentityError."""
    key = load_key(home)
    public = get_public_key(key)
    for index, validator in enumerate(genesis.validators):
        if validator.key == public:
            return Identity(
                index=index,
                key=key,
                beacon_secret=load_seed(home, BEACON),
                place=SignedPlace.load(home, genesis.digest, public),
            )
    raise IdentityError(
        home / KEY_FILE, "is no validator's of this genesis", "name the genesis it was made with"
    )


def sign_permit(admission: Ed25519PrivateKey, genesis_digest: bytes, client_key: bytes) -> bytes:
    """Lets the client of this key register."""
    return admission.sign(permit_bytes(genesis_digest, client_key))
