"""Lies about accuracy: every claim above the truth, and every proof of something else.

    client 0  the liar, with an honest model    client 2  has committed to what client 1 has
    client 1  whose proof is stolen             client 3  with the best model

A proof of something else is tried as it is, and under the statement that the chain expects of the
liar, where nothing but the equations can tell.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from consensus.learning.admission import describe_occasion
from consensus.learning.chain_state import Phase
from consensus.learning.samples import SamplePool
from consensus.wire.transactions import Commit, Proof, SentTransaction
from federated.attacks import make_up, raise_claim
from federated.data import LabeledImages
from federated.experiments.chains.play import Play, Player
from federated.experiments.claims.bending import (
    add_points,
    bend_points,
    flip_bits,
    mix_points,
    randomize,
)
from federated.experiments.claims.kits import N_SAMPLES, AccuracyKit
from federated.experiments.claims.tally import Attempt
from federated.rounds.duties import draw_shard
from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import ShardInputs
from prover.circuit.witness import solve_committed
from prover.groth16.commitment import Opening
from prover.groth16.whole import prove_statement
from prover.judging import Proven, judge_file
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel, is_correct
from prover.pedersen.commitment import SecretCommitment
from prover.pipeline import build_statement, make_proof, prove_job
from prover.progress import Stages, silent
from prover.randomness import draw_nonzero_scalar
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement

LIAR, VICTIM, COPYIST, BEST = range(4)
N_CLIENTS = 4
N_MADE_UP = 8
_KINDS_HONEST = ("honest proof", "claim below the truth", "honest proof in other words")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """What a client has, and the honest proof that it has made of it."""

    player: Player
    model: QuantizedModel
    commitment: SecretCommitment
    transaction: Proof
    envelope: Envelope


def commit_all(play: Play) -> None:
    """Plays to the proofs; the copyist commits to what the victim committed to."""
    play.go_to(Phase.COMMIT)
    sent = play.collect()
    stolen = sent[VICTIM]
    own = sent[COPYIST]
    assert isinstance(stolen, Commit), "all commit in this phase"
    assert isinstance(own, Commit), "all commit in this phase"
    copy = replace(own, d_w=stolen.d_w)
    sent[COPYIST] = play.chain.sign(copy, play.players[COPYIST].key)
    play.advance(sent)
    play.advance(())
    assert play.state.phase is Phase.PROVE, "all have committed, and the beacon is there"


class AccuracyLies:
    """All attempts of one chain that takes proofs."""

    def __init__(
        self, play: Play, kit: AccuracyKit, generator: np.random.Generator, *, n_flips: int | None
    ) -> None:
        """n_flips : how many bits of a proof, and of a statement, are flipped; None: each one"""
        self._play, self._kit = play, kit
        self._generator, self._n_flips = generator, n_flips
        self.images, self.labels = draw_shard(play.state, play.chain.blobs)

    def attempt(self) -> Iterator[Attempt]:
        """The honest ones first, then the lies."""
        yield from self._be_honest()
        for kind, envelope in self._list_lies():
            yield self._send(kind, LIAR, envelope)
        yield from self._copy_commitment()
        yield from self._bend()

    def audit(self, tx: SentTransaction) -> bool:
        """What `zkpot verify` says of the proof in it, against all that it is to be about."""
        assert isinstance(tx, Proof), "proofs are sent in this phase"
        state = self._play.state
        expected = describe_occasion(state, tx.client_key).list_values()
        verdict = judge_file(
            tx.envelope,
            key=self._kit.key.verifying,
            layout=state.genesis.task.layout,
            images=self.images,
            labels=self.labels,
            expected={**expected, "commitments": (state.commits[tx.client_key].d_w,)},
            random_bytes=secrets.token_bytes,
        )
        return isinstance(verdict, Proven) and verdict.n_samples == N_SAMPLES

    # -- honest ones

    def _be_honest(self) -> Iterator[Attempt]:
        """Nobody's claim is above what it has: to claim less is true, too."""
        honest, lower, reworded = _KINDS_HONEST
        for index in (LIAR, VICTIM, BEST):
            yield self._send(honest, index, self.shown[index].envelope, is_honest=True)
        liar = self.shown[LIAR]
        less = self._prove(liar, claimed=liar.envelope.statement.claimed_correct // 2)
        yield self._send(lower, LIAR, less, is_honest=True)
        factor = draw_nonzero_scalar(secrets.token_bytes)
        same = replace(liar.envelope, proof=randomize(liar.envelope.proof, factor))
        yield self._send(reworded, LIAR, same, is_honest=True)

    @cached_property
    def shown(self) -> dict[int, Shown]:
        """Of all; the copyist's proof is of its own model, which is not behind its commitment."""
        return {index: self._show(index) for index in range(N_CLIENTS)}

    def _show(self, index: int) -> Shown:
        player = self._play.players[index]
        made = player.client.load_secrets(0)
        tx = player.client.act(self._play.state)
        assert made is not None, "it has committed"
        assert isinstance(tx, Proof), "it is to prove"
        envelope = Envelope.decode(tx.envelope)
        assert envelope is not None, "an honest proof has an envelope"
        return Shown(
            player=player,
            model=made.model,
            commitment=made.commitment,
            transaction=tx,
            envelope=envelope,
        )

    # -- lies

    def _list_lies(self) -> Iterator[tuple[str, Envelope]]:
        own = self.shown[LIAR].envelope
        count = own.statement.claimed_correct
        for extra in range(1, N_SAMPLES - count + 1):
            yield "higher claim over the own proof", raise_claim(own, extra=extra)
        for claimed in sorted({count + 1, (count + N_SAMPLES) // 2, N_SAMPLES}):
            yield "proof computed for a higher claim", self._prove_false(claimed)
        for _ in range(N_MADE_UP):
            greatest = replace(own.statement, claimed_correct=N_SAMPLES)
            yield "made-up points", make_up(greatest, random_bytes=secrets.token_bytes)
        yield from self._list_others("another client's proof", self.shown[VICTIM].envelope)
        for kind, envelope in self._prove_elsewhere():
            yield from self._list_others(kind, envelope)
        yield "better model under the own commitment", self._prove_other_model()

    def _prove_elsewhere(self) -> Iterator[tuple[str, Envelope]]:
        """True proofs of the liar's, each of something that the chain does not ask about."""
        liar, place = self.shown[LIAR], describe_occasion(self._play.state, self._liar_key)
        for later in (
            replace(place, round_index=1),
            replace(place, commit_height=place.commit_height + 1),
        ):
            yield "own proof of another round", self._prove(liar, occasion=later)
        for elsewhere in (replace(place, task_id=b"other"), replace(place, chain_id=b"other")):
            yield "own proof of another task", self._prove(liar, occasion=elsewhere)
        yield "own proof under another key", self._prove(liar, key=self._kit.other)
        yield "own proof on another shard", self._prove(liar, samples=self._pick_right(liar.model))
        yield "own proof on altered labels", self._prove(liar, samples=self._relabel(liar.model))
        yield "own proof on altered images", self._prove(liar, samples=self._repaint(liar.model))
        best = self.shown[BEST]
        yield "better model's proof", self._prove(best, occasion=place)

    def _list_others(self, kind: str, other: Envelope) -> Iterator[tuple[str, Envelope]]:
        """A proof of something else as it is, and as if it were of what the chain expects."""
        yield f"{kind}, as it is", other
        yield f"{kind}, under the own statement", self._restate(other, self._expected)

    def _restate(self, other: Envelope, statement: Statement) -> Envelope:
        claimed = other.statement.claimed_correct
        return replace(other, statement=replace(statement, claimed_correct=claimed))

    def _copy_commitment(self) -> Iterator[Attempt]:
        """The copyist's commitment is the victim's, so the proof is of what it committed to."""
        theirs = self.shown[VICTIM].envelope
        place = describe_occasion(self._play.state, self._play.players[COPYIST].public)
        kind = "copied commitment"
        yield self._send(kind, COPYIST, self.shown[COPYIST].envelope)
        yield self._send(kind, COPYIST, theirs)
        renamed = replace(theirs.statement, occasion=place)
        yield self._send(kind, COPYIST, replace(theirs, statement=renamed))

    def _bend(self) -> Iterator[Attempt]:
        own = self.shown[LIAR].envelope
        again = self._prove(self.shown[LIAR])
        theirs = self.shown[VICTIM].envelope
        bent = {
            "bit of the proof flipped": flip_bits(own.proof, self._n_flips, self._generator),
            "point negated, at infinity or swapped": bend_points(own.proof),
            "sum of two proofs": (add_points(own.proof, p.proof) for p in (own, again, theirs)),
            "points of two proofs mixed": mix_points(own.proof, again.proof),
        }
        for kind, proofs in bent.items():
            for proof in proofs:
                yield self._send(kind, LIAR, replace(own, proof=proof))
        head = own.encode()[: -len(own.proof)]
        for raw in flip_bits(head, self._n_flips, self._generator):
            yield self._send_raw("bit of the statement flipped", LIAR, raw + own.proof)

    # -- proofs

    @property
    def _liar_key(self) -> bytes:
        return self._play.players[LIAR].public

    @cached_property
    def _expected(self) -> Statement:
        return self.shown[LIAR].envelope.statement

    def _prove(
        self,
        who: Shown,
        *,
        occasion: Occasion | None = None,
        samples: LabeledImages | None = None,
        key: ProvingKey | None = None,
        claimed: int | None = None,
    ) -> Envelope:
        """A true proof of a client's model; by default what it owes."""
        job = prove_job(
            self._kit.circuit,
            key or self._kit.key,
            who.model,
            images=self.images if samples is None else samples.images,
            labels=self.labels if samples is None else samples.labels,
            occasion=occasion or describe_occasion(self._play.state, who.player.public),
            commitment=who.commitment.public,
            blinding=who.commitment.blinding,
            random_bytes=secrets.token_bytes,
            backend=self._kit.backend,
            clock=time.perf_counter,
            claimed=claimed,
        )
        return _decode(job.envelope)

    def _prove_other_model(self) -> Envelope:
        """The best model, proven as if it were behind the liar's commitment; nobody verifies it
        before it is sent."""
        liar, best = self.shown[LIAR], self.shown[BEST]
        made = make_proof(
            self._kit.circuit,
            self._kit.key,
            best.model,
            inputs=self._inputs,
            occasion=self._expected.occasion,
            commitment=liar.commitment.public,
            blinding=liar.commitment.blinding,
            random_bytes=secrets.token_bytes,
            backend=self._kit.backend,
            clock=time.perf_counter,
        )
        return _decode(made.envelope)

    def _prove_false(self, claimed: int) -> Envelope:
        """A proof computed for a claim that the witness does not bear: one constraint fails, and
        the prover goes on as if it held."""
        kit, liar = self._kit, self.shown[LIAR]
        integers = kit.backend.integers
        with integers.active(kit.key):
            solved = solve_committed(
                kit.circuit, liar.model, self.images, self.labels, integers=integers
            )
            statement = build_statement(
                kit.circuit,
                kit.key,
                self._inputs,
                self._expected.occasion,
                liar.commitment.public,
                shard_index=0,
                claimed=claimed,
            )
            whole = prove_statement(
                kit.circuit.circuit,
                kit.key,
                statement,
                self._inputs,
                openings=[Opening(wires=solved.model_scalars, rho=liar.commitment.blinding.rho)],
                advice=solved.advice_scalars,
                random_bytes=secrets.token_bytes,
                backend=kit.backend,
                stages=Stages(clock=time.perf_counter, report=silent),
            )
        return Envelope(statement=statement, proof=whole.proof.encode())

    @cached_property
    def _inputs(self) -> ShardInputs:
        return ShardInputs.of(self._kit.circuit.public_layout, self.images, self.labels)

    # -- samples that suit a model

    def _pick_right(self, model: QuantizedModel) -> LabeledImages:
        """As many samples of the pool as a shard has, all of which it gets right if there are so
        many."""
        blobs, task = self._play.chain.blobs, self._play.state.genesis.task
        drawn = SamplePool.parse(blobs.get(task.get_pool(0)))
        pool = LabeledImages(images=drawn.images, labels=drawn.labels)
        right = is_correct(model.logits(pool.images), pool.labels)
        return pool.take(np.argsort(~right, kind="stable")[:N_SAMPLES].astype(np.int64))

    def _relabel(self, model: QuantizedModel) -> LabeledImages:
        """The shard, as the model would have it."""
        labels: UInt8Array = model.logits(self.images).argmax(axis=1).astype(np.uint8)
        return LabeledImages(images=self.images, labels=labels)

    def _repaint(self, model: QuantizedModel) -> LabeledImages:
        """The shard, with right ones in place of samples that it gets wrong."""
        right = is_correct(model.logits(self.images), self.labels)
        chosen = np.where(right, np.arange(N_SAMPLES), int(np.argmax(right)))
        return LabeledImages(images=self.images, labels=self.labels).take(chosen)

    # -- transactions

    def _send(
        self, kind: str, index: int, envelope: Envelope, *, is_honest: bool = False
    ) -> Attempt:
        return self._send_raw(kind, index, envelope.encode(), is_honest=is_honest)

    def _send_raw(self, kind: str, index: int, raw: bytes, *, is_honest: bool = False) -> Attempt:
        player = self._play.players[index]
        like = self.shown[index].transaction
        tx = replace(like, client_key=player.public, envelope=raw)
        signed = self._play.chain.sign(tx, player.key)
        return Attempt(kind=kind, is_honest=is_honest, transaction=signed)


def _decode(raw: bytes) -> Envelope:
    envelope = Envelope.decode(raw)
    assert envelope is not None, "a prover gives envelopes"
    return envelope
