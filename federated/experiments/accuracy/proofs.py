"""Real proofs of the models of a simulation, beside what the integer evaluator says of them.

Everywhere else in this experiment the evaluator's count stands for the proof. Here the models of a
few rounds, honest and malicious, are committed to and proven under a key of their own, and the
verifier judges claims of what each has, of one sample more, and of all.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from federated.attacks import raise_claim
from federated.experiments.accuracy.cases import MAIN_PARTITION, SIZES, Case, read_cell
from federated.experiments.accuracy.play import play_rounds
from federated.experiments.kinds import Cell, Finding, Json, Lab, Profile
from federated.experiments.simulation.interface import Setting, View
from federated.experiments.simulation.rules.zkpot import ZkPot
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.public_inputs import ShardInputs
from prover.groth16.setup import setup_accuracy
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import MadeProof, commit_job, make_proof
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion
from prover.wire.verdict import Verdict

KIND = "proofs"
"""A parameter of these cells alone, so that others are what they were."""
N_SAMPLES, N_ROUNDS = 64, 2
CASE = Case(dataset="mnist", partition=MAIN_PARTITION, rule="zkpot", attack="sign flip")
SEED = 1


def list_proof_cells(profile: Profile) -> list[Cell]:
    """One, under one seed: verdicts are right or wrong, and have no band."""
    size = replace(SIZES[profile][CASE.dataset], n_drawn=N_SAMPLES, n_rounds=N_ROUNDS)
    return [Cell(seed=SEED, parameters={**asdict(CASE), **size.parameters, KIND: True})]


def is_proof_cell(cell: Cell) -> bool:
    """Whether a cell is of `list_proof_cells`."""
    return KIND in cell.parameters


def prove_cell(cell: Cell, lab: Lab) -> Json:
    """What was tried, each with both verdicts: `tried`, a list of `Verdicts` as JSON."""
    case, size = read_cell(cell.parameters)
    rule, setting, rounds = play_rounds(case, size, lab.data_dir, seed=cell.seed)
    if not isinstance(rule, ZkPot):
        raise ValueError(f"models of {case.rule} have no proofs")
    kit = Kit.make(setting, size.n_drawn, lab.backend)
    tried = [asdict(one) for played in rounds for one in judge(played.view, rule, kit)]
    return {"tried": tried}


def read_proofs(results: list[Json]) -> Iterator[Finding]:
    """Whether the verifier and the evaluator agree in all that was tried."""
    tried = [Verdicts(**one) for result in results for one in result["tried"]]
    if not tried:
        return
    agree = sum(one.by_evaluator == one.by_verifier for one in tried)
    n_malicious = sum(one.is_malicious for one in tried)
    kinds = dict.fromkeys(one.kind for one in tried)
    yield Finding(
        claim="the verdicts of real proofs are those of the integer evaluator, which stands for "
        f"them in all other cells ({CASE.rule} on {CASE.dataset}, {CASE.attack})",
        measured=f"{agree} of {len(tried)}, {n_malicious} of them of malicious models; by real "
        "proofs " + ", ".join(_count(kind, tried) for kind in kinds),
        holds=agree == len(tried),
    )


def _count(kind: str, tried: list[Verdicts]) -> str:
    own = [one.by_verifier for one in tried if one.kind == kind]
    return f"{sum(own)} of {len(own)} {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """One claim about a model.

    kind         : what is claimed, as it is told of several models
    by_evaluator : whether the simulation takes it for proven
    by_verifier  : whether a proof of it was valid
    """

    learning_round: int
    is_malicious: bool
    kind: str
    by_evaluator: bool
    by_verifier: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kit:
    """What proofs of a task take; the trapdoor is drawn and forgotten."""

    circuit: AccuracyCircuit
    key: ProvingKey
    committer: Committer
    backend: Backend

    @classmethod
    def make(cls, setting: Setting, n_samples: int, backend: Backend) -> Kit:
        circuit = compile_accuracy(setting.architecture, n_samples)
        key = setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend)
        committer = Committer(setting.architecture.n_parameters, backend)
        return cls(circuit=circuit, key=key, committer=committer, backend=backend)

    def prove(self, model: QuantizedModel, inputs: ShardInputs, occasion: Occasion) -> MadeProof:
        """A proof of as many correct samples as the circuit finds, of a fresh commitment."""
        blinding = draw_blinding(secrets.token_bytes)
        return make_proof(
            self.circuit,
            self.key,
            model,
            inputs=inputs,
            occasion=occasion,
            commitment=commit_job(model, blinding, self.committer),
            blinding=blinding,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            clock=time.perf_counter,
        )


def judge(view: View, rule: ZkPot, kit: Kit) -> Iterator[Verdicts]:
    """All claims about all models of a round, and whether each model enters the mean."""
    shard, least = view.setting.shard, rule.find_least(view.setting, view.origin)
    inputs = ShardInputs.of(kit.circuit.public_layout, shard.images, shard.labels)
    accepted = rule.accept(view)
    for client, model in enumerate(view.committed):
        if model is None:
            continue  # no proof is of it, and the evaluator counts none
        made = kit.prove(model, inputs, _make_occasion(view.learning_round, client))
        count = made.statement.claimed_correct
        is_valid = made.verify() is Verdict.VALID
        told = int(view.proven[client])
        verdicts = {
            "prove what they have": (True, is_valid and count == told),
            "have enough to enter": (bool(accepted[client]), is_valid and count >= least),
        }
        for kind, claimed in (("pass for one sample more", told + 1), ("pass for all", len(shard))):
            if told < claimed <= len(shard):
                verdicts[kind] = (False, _verify_claim(made, claimed - count))
        for kind, (by_evaluator, by_verifier) in verdicts.items():
            yield Verdicts(
                learning_round=view.learning_round,
                is_malicious=bool(view.is_malicious[client]),
                kind=kind,
                by_evaluator=by_evaluator,
                by_verifier=by_verifier,
            )


def _verify_claim(made: MadeProof, extra: int) -> bool:
    """Whether the verifier takes the same proof under a claim of so many more."""
    envelope = Envelope.decode(made.envelope)
    assert envelope is not None, "an honest proof has an envelope"
    raised = raise_claim(envelope, extra=extra)
    return replace(made, envelope=raised.encode()).verify() is Verdict.VALID


def _make_occasion(learning_round: int, client: int) -> Occasion:
    """Of a simulation, which has no chain."""
    return Occasion(
        chain_id=b"simulation",
        task_id=CASE.dataset.encode(),
        round_index=learning_round,
        commit_height=learning_round,
        client_key=client.to_bytes(1, "little"),
    )
