"""How much of a data set an experiment takes, and how long clients learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.tasks import TaskPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What all runs on a data set have in common.

    n_public, n_train, n_pool, n_test : samples, as of `TaskPlan`
    n_drawn : samples of a proof in each round, drawn of n_pool
    steps, batch_size, learning_rate  : of a client in a round, as of `LocalTraining`
    """

    network: str
    n_public: int
    n_train: int
    n_pool: int
    n_test: int
    n_drawn: int
    n_rounds: int
    steps: int
    batch_size: int
    learning_rate: float

    @property
    def training(self) -> LocalTraining:
        return LocalTraining(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """All of them by name, for cells."""
        return asdict(self)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Size:
        """Inverse of `parameters`, from among others."""
        return cls(**{field.name: parameters[field.name] for field in fields(cls)})

    def plan(self, dataset: str, partition: str, *, n_clients: int) -> TaskPlan:
        """The task, without malicious clients."""
        return TaskPlan(
            dataset=dataset,
            network=self.network,
            partition=partition,
            n_clients=n_clients,
            n_malicious=0,
            n_public=self.n_public,
            n_train=self.n_train,
            n_pool=self.n_pool,
            n_test=self.n_test,
        )
