"""How long the blobs of a chain may be, before anyone reads or takes one.

A client names its model by a digest alone. What lies under that name, or what a validator sends for
it, may be anything: only its length can be known before all of it is read.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.learning.aggregate import count_global_bytes
from consensus.wire.genesis import Task
from consensus.wire.gossip_messages import MAX_BLOB_BYTES
from prover.model.zkq import count_model_bytes


def make_limit(task: Task) -> Callable[[bytes], int]:
    """The most bytes by digest: MAX_BLOB_BYTES of what the genesis names, else of a model."""
    digests = {task.verifying_key_digest, *task.pools}
    n_model = count_model_bytes(task.architecture)
    n_global = count_global_bytes(task.architecture)
    most = min(max(n_model, n_global), MAX_BLOB_BYTES)
    return lambda digest: MAX_BLOB_BYTES if digest in digests else most
