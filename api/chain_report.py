"""What `zkpot chain verify` says of a chain that holds: which one, how far, from where on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from consensus.block_files import StoredChain
from consensus.chain import ChainState

_NOT_COMPARED = {
    "genesis": "not compared: --genesis-digest",
    "head": "not compared: --head",
    "height": "not compared: --min-height",
}


def describe_chain(chain: StoredChain, state: ChainState) -> dict[str, Any]:
    """For machines. state : after the last block"""
    return {
        "genesis": state.genesis.digest.hex(),
        "first": chain.start.height + 1,
        "height": state.height,
        "head": state.head.hex(),
        "phase": state.phase.value,
    }


def report_chain(chain: StoredChain, state: ChainState, compared: Collection[str]) -> str:
    """For people. compared : which of genesis, head and height the caller gave"""
    told = describe_chain(chain, state)
    lines = [f"valid: {len(chain)} blocks, every vote and proof in them"]
    for name, option in _NOT_COMPARED.items():
        note = "as given" if name in compared else option
        lines.append(f"  {name:8}{told[name]} ({note})")
    if not chain.is_whole:
        lines += [
            f"from a snapshot on: blocks 1 to {chain.start.height} are not here; the state after",
            "  them is what 2f + 1 validators of the genesis signed in the block that follows",
        ]
    return "\n".join(lines)
