"""A node's side of secure aggregation: from what final blocks name to verdicts and the outcome.

The arithmetic is `consensus.aggregation`, which knows neither blocks nor blobs. Of this round are
remembered what all say of the masks, and each client's shares; masked models are read one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TypeVar

from consensus.aggregation import deal, masked, unmasking
from consensus.aggregation.circle import Circle
from consensus.aggregation.deal import Deal, Deals
from consensus.aggregation.dispute import (
    Attestation,
    PairCommitments,
    Revelation,
    find_attestation_fault,
    find_revelation_fault,
)
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import Masker
from consensus.aggregation.opening import Final, Opening
from consensus.aggregation.outcome import Ending, Failure, Outcome
from consensus.aggregation.unmasking import Unmasking
from consensus.content.interface import Blobs
from consensus.learning.aggregate import WEIGHT, GlobalModel, divide
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.circle import describe_circle, describe_judged, list_bad
from consensus.learning.outcome import list_entries, make_none
from consensus.learning.steps import PHASES, list_round_blobs
from consensus.learning.training_mean import divide_masters
from consensus.wire.genesis import Genesis
from consensus.wire.outcomes import MAX_EDGES, Aggregate, Edge, Entry, Exclusion
from consensus.wire.transactions import Contribution, Proof
from kernels.array import G1Array
from kernels.backend import get_backend
from kernels.encoding import Refused, decode_g1
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes
from prover.wire.records import Record

R = TypeVar("R", bound=Record)


class AggregationDesk:
    """Judges payloads and computes outcomes of one chain; not for several threads.

    Payloads that a call reads must be there: BlobUnavailable else. Those that blocks name have
    passed their check, and are read as such.
    """

    def __init__(self, genesis: Genesis, blobs: Blobs, random_bytes: RandomBytes) -> None:
        self._task, self._blobs, self._random_bytes = genesis.task, blobs, random_bytes
        self._place: tuple[int, bytes] | None = None
        self._circle: Circle
        self._deals: dict[bytes, Deal] = {}

    # -- payloads ----------------------------------------------------------------------------------

    def list_grounds(self, state: ChainState) -> tuple[bytes, ...]:
        """Digests of the blobs, beside itself, that a payload of this phase is judged by."""
        match state.phase:
            case Phase.UNMASK:
                return tuple(proven.deal for proven in state.proofs.values())
            case Phase.REVEAL:
                return tuple(state.attested.values())
            case _:
                return ()

    def find_fault(self, state: ChainState, tx: Proof | Contribution) -> str | None:
        """What is wrong with a client's deal, or its payload of the step under way."""
        client, circle = tx.client_key, self._get_circle(state)
        if isinstance(tx, Proof):
            found = Deal.decode(self._blobs.get(tx.deal))
            fault = "is malformed" if found is None else deal.find_fault(found, circle, client)
            return fault and f"its deal {fault}"
        raw, phase = self._blobs.get(tx.payload), PHASES[tx.step]
        fault = self._find_payload_fault(state, circle, client, phase, raw)
        return fault and f"its payload {fault}"

    def _find_payload_fault(
        self, state: ChainState, circle: Circle, client: bytes, phase: Phase, raw: bytes
    ) -> str | None:
        accepted, in_sum = state.proofs.keys(), state.masked.keys()
        match phase:
            case Phase.MASK if (update := Masked.decode(raw)) is not None:
                return masked.find_fault(update, circle, client, accepted)
            case Phase.UNMASK if (answer := Unmasking.decode(raw)) is not None:
                deals = self._load_deals(state)
                return unmasking.find_fault(
                    answer, circle, client, accepted=accepted, masked=in_sum, deals=deals
                )
            case Phase.ATTEST if (attested := Attestation.decode(raw)) is not None:
                return find_attestation_fault(
                    attested, circle, client, masked=in_sum, bad=list_bad(state)
                )
            case Phase.REVEAL if (revealed := Revelation.decode(raw)) is not None:
                return find_revelation_fault(
                    revealed,
                    circle,
                    client,
                    edges=describe_judged(state).edges,
                    pairs=self._load_pairs(state, circle),
                    masker=self._masker,
                    committer=self.committer,
                    random_bytes=self._random_bytes,
                )
            case _:
                return "is malformed"

    # -- outcomes ----------------------------------------------------------------------------------

    def list_needed(self, state: ChainState) -> tuple[bytes, ...]:
        """Digests of the blobs that the outcome is computed from."""
        return () if state.closed in (Phase.PROVE, Phase.MASK) else list_round_blobs(state)

    def build(self, state: ChainState) -> Aggregate:
        """What this round comes to, in ELECT; a model of it is put into the blobs."""
        if state.closed in (Phase.PROVE, Phase.MASK):
            return make_none(state, Failure.TOO_FEW)
        opening = Opening(self._load_final(state), self._masker, self.committer)
        match state.closed:
            case Phase.UNMASK:
                found = opening.open_sum()
            case Phase.ATTEST:
                found = opening.judge(self._load_all(Attestation, state.attested))
            case _:
                revelations = self._load_all(Revelation, state.revealed)
                found = opening.conclude(describe_judged(state), revelations)
        return self._describe(state, found)

    def _describe(self, state: ChainState, found: Outcome) -> Aggregate:
        """An outcome as a block says it."""
        if len(found.edges) > MAX_EDGES:  # who cheated is expelled all the same
            found = Outcome(ending=Ending.NONE, reason=Failure.UNRESOLVED, excluded=found.excluded)
        model = state.global_model
        if found.sums is not None:
            total = sum(weight for _, weight in found.entries)
            model = self._blobs.put(self._divide(found.sums, total).encode())
        edges = (Edge(owner, other) for owner, other in found.edges)
        return Aggregate(
            learning_round=state.learning_round,
            ending=found.ending,
            model_digest=model,
            entries=tuple(
                Entry(client_key=c, proven=state.proofs[c].claimed_correct)
                for c, _ in found.entries
            ),
            excluded=tuple(Exclusion(client, cheat) for client, cheat in found.excluded),
            edges=tuple(sorted(edges, key=lambda edge: edge.owner + edge.other)),
            reason=() if found.reason is None else (found.reason,),
            silent=found.names,
        )

    def _divide(self, sums: Int64Array, total: int) -> GlobalModel:
        """The mean of models, or of masters where the task trains."""
        architecture, training = self._task.architecture, self._task.training
        if training is None:
            return divide(architecture, sums, total)
        return divide_masters(training.make_recipe(architecture), sums, total)

    def _load_final(self, state: ChainState) -> Final:
        entries = list_entries(state)
        return Final(
            circle=self._get_circle(state),
            accepted=frozenset(state.proofs),
            masked=frozenset(state.masked),
            weights={entry.client_key: WEIGHT for entry in entries},
            commitments={e.client_key: _decode_point(state, e.client_key) for e in entries},
            deals=self._load_deals(state),
            unmaskings=self._load_all(Unmasking, state.unmasked),
            load_masked=lambda client: Masked.parse(self._blobs.get(state.masked[client])),
        )

    # -- what is remembered ------------------------------------------------------------------------

    def _get_circle(self, state: ChainState) -> Circle:
        place = (state.learning_round, state.beacon)
        if self._place != place:
            self._place, self._circle = place, describe_circle(state)
            self._deals.clear()
        return self._circle

    def _load_deals(self, state: ChainState) -> Deals:
        """Of every client with a proof."""
        self._get_circle(state)
        for proven in state.proofs.values():
            if proven.deal not in self._deals:
                self._deals[proven.deal] = Deal.parse(self._blobs.get(proven.deal))
        return {client: self._deals[proven.deal] for client, proven in state.proofs.items()}

    def _load_pairs(self, state: ChainState, circle: Circle) -> PairCommitments:
        attestations = self._load_all(Attestation, state.attested)
        bad = list_bad(state)
        return PairCommitments(
            circle, masked=state.masked.keys(), bad=bad, attestations=attestations
        )

    def _load_all(self, kind: type[R], payloads: Mapping[bytes, bytes]) -> dict[bytes, R]:
        """Payloads of a step by client."""
        return {c: kind.parse(self._blobs.get(digest)) for c, digest in payloads.items()}

    @cached_property
    def _masker(self) -> Masker:
        return Masker(get_backend("cpu"))

    @cached_property
    def committer(self) -> Committer:
        """To vectors as long as the task's models."""
        return Committer(self._task.architecture.n_parameters, get_backend("cpu"))


def _decode_point(state: ChainState, client: bytes) -> G1Array:
    """The client's D, of its masters or its model; admission has seen that it is a point."""
    found = decode_g1(state.commits[client].summed, 1)
    if isinstance(found, Refused):
        raise ValueError("a final commitment is no point")
    return found
