"""How long the blobs of a chain may be, before anyone reads or takes one.

A client names what it contributes by a digest alone. What lies under that name, or what a validator
sends for it, may be anything: only its length can be known before all of it is read.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.aggregation.deal import Deal
from consensus.aggregation.masked import Masked
from consensus.learning.aggregate import count_global_bytes
from consensus.learning.training import MAX_BATCHES_BYTES, MAX_TRAJECTORY_BYTES
from consensus.wire.genesis import Task
from consensus.wire.gossip_messages import MAX_BLOB_BYTES
from kernels.encoding import FR_BYTES
from prover.wire.records import LENGTH_BYTES
from prover.wire.training import MAX_PROOFS_BYTES


def make_limit(task: Task) -> Callable[[bytes], int]:
    """The most bytes by digest: MAX_BLOB_BYTES of what the genesis names, else what the largest of
    a global model and the payloads of clients has.
    """
    digests = {*task.file_digests}
    n_global = count_global_bytes(task.architecture)
    n_masked = len(Masked.HEADER) + LENGTH_BYTES + FR_BYTES * (task.architecture.n_parameters + 1)
    sizes = [n_global, n_masked, Deal.MAX_BYTES]
    if task.training is not None:
        sizes += [MAX_BATCHES_BYTES, MAX_TRAJECTORY_BYTES, MAX_PROOFS_BYTES]
    most = min(max(sizes), MAX_BLOB_BYTES)
    return lambda digest: MAX_BLOB_BYTES if digest in digests else most
