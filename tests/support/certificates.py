"""Final blocks as validators of a lab would make them."""

from __future__ import annotations

from consensus.messages import Block, FinalBlock, QuorumCertificate, Step, Vote
from tests.support.learning import Lab


def certify(
    lab: Lab,
    block: Block,
    *,
    signers: tuple[int, ...] = (0, 1, 2),
    keys: tuple[int, ...] | None = None,
    step: int = Step.PRECOMMIT,
) -> FinalBlock:
    """keys : of the validators that sign, if they are not those that they say they are"""
    votes = tuple(
        lab.sign(
            Vote(
                step=int(step),
                height=block.height,
                round=0,
                block_hash=block.hash,
                validator=signer,
            ),
            lab.validators[key],
        )
        for signer, key in zip(signers, keys or signers, strict=True)
    )
    certificate = QuorumCertificate(
        height=block.height, round=0, block_hash=block.hash, votes=votes
    )
    return FinalBlock(block=block, certificate=certificate)
