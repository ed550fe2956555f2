"""Lies about an update: a model further from the global one than the task allows.

client 0  the liar: its accuracy is true and proven, its update exceeds every bound
others    honest, their updates clipped before they commit
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np

from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import ONE, GlobalModel
from consensus.learning.chain import start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.transactions import Proof
from federated.bounds import UpdateProver
from federated.experiments.chains.dealt import DealtChain
from federated.experiments.chains.play import Play, Player
from federated.experiments.claims.bending import bend_points, flip_bits
from federated.experiments.claims.kits import AccuracyKit, BoundsKit
from federated.experiments.claims.people import make_people
from federated.experiments.claims.tally import Attempt
from kernels.encoding import encode_g1
from prover.circuit.norm.circuit import solve_update
from prover.circuit.norm.inputs import UpdateInputs
from prover.groth16.commitment import Opening
from prover.groth16.whole import prove_statement
from prover.model.network import QuantizedModel
from prover.model.update import clip_update, compute_update
from prover.pedersen.commitment import SecretCommitment, draw_blinding
from prover.pipeline import commit_job
from prover.progress import Stages, silent
from prover.updates import prove_update
from prover.wire.statement import Occasion
from prover.wire.update import UpdateEnvelope, UpdateStatement

LIAR, VICTIM = 0, 1


class Unbounded(UpdateProver):
    """Does not clip, and proves the looser bounds that it does keep."""

    def fit(self, model: QuantizedModel, global_model: GlobalModel) -> QuantizedModel:
        """The model as it is."""
        return model


def begin_with(chain: DealtChain, origin: QuantizedModel) -> ChainState:
    """The chain's first state, as if an earlier round had come to this global model."""
    mean = GlobalModel(architecture=origin.architecture, numbers=origin.wires * ONE)
    return replace(start(chain.genesis), global_model=chain.blobs.put(mean.encode()))


def make_bounded_people(
    chain: DealtChain, kit: AccuracyKit, bounds: BoundsKit, models: list[QuantizedModel]
) -> list[Player]:
    """The liar with the first model, and honest clients with the others."""
    provers = [
        kind(norm=norm, key=key, committer=kit.committer, backend=kit.backend)
        for kind, norm, key in (
            (Unbounded, bounds.loose, bounds.loose_key),
            *((UpdateProver, bounds.norm, bounds.key) for _ in models[1:]),
        )
    ]
    return make_people(chain, kit, models, provers)


