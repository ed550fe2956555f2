"""What `zkpot chain verify` says of a chain that holds: which one, how far, from where on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from consensus.disk.block_files import StoredChain
from consensus.finality.ledger import Leaf
from consensus.learning.chain_state import ChainState
from consensus.wire.ethereum import format_address
from consensus.wire.finality import FinalityCertificate

_LAST_MS = 253_402_300_799_000
"""The end of the year 9999, and of what can be written as a date."""
_NOT_COMPARED = {
    "genesis": "not compared: --genesis-digest",
    "head": "not compared: --head",
    "height": "not compared: --min-height",
}


def describe_chain(
    chain: StoredChain, state: ChainState, *, final_ms: int, now_ms: int
) -> dict[str, Any]:
    """What the chain is, for machines.

    state    : after the last block
    final_ms : when that became final, by the clocks of those who signed
    """
    return {
        "genesis": state.genesis.digest.hex(),
        "first": chain.start.height + 1,
        "height": state.height,
        "head": state.head.hex(),
        "phase": state.phase.value,
        "final_ms": final_ms,
        "age_s": (now_ms - final_ms) // 1000,
    }


def report_chain(chain: StoredChain, told: dict[str, Any], compared: Collection[str]) -> str:
    """What the chain is, for people. told : of `describe_chain`; compared : which of its values the
    caller gave
    """
    lines = [f"valid: {len(chain)} blocks, every vote and proof in them"]
    for name, option in _NOT_COMPARED.items():
        note = "as given" if name in compared else option
        lines.append(f"  {name:8}{told[name]} ({note})")
    moment = datetime.fromtimestamp(min(told["final_ms"], _LAST_MS) / 1000, UTC)
    age = _describe_age(told["age_s"])
    lines.append(f"  {'time':8}{moment:%Y-%m-%d %H:%M:%S} UTC, {age}")
    if told["sums_not_added_up"]:
        lines += [
            f"sums of {told['sums_not_added_up']} learning rounds were not added up again: what "
            "clients sent",
            "  for them is not here any more; a node with --archive keeps it",
        ]
    if told["trainings_not_checked"]:
        lines += [
            f"the training behind {told['trainings_not_checked']} proofs was not checked again: "
            "what clients showed",
            "  of it is not here any more; a node with --archive keeps it",
        ]
    if not chain.is_whole:
        lines += [
            f"from a snapshot on: blocks 1 to {chain.start.height} are not here; the state after",
            "  them is what 2f + 1 validators of the genesis signed in the block that follows",
        ]
    return "\n".join(lines)


def _describe_age(age_s: int) -> str:
    """A chain that is behind looks like one that is idle: say how long nothing has come."""
    if age_s < 0:
        return f"{timedelta(seconds=-age_s)} ahead of the clock of this machine"
    return f"{timedelta(seconds=age_s)} ago; blocks since may be missing here"


def report_proof(certificate: FinalityCertificate, leaves: Iterable[Leaf]) -> str:
    """What a proof that holds says, for people."""
    lines = [
        f"valid: block {certificate.height}, {certificate.block_hash.hex()}, is final",
        f"  learning round  {certificate.learning_round}",
        f"  ledger root     {certificate.ledger_root.hex()}",
        f"  total weight    {certificate.total_weight}",
        f"  total rewards   {certificate.total_rewards}",
    ]
    lines += [
        f"  {format_address(leaf.account)} of client {leaf.client_key.hex()}: "
        f"weight {leaf.weight}, rewards {leaf.rewards}"
        for leaf in leaves
    ]
    return "\n".join(lines)
