"""The rounds of a simulation.

    shard -> train (malicious clients on what they poisoned) -> share -> attack -> commit, count
          -> claim -> rule -> next

All draws are functions of a seed, of the round and of what they are for, so that a rule sees the
same samples, batches and lots whatever the others did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from consensus.learning.aggregate import GlobalModel
from federated.accuracy import count_correct
from federated.data import LabeledImages
from federated.experiments.simulation.batches import LocalTraining, draw_all_batches
from federated.experiments.simulation.exact_training import train_exactly
from federated.experiments.simulation.float_training import count_correct_floats, train_all
from federated.experiments.simulation.interface import (
    Attack,
    Closing,
    Rule,
    Setting,
    Sight,
    VerifiedRule,
    View,
)
from federated.experiments.simulation.vectors import to_model, to_vector
from kernels.numpy_types import Float32Array, Int64Array
from prover.model.network import QuantizedModel

_DATA, _SHARD, _BATCHES, _SHARE, _ATTACK, _LEAD, _RULE = range(7)  # what a draw is for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Round:
    """What a round came to.

    accuracy : of the global model after it on the test samples, 0 to 1: of its integers where the
               rule has them, else of its floats
    success  : of the attack, as it says; None: it has no other aim than accuracy
    view, closing : what the rule saw and said
    """

    learning_round: int
    accuracy: float
    success: float | None
    view: View
    closing: Closing


def run_rounds(
    setting: Setting,
    rule: Rule,
    attack: Attack | None,
    *,
    n_rounds: int,
    training: LocalTraining,
    n_drawn: int,
    seed: int,
) -> Iterator[Round]:
    """The rounds, one after the other.

    setting : made exact by `exact_training.make_exact` for a rule that trains exactly
    attack  : None: malicious clients, if there are any, are honest
    n_drawn : samples of the shard, drawn from the pool in each round
    """
    samples = [
        _poison(setting, client, attack, seed=seed) for client in range(len(setting.clients))
    ]
    start, origin = to_vector(setting.start), None
    for learning_round in range(n_rounds):
        draws = _Draws(seed, learning_round)
        drawn = draws.make(_SHARD).choice(len(setting.shard), n_drawn, replace=False)
        now = replace(setting, shard=setting.shard.take(np.sort(drawn)))
        view = _play(now, rule, attack, samples, start, origin, training, draws)
        closing = rule.close(view)
        start, origin = closing.model, closing.exact
        yield Round(
            learning_round=learning_round,
            accuracy=measure_accuracy(setting, closing),
            success=_measure_success(setting, attack, start),
            view=view,
            closing=closing,
        )


def measure_accuracy(setting: Setting, closing: Closing) -> float:
    """Share of the test samples that the global model gets right."""
    test = setting.test
    if closing.exact is not None:
        return count_correct(closing.exact.rounded(), test) / len(test)
    return int(count_correct_floats(setting, closing.model[None], test)[0]) / len(test)


@dataclass(frozen=True, slots=True)
class _Draws:
    """Generators of a round, each for one purpose."""

    seed: int
    learning_round: int

    def make(self, purpose: int, client: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.learning_round, purpose, client])


def _poison(setting: Setting, client: int, attack: Attack | None, *, seed: int) -> LabeledImages:
    """What a client trains on in all rounds: its own samples and the public ones."""
    samples = setting.clients[client] + setting.public
    if attack is None or client >= setting.n_malicious:
        return samples
    return attack.poison(samples, setting, np.random.default_rng([seed, _DATA, client]))


def _play(
    setting: Setting,
    rule: Rule,
    attack: Attack | None,
    samples: Sequence[LabeledImages],
    start: Float32Array,
    origin: GlobalModel | None,
    training: LocalTraining,
    draws: _Draws,
) -> View:
    """A round up to where the rule decides."""
    batches = draw_all_batches(samples, training, draws.make(_BATCHES))
    if rule.trains_exactly:
        trained = train_exactly(setting, start, samples, batches)
    else:
        trained = train_all(setting, start, samples, batches, training)
    n_bad = setting.n_malicious if attack is not None else 0
    sent = trained.copy()
    sent[n_bad:] = rule.share(trained[n_bad:], start, draws.make(_SHARE))

    def look(client: int, purpose: int) -> Sight:
        return Sight(
            setting=setting,
            learning_round=draws.learning_round,
            client=client,
            start=start,
            trained=trained[client],
            honest=sent[n_bad:],
            generator=draws.make(purpose, client),
            origin=origin,
        )

    def write(leader: int, model: Float32Array) -> Float32Array:
        if attack is None or leader >= n_bad:
            return model
        return _require_finite(attack.lead(model, look(leader, _LEAD)))

    if attack is not None:
        for client in range(n_bad):
            sent[client] = _require_finite(attack.send(look(client, _ATTACK)))
    committed, proven = _count(setting, rule, sent, origin)
    claimed = proven.copy()
    if attack is not None:
        for client in range(n_bad):
            claimed[client] = attack.claim(int(proven[client]), len(setting.shard))
    return View(
        setting=setting,
        learning_round=draws.learning_round,
        start=start,
        sent=sent,
        claimed=claimed,
        proven=proven,
        trained=(sent == trained).all(axis=1),
        is_malicious=np.arange(len(samples)) < n_bad,
        replace=write,
        generator=draws.make(_RULE),
        committed=committed,
        origin=origin,
    )


def _count(
    setting: Setting, rule: Rule, sent: Float32Array, origin: GlobalModel | None
) -> tuple[tuple[QuantizedModel | None, ...], Int64Array]:
    """What clients commit to, and how many of the shard it gets right in truth.

    Where nothing is committed to, the floats count.
    """
    if not isinstance(rule, VerifiedRule):
        return (), count_correct_floats(setting, sent, setting.shard)
    committed = tuple(rule.commit(one, setting, origin) for one in sent)
    counts = [0 if model is None else count_correct(model, setting.shard) for model in committed]
    return committed, np.array(counts, dtype=np.int64)


def _measure_success(setting: Setting, attack: Attack | None, vector: Float32Array) -> float | None:
    if attack is None:
        return None
    return attack.succeed(to_model(vector, setting.architecture, setting.scales), setting)


def _require_finite(model: Float32Array) -> Float32Array:
    """Numbers that are none are no model to anybody: an attack has to send another."""
    if not np.isfinite(model).all():
        raise ValueError("an attack made a model with a number that is none")
    return model
