"""What a statement says about data: the digest of a shard's samples AND labels.

The verifier recomputes it from the very arrays it evaluates the statement on, so it lives here and
not with the downloads.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from kernels.numpy_types import UInt8Array
from prover.errors import ShapeMismatch

DOMAIN = b"zkpot shard v1\x00"


def shard_digest(images: UInt8Array, labels: UInt8Array) -> bytes:
    """sha256 over domain tag | rank u32 | dims u64 ... | samples | n u64 | labels; 32 bytes.

    images : uint8[N, ...], the shape is part of the digest
    labels : uint8[N]
    holds  : rank and dims fix the length of what follows, so two different shards have different
             encodings
    """
    if images.dtype != np.uint8 or labels.dtype != np.uint8 or images.ndim < 2:
        raise ShapeMismatch(
            f"a shard is samples uint8[N, ...] and labels uint8[N], got "
            f"{images.dtype}{list(images.shape)} and {labels.dtype}{list(labels.shape)}"
        )
    if labels.shape != images.shape[:1]:
        raise ShapeMismatch(f"{images.shape[0]} samples, labels of shape {list(labels.shape)}")
    digest = hashlib.sha256(DOMAIN)
    digest.update(struct.pack(f"<I{images.ndim}Q", images.ndim, *images.shape))
    digest.update(np.ascontiguousarray(images).data)
    digest.update(struct.pack("<Q", labels.shape[0]))
    digest.update(np.ascontiguousarray(labels).data)
    return digest.digest()
