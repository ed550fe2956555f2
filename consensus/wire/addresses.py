"""Fields for accounts of the EVM: kinds and lengths alone, which need no hash of its."""

from __future__ import annotations

from typing import Annotated

from prover.wire.kinds import Bytes

ADDRESS_BYTES = 20
ADDRESS_SIGNATURE_BYTES = 65

Address = Annotated[bytes, Bytes(ADDRESS_BYTES)]
"""Of an account: the last 20 bytes of the keccak256 of its public key."""
MaybeAddress = Annotated[bytes, Bytes(0, ADDRESS_BYTES, step=ADDRESS_BYTES)]
"""An address, or nothing."""
MaybeAddressSignature = Annotated[
    bytes, Bytes(0, ADDRESS_SIGNATURE_BYTES, step=ADDRESS_SIGNATURE_BYTES)
]
"""secp256k1: r | s | v, big-endian, or nothing."""