class BoundsLies:
    """All attempts of one chain that bounds updates; it is at its proofs."""

    def __init__(
        self,
        play: Play,
        kit: AccuracyKit,
        bounds: BoundsKit,
        origin: QuantizedModel,
        generator: np.random.Generator,
        *,
        n_flips: int | None,
    ) -> None:
        """origin : the global model; n_flips : as of `AccuracyLies`"""
        assert play.state.phase is Phase.PROVE, "lies are told where proofs are due"
        self._play, self._kit, self._bounds, self._origin = play, kit, bounds, origin
        self._generator, self._n_flips = generator, n_flips

    def attempt(self) -> Iterator[Attempt]:
        """The honest ones first, then the lies."""
        for index in range(1, len(self._play.players)):
            yield self._send("honest update", index, self._sent[index].norm, is_honest=True)
        for kind, envelope in self._list_lies():
            yield self._send(kind, LIAR, envelope.encode())
        yield self._send("no proof of bounds", LIAR, b"")

    def _list_lies(self) -> Iterator[tuple[str, UpdateEnvelope]]:
        yield from self._list_others("proof of looser bounds", _decode(self._sent[LIAR].norm))
        yield from self._list_others("another client's bounds", _decode(self._sent[VICTIM].norm))
        clipped = clip_update(self._model, self._origin, self._bounds.norm.bounds)
        yield from self._list_others("bounds of the clipped model", self._prove(clipped))
        near = self._prove(self._model, origin=self._model, commitment=self._secret)
        yield from self._list_others("bounds around another model", near)
        yield "clipped update under the own commitment", self._prove_false(clipped)
        true = _decode(self._sent[VICTIM].norm).proof
        for proof in flip_bits(true, self._n_flips, self._generator):
            yield "bit of bounds flipped", UpdateEnvelope(statement=self._expected, proof=proof)
        for proof in bend_points(true):
            yield "point of bounds bent", UpdateEnvelope(statement=self._expected, proof=proof)

    def _list_others(
        self, kind: str, other: UpdateEnvelope
    ) -> Iterator[tuple[str, UpdateEnvelope]]:
        """A proof of something else as it is, and as if it were of what the chain expects."""
        yield f"{kind}, as it is", other
        yield f"{kind}, under the own statement", replace(other, statement=self._expected)

    # -- what there is

    @cached_property
    def _sent(self) -> dict[int, Proof]:
        """What each client sends of itself: the liar a true proof of looser bounds."""
        found = {}
        for index, player in enumerate(self._play.players):
            tx = player.client.act(self._play.state)
            assert isinstance(tx, Proof), "proofs are due"
            found[index] = tx
        return found

    @property
    def _liar(self) -> Player:
        return self._play.players[LIAR]

    @cached_property
    def _occasion(self) -> Occasion:
        return describe_occasion(self._play.state, self._liar.public)

    @cached_property
    def _secret(self) -> SecretCommitment:
        made = self._liar.client.load_secrets(0)
        assert made is not None, "it has committed"
        return made.commitment

    @cached_property
    def _model(self) -> QuantizedModel:
        made = self._liar.client.load_secrets(0)
        assert made is not None, "it has committed"
        return made.model

    @cached_property
    def _inputs(self) -> UpdateInputs:
        return UpdateInputs.of(self._bounds.norm.plan, self._origin, self._kit.committer)

    @cached_property
    def _expected(self) -> UpdateStatement:
        """What the chain expects the liar to prove."""
        return UpdateStatement(
            occasion=self._occasion,
            verifying_key_digest=self._bounds.key.verifying.digest,
            origin_digest=self._inputs.digest,
            commitment=encode_g1(self._secret.public.d),
        )

    # -- proofs

    def _prove(
        self,
        model: QuantizedModel,
        *,
        origin: QuantizedModel | None = None,
        commitment: SecretCommitment | None = None,
    ) -> UpdateEnvelope:
        """A true proof, under the task's key; by default under a commitment of its own."""
        if commitment is None:
            blinding = draw_blinding(secrets.token_bytes)
            made = commit_job(model, blinding, self._kit.committer)
            commitment = SecretCommitment(public=made, blinding=blinding)
        proven = prove_update(
            self._bounds.norm,
            self._bounds.key,
            model,
            origin or self._origin,
            occasion=self._occasion,
            commitment=commitment.public,
            blinding=commitment.blinding,
            committer=self._kit.committer,
            random_bytes=secrets.token_bytes,
            backend=self._kit.backend,
            clock=time.perf_counter,
        )
        return _decode(proven.envelope)

    def _prove_false(self, clipped: QuantizedModel) -> UpdateEnvelope:
        """The clipped update, proven as if it were behind the liar's commitment."""
        backend, norm = self._kit.backend, self._bounds.norm
        solved = solve_update(norm, compute_update(clipped, self._origin), backend.integers)
        update = solved.integers.to_scalars(solved.update)
        whole = prove_statement(
            norm.circuit,
            self._bounds.key,
            self._expected,
            self._inputs,
            openings=[Opening(wires=update, rho=self._secret.blinding.rho)],
            advice=solved.integers.to_scalars(solved.advice),
            random_bytes=secrets.token_bytes,
            backend=backend,
            stages=Stages(clock=time.perf_counter, report=silent),
        )
        return UpdateEnvelope(statement=self._expected, proof=whole.proof.encode())

    def _send(self, kind: str, index: int, norm: bytes, *, is_honest: bool = False) -> Attempt:
        player = self._play.players[index]
        signed = self._play.chain.sign(replace(self._sent[index], norm=norm), player.key)
        return Attempt(kind=kind, is_honest=is_honest, transaction=signed)


def _decode(raw: bytes) -> UpdateEnvelope:
    envelope = UpdateEnvelope.decode(raw)
    assert envelope is not None, "a prover gives envelopes"
    return envelope
