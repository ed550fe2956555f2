"""Final blocks as validators of a lab would make them."""

from __future__ import annotations

from typing import Any

from consensus.wire.messages import Block, FinalBlock
from tests.support.learning import Lab


def certify(lab: Lab, block: Block, **options: Any) -> FinalBlock:
    """With a certificate by `Lab.certify`."""
    certificate = lab.certify(block.height, block.hash, **options)
    return FinalBlock(block=block, certificate=certificate)
