"""The newest finality certificate of a node, in its folder.

    HOME/finality.cert   `consensus.wire.finality.FinalityCertificate`, replaced with each new one

It is public and may be lost: a running node makes the next one from shares of its peers.
"""

from __future__ import annotations

from pathlib import Path

from consensus.finality.certificate import find_fault
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis
from kernels.files import write_whole
from prover.errors import FormatError

CERTIFICATE = "finality.cert"


def save_certificate(home: Path, certificate: FinalityCertificate) -> None:
    """Into the folder, whole, though it may not have reached the disk yet. Raises OSError."""
    write_whole(home / CERTIFICATE, [certificate.encode()], is_cache=True)


def load_certificate(home: Path, genesis: Genesis) -> FinalityCertificate | None:
    """What `save_certificate` wrote; None where nothing is, or what does not hold on this chain.

    Raises OSError. Costs one pairing.
    """
    path = home / CERTIFICATE
    try:
        with path.open("rb") as file:
            certificate = FinalityCertificate.decode(file.read(FinalityCertificate.MAX_BYTES + 1))
    except (FileNotFoundError, FormatError):
        return None
    return certificate if find_fault(certificate, genesis) is None else None
