"""Everything `consensus` raises on purpose. Bytes of strangers get None or a fault, no exception.

ConsensusError, a `kernels.errors.ZkpotError`
├── GenesisInvalid          the genesis is malformed or inconsistent
├── PoolInvalid             bytes are no pool of samples, or it is too small; a FieldInvalid, too
├── LedgerProofInvalid      a file is no proof of a ledger of this chain; a FieldInvalid, too
├── LeafMissing             a client has no leaf in the ledger
├── SnapshotInvalid         bytes are no state of this chain
├── AnswerRefused           what a round asks of a client would show its model
├── NameInvalid             no name of an object in a store
├── NoFile                  what lies under a name is no file
├── StoreFailed             the object store does not answer, or refuses
├── SealError               private content cannot be written or read
│   ├── StoreKeyMissing     the service has no key to seal with
│   ├── WrongStoreKey       it was sealed under another key
│   └── SealBroken          it is not what was written under its name
├── PeerInvalid             no address of a peer
├── BlobTooLarge            more bytes than a store takes
├── BlobUnavailable         the bytes of a digest cannot be had
│   ├── BlobMissing         they are not here
│   └── BlobCorrupt         what lies under the digest is something else
└── HomeInvalid             a node's folder cannot be used
    ├── LedgerError         for what it holds of the chain
    ├── CertificateMissing  it has no finality certificate of its blocks
    └── IdentityError       for the keys in it

None of them tells of a key, a model or a sample.
"""

from __future__ import annotations

import errno
from pathlib import Path

from kernels.errors import ZkpotError
from prover.errors import FieldInvalid


class ConsensusError(ZkpotError):
    """Root of the tree."""

    code = "consensus_error"


class GenesisInvalid(ConsensusError, ValueError):
    """The genesis is malformed or inconsistent. where : the field; what : what is wrong there."""

    code = "genesis_invalid"

    def __init__(self, where: str, what: str) -> None:
        self.where, self.what = where, what
        super().__init__(f"genesis: {where}: {what}; take the file that the chain was started with")


class PoolInvalid(ConsensusError, FieldInvalid):
    """The bytes are no pool, or the pool is too small for the task; `what` says which."""

    code = "pool_invalid"


class AnswerRefused(ConsensusError, ValueError):
    """What a round asks of a client could show its model, so it does not answer. what : why"""

    code = "answer_refused"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what}; the client stays out of the rest of this round")


class LedgerProofInvalid(ConsensusError, FieldInvalid):
    """A value is no proof of a ledger of this chain; `what` says why."""

    code = "ledger_proof_invalid"


class LeafMissing(ConsensusError):
    """A client has no leaf in the ledger.

    height        : of the block whose ledger it is
    is_registered : whether the client is there, and without an account
    """

    code = "no_leaf"

    def __init__(self, client_key: bytes, *, height: int, is_registered: bool) -> None:
        super().__init__(
            f"client {client_key.hex()} has no leaf in the ledger of block {height}: "
            + (_HAS_NO_ACCOUNT if is_registered else _IS_UNKNOWN)
        )


_HAS_NO_ACCOUNT = (
    "it registered without an account of its own, and a client is bound when it registers or "
    "never; join with a new --state folder and its own permit, and name the account there: `zkpot "
    "client join --address-key FILE`, or --address and --address-signature over what `zkpot client "
    "binding` prints"
)
_IS_UNKNOWN = (
    "it is not registered there; give the key that `zkpot client key` prints, or wait for the "
    "certificate of a later block"
)


class SnapshotInvalid(ConsensusError, ValueError):
    """These bytes are no state of this chain. The message says what is wrong and what to do."""

    code = "snapshot_invalid"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"snapshot: {what}; take one of another node of this chain")


class BlobTooLarge(ConsensusError, ValueError):
    """More bytes than a store takes."""

    code = "blob_too_large"


class BlobUnavailable(ConsensusError):
    """The bytes of a digest cannot be had. digest : 32 bytes; what : why"""

    code = "blob_unavailable"

    def __init__(self, digest: bytes, what: str) -> None:
        self.digest, self.what = digest, what
        super().__init__(f"blob {digest.hex()} {what}")


class BlobMissing(BlobUnavailable):
    """It is not here: fetch it from whoever named it."""

    code = "blob_missing"

    def __init__(self, digest: bytes) -> None:
        super().__init__(digest, "is not here")


class BlobCorrupt(BlobUnavailable):
    """What lies under the digest has another one, is too long, or no file: delete it and fetch it
    again."""

    code = "blob_corrupt"

    def __init__(self, digest: bytes) -> None:
        super().__init__(digest, "is corrupt on this machine")


class HomeInvalid(ConsensusError):
    """A node's folder cannot be used. path : in it; what : the trouble; next_step : what to do."""

    code = "bad_home"

    def __init__(self, path: Path, what: str, next_step: str) -> None:
        self.path, self.what, self.next_step = path, what, next_step
        super().__init__(f"{path}: {what}; {next_step}")


class LedgerError(HomeInvalid):
    """What the folder holds of the chain is damaged, of another chain, or in use."""

    code = "ledger_unusable"


class CertificateMissing(HomeInvalid):
    """There is no finality certificate, or not of blocks that are here."""

    code = "no_certificate"


class IdentityError(HomeInvalid):
    """A key cannot be made or read."""

    code = "identity_unusable"


# -- stores of content ----------------------------------------------------------------------------


class NameInvalid(ConsensusError, ValueError):
    """No name of an object: it could lead out of the store. It is not repeated: callers send it."""

    code = "name_invalid"

    def __init__(self) -> None:
        super().__init__("an object's name has letters, digits, '-', '_', '.' and single '/' alone")


class NoFile(ConsensusError, OSError):
    """What lies under a name is no file: a pipe, say, that nobody would ever fill."""

    code = "no_file"

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "no regular file", str(path))


class StoreFailed(ConsensusError, OSError):
    """The object store does not answer, or refuses. where : its URL; next_step : what to do"""

    code = "store_failed"

    def __init__(self, where: str, what: str, next_step: str) -> None:
        self.where, self.what, self.next_step = where, what, next_step
        super().__init__(errno.EIO, f"the object store {where} {what}; {next_step}")


class SealError(ConsensusError):
    """Private content cannot be written or read."""

    code = "seal_error"


class StoreKeyMissing(SealError):
    """The service has no key to seal with."""

    code = "store_key_missing"

    def __init__(self) -> None:
        super().__init__(
            "private content is not put into an object store unsealed: set ZKPOT_STORE_KEY to 64 "
            "hexadecimal digits (`openssl rand -hex 32`), or ZKPOT_STORE_KEY_FILE to a file with "
            "them, alike for the API and all workers"
        )


class WrongStoreKey(SealError):
    """The object was sealed under another key than this process has."""

    code = "wrong_store_key"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name} was sealed under another key: give API and workers the same ZKPOT_STORE_KEY; "
            "what was uploaded under a former one has to be uploaded again"
        )


class SealBroken(SealError):
    """The object is not what was written under its name."""

    code = "seal_broken"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name} was altered in the object store: upload it again, and see who may write there"
        )


class PeerInvalid(ConsensusError, ValueError):
    """No address of a peer."""

    code = "peer_invalid"
