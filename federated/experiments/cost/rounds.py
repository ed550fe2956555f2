"""One round of a chain, everybody in one process, phase by phase.

Every node does the same, so one is measured: it checks each block, opens the sum, signs two votes a
block and checks those of all. A network in between would cost time and no work.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from consensus.agreement.authentication import authenticate
from consensus.learning.chain import apply
from consensus.learning.chain_state import NO_MODEL, Phase
from consensus.wire.messages import FinalBlock, Step
from federated.experiments.chains.dealt import N_VALIDATORS, DealtChain
from federated.experiments.chains.play import Play
from federated.experiments.cost.crowd import Workshop, gather
from federated.experiments.cost.meter import OTHER, Meter, measure_hash_rate
from federated.experiments.kinds import Json

_ACTS = {
    Phase.REGISTER: OTHER,
    Phase.COMMIT: "commit",
    Phase.PROVE: "mask",
    Phase.MASK: "mask",
    Phase.UNMASK: "unmask",
}
"""What a client's work in a phase counts as, beyond what is measured within: with its proof it
deals shares of what its masks are drawn from."""
_CHECKS = {Phase.PROVE: "verify", Phase.MASK: "open", Phase.UNMASK: "open", Phase.ELECT: "open"}


def measure_round(workshop: Workshop, scratch: Path, *, n_clients: int, seed: int) -> Json:
    """{clients_cpu_s, clients_wall_s, node_cpu_s, node_wall_s: by phase, of all clients together
    and of one node; client_bytes, block_bytes, n_blocks, hash_rate}.

    client_bytes : what all clients send: transactions, and blobs that these name
    block_bytes  : of the final blocks, which name blobs
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cost-", dir=scratch))
    try:
        return _measure(workshop, folder / "chain", n_clients=n_clients, seed=seed)
    finally:
        shutil.rmtree(folder)


def _measure(workshop: Workshop, folder: Path, *, n_clients: int, seed: int) -> Json:
    clients, node = Meter(), Meter()
    chain, blobs, players = gather(workshop, folder, clients, n_clients=n_clients, seed=seed)
    play = Play(chain, players)
    finals: list[FinalBlock] = []
    given, sent_bytes = blobs.n_bytes, 0
    while play.state.phase is not Phase.DONE:
        phase = play.state.phase
        with clients.phase(_ACTS.get(phase, OTHER)):
            sent = play.collect()
        sent_bytes += sum(len(tx.encode()) for tx in sent)
        client_bytes = blobs.n_bytes - given
        with node.phase(_CHECKS.get(phase, OTHER)):
            block = chain.make_block(play.state, play.parent, sent)
            fault = chain.verifier.check(play.state, block)
            after = apply(play.state, block)
        assert fault is None, f"an honest block is refused: {fault}"
        final = chain.finish(block)
        _vote(chain, final, node)
        play.take(final, after)
        finals.append(final)
    unmasked = len(finals[-1].block.aggregate[0].entries)
    assert unmasked == n_clients, "not all are in the mean"
    assert play.state.global_model != NO_MODEL, "the sum did not open"
    return {
        "origin": workshop.origin,
        "clients_cpu_s": dict(clients.cpu_s),
        "clients_wall_s": dict(clients.wall_s),
        "node_cpu_s": dict(node.cpu_s),
        "node_wall_s": dict(node.wall_s),
        "client_bytes": sent_bytes + client_bytes,
        "block_bytes": sum(len(final.encode()) for final in finals),
        "n_blocks": len(finals),
        "hash_rate": measure_hash_rate(),
    }


def _vote(chain: DealtChain, final: FinalBlock, node: Meter) -> None:
    """One node's: it signs its prevote and precommit, checks everybody's, and the certificate."""
    for step in (Step.PREVOTE, Step.PRECOMMIT):
        theirs = chain.sign_votes(final.block, step, range(1, N_VALIDATORS))
        with node.phase("vote"):
            own = chain.sign_votes(final.block, step, [0])
            for vote in (*own, *theirs):
                assert authenticate(vote, chain.genesis) is None, "a validator has signed"
    with node.phase("vote"):
        assert authenticate(final.certificate, chain.genesis) is None, "2f + 1 have signed"
