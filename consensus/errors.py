"""Everything `consensus` raises on purpose. Bytes of strangers get None or a fault, no exception.

ConsensusError, a `kernels.errors.ZkpotError`
├── GenesisInvalid          the genesis is malformed or inconsistent
├── PoolInvalid             bytes are no pool of samples, or it is too small; a FieldInvalid, too
├── SnapshotInvalid         bytes are no state of this chain
├── BlobTooLarge            more bytes than a store takes
├── BlobUnavailable         the bytes of a digest cannot be had
│   ├── BlobMissing         they are not here
│   └── BlobCorrupt         what lies under the digest is something else
└── HomeInvalid             a node's folder cannot be used
    ├── LedgerError         for what it holds of the chain
    └── IdentityError       for the keys in it

None of them tells of a key, a model or a sample.
"""

from __future__ import annotations

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


class IdentityError(HomeInvalid):
    """A key cannot be made or read."""

    code = "identity_unusable"
