"""What rules and attacks have in common: a vector of parameters for each client and round.

A vector is float32[P]: layer by layer the weights, row-major, then the biases, in the real numbers
that `FloatModel` has. What a rule of integers takes of it, it quantizes first, by the scales of the
setting and clipped to the range of a weight, as every client of such a task has to: liars too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from consensus.learning.aggregate import GlobalModel
from federated.data import LabeledImages
from federated.float_model import FloatModel
from federated.task_scales import TaskScales
from kernels.numpy_types import BoolArray, Float32Array, Float64Array, Int64Array
from prover.model.network import Architecture, QuantizedModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """A task and its participants; the first `n_malicious` clients are the attacker's.

    clients : each one's own samples, before any poisoning; public: what all have beside them
    shard   : public test samples that proofs and claims speak of: in a task the pool, in a round
              those that were drawn of it; test: others, for the figures
    start   : the global model of round 0; scales: of the task
    stakes, hash_power : float64[n_clients], positive; what the lotteries draw by
    """

    architecture: Architecture
    clients: tuple[LabeledImages, ...]
    public: LabeledImages
    shard: LabeledImages
    test: LabeledImages
    start: FloatModel
    scales: TaskScales
    n_malicious: int
    stakes: Float64Array
    hash_power: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """What the attacker knows when it makes the update of one of its clients: all there is.

    start   : float32[P], the global model of the round
    trained : float32[P], what this client's training gave, on its (poisoned) samples
    honest  : float32[n_honest, P], the updated models of the others
    origin  : the global model where it is one of integers, exactly; None: there is none yet
    """

    setting: Setting
    learning_round: int
    client: int
    start: Float32Array
    trained: Float32Array
    honest: Float32Array
    generator: np.random.Generator
    origin: GlobalModel | None = None


class Attack(Protocol):
    """What malicious clients do. Each method has an honest counterpart: doing nothing."""

    name: str

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        """The samples that a malicious client trains on, each in the place of one of its own."""
        ...

    def send(self, sight: Sight) -> Float32Array:
        """float32[P], the model that it sends in place of `sight.trained`."""
        ...

    def claim(self, n_correct: int, n_samples: int) -> int:
        """How many correct samples of the shard it claims."""
        ...

    def lead(self, model: Float32Array, sight: Sight) -> Float32Array:
        """float32[P], what it writes as the global model when it leads, where a rule lets it."""
        ...

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        """Its success on the test samples, 0 to 1 (of a backdoor: the share of triggered samples
        of other classes that go to the target); None where only the loss of accuracy counts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """All that reaches a rule in a round, and what only verifiers establish.

    sent     : float32[n, P]; start: float32[P]
    claimed  : int64[n], correct samples of the shard that each claims
    proven   : int64[n], what each one's quantized model gets right in truth: the greatest count for
               which an accepted proof exists, so that a claim above it has none
    trained  : bool[n], whether the model is what proven steps on committed samples lead to
    is_malicious : bool[n], which are the attacker's; for reports alone
    committed: where claims need proofs, the integers behind each commitment; None: there are none
    origin   : the global model where it is one of integers, exactly; None: there is none yet
    replace  : what a malicious leader does to the global model; the identity for an honest one
    """

    setting: Setting
    learning_round: int
    start: Float32Array
    sent: Float32Array
    claimed: Int64Array
    proven: Int64Array
    trained: BoolArray
    is_malicious: BoolArray
    replace: Replace
    generator: np.random.Generator
    committed: tuple[QuantizedModel | None, ...] = ()
    origin: GlobalModel | None = None


class Replace(Protocol):
    """From a leader and the model that the rule makes to the one that it writes."""

    def __call__(self, leader: int, model: Float32Array) -> Float32Array: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Closing:
    """The end of a round: the next global model, who is in it, and who leads.

    accepted : bool[n]; leader : a client, or -1 where there is none
    exact    : what `model` is the float of, where it is one of integers
    """

    model: Float32Array
    accepted: BoolArray
    leader: int
    exact: GlobalModel | None = None


class Rule(Protocol):
    """How a round ends. A rule reads `View.is_malicious` nowhere; `View.proven` only through claims
    that a proof has to bear out, and `View.trained` only where it asks for proven training.

    label : for figures; is_verified: whether claims need proofs
    """

    name: str
    label: str
    is_verified: bool
    trains_exactly: bool
    """Whether honest clients train by integer steps that can be proven (networks of linear layers
    alone), in place of float SGD."""

    def share(
        self, trained: Float32Array, start: Float32Array, generator: np.random.Generator
    ) -> Float32Array:
        """What honest clients send of what they have trained, float32[n_honest, P] both."""
        ...

    def close(self, view: View) -> Closing:
        """Accepts models, makes one of them, and says who leads."""
        ...


@runtime_checkable
class VerifiedRule(Rule, Protocol):
    """A rule that counts what proofs say of committed integers (`is_verified`)."""

    def commit(
        self, sent: Float32Array, setting: Setting, origin: GlobalModel | None
    ) -> QuantizedModel | None:
        """The integers that a client commits to for a model, float32[P]: liars too have to take
        some that a proof can be of. None: there are none."""
        ...
