"""Which demonstrations there are, and how large one is on this machine.

choose   names of a data set and a model -> `Plan`
fit      as many samples a proof as the machine has room for
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from api.demo.show import FEW
from api.demo.stage import Plan, Role
from api.errors import DemoUnknown
from api.settings import MAX_PROOF_ROWS
from consensus.wire.genesis import LEAST_SAMPLES
from federated.data import DatasetRef, has_full
from federated.local import LOCAL, WARM_UP
from federated.provable.recipes import make_trainable
from federated.sources.datasets import get_dataset
from federated.train import TrainSettings
from prover.circuit.training.export_plan import plan_export
from prover.circuit.training.plan import plan_step
from prover.circuit.training.sizes import compute_step_sizes
from prover.costs import Machine, count_proving
from prover.model.presets import parse_architecture
from prover.plan import Plan as ProofPlan
from prover.plan import plan_proofs

_SLACK = 4
"""How much longer than all its proofs one after the other a phase may last."""
_PHOTOGRAPHS = TrainSettings(batch_size=32, learning_rate=2e-3, max_shift=2, flip=True)


def _plan_digits(data_dir: Path) -> Plan:
    return Plan()


def _plan_digits_by_convolution(data_dir: Path) -> Plan:
    """A start that is trained for longer: scales of one that has hardly begun are soon outgrown."""
    return Plan(
        model="lenet5",
        architecture=parse_architecture("lenet5"),
        n_samples=LEAST_SAMPLES,
        train="mnist:train[0:3000]",
        warm_up=replace(WARM_UP, epochs=15, batch_size=32),
        local=replace(LOCAL, epochs=3, learning_rate=2e-3),
    )


def _plan_photographs(data_dir: Path) -> Plan:
    """LeNet learns little of the packaged photographs, but more than guessing: that is asked."""
    plan = Plan(
        dataset="cifar10",
        model="lenet-small",
        architecture=parse_architecture("lenet-small"),
        n_samples=LEAST_SAMPLES,
        least_percent=11,
        train="cifar10:train[0:512]",
        test="cifar10:test[0:512]",
        n_public=162,
        n_least=40,
        warm_up=replace(_PHOTOGRAPHS, epochs=20, learning_rate=3e-3),
        local=replace(_PHOTOGRAPHS, epochs=10),
    )
    if not all(has_full(get_dataset("cifar10"), split, data_dir) for split in ("train", "test")):
        return plan
    return replace(
        plan,
        train="cifar10:train[0:3000]",
        test="cifar10:test[0:2048]",
        n_public=500,
        n_least=200,
        warm_up=replace(plan.warm_up, epochs=10),
        local=replace(plan.local, epochs=4),
    )


def _plan_steps(data_dir: Path) -> Plan:
    """From a drawn start: a few steps of each client lead to less, but to more than guessing, where
    it has seen all classes."""
    return Plan(
        model="mlp-784-128-10",
        architecture=make_trainable(parse_architecture("mlp-784-128-10")),
        least_percent=11,
        concentration=8.0,
        roles=(*Plan().roles, Role.IMPOSTOR),
        n_steps=4,
    )


DEMONSTRATIONS: Mapping[tuple[str, str], Callable[[Path], Plan]] = {
    ("mnist", "mlp-784-48-10"): _plan_digits,
    ("mnist", "lenet5"): _plan_digits_by_convolution,
    ("cifar10", "lenet-small"): _plan_photographs,
}
"""By data set and model; of several models on one data set the first is taken by default."""
OF_STEPS: Mapping[tuple[str, str], Callable[[Path], Plan]] = {
    ("mnist", "mlp-784-128-10"): _plan_steps,
}
"""Likewise, of those in which every step of training is proven."""


def choose(dataset: str, model: str | None, data_dir: Path, *, by_steps: bool = False) -> Plan:
    """The demonstration of a model on a data set, by the samples that are on this machine.

    model    : None: the first that there is for the data set
    by_steps : whether each step of training is proven
    raises   : DemoUnknown, which names those that there are
    """
    known = OF_STEPS if by_steps else DEMONSTRATIONS
    for (on, of), make in known.items():
        if on == dataset and model in (None, of):
            return make(data_dir)
    asked = dataset if model is None else f"{model} on {dataset}"
    asked += " with proofs of training" if by_steps else ""
    there = ", ".join(f"{of} on {on}" for on, of in known)
    raise DemoUnknown(f"there is no demonstration of {asked}, but of {there}")


def fit(plan: Plan, machine: Machine, *, n_samples: int | None = None) -> tuple[Plan, ProofPlan]:
    """The plan with proofs that fit the machine, and what each of them takes.

    n_samples : of a proof; default: as many as the plan has, or as fit
    machine   : with the memory of the process that proves for all clients, one after the other
    raises    : DemoUnknown for more samples than the test set has; DoesNotFit
    """
    n_test = DatasetRef.parse(plan.test).stop
    assert n_test is not None
    if n_samples is not None and n_samples > n_test:
        raise DemoUnknown(f"this demonstration tests on {n_test} samples; take no more")

    def consider(n_total: int, n: int | None) -> ProofPlan:
        return plan_proofs(
            plan.architecture, n_total, machine, n_samples=n, max_rows=MAX_PROOF_ROWS
        )

    n = consider(n_samples or plan.n_samples, n_samples).n_samples
    proof = consider(n, n)
    seconds = proof.seconds.prove + _time_training(plan, machine)
    phase_ms = round(1000 * _SLACK * len(plan.roles) * seconds)
    fitting = replace(
        plan,
        n_samples=n,
        phase_ms=max(plan.phase_ms, phase_ms),
        memory_bytes=machine.memory_bytes,
    )
    return fitting, proof


def _time_training(plan: Plan, machine: Machine) -> float:
    """Seconds of the proofs of a client's training in a round."""
    if not plan.n_steps:
        return 0.0
    step = machine.time(count_proving(compute_step_sizes(plan_step(plan.recipe))))
    return plan.n_steps * step + machine.time(count_proving(plan_export(plan.recipe).sizes))


def describe(plan: Plan) -> list[str]:
    """What people should know before it starts: samples, and what is asked of clients."""
    share = plan.threshold / plan.n_samples
    lines = [
        f"{plan.model} on {plan.train}, tested on {plan.test}: {plan.n_samples} samples a proof, "
        f"of which {plan.threshold} ({share:.1%}) have to be correct"
    ]
    if plan.n_steps:
        lines.append(
            f"a client trains {plan.n_steps} steps of {plan.recipe.batch_size} samples a round, in "
            "exact integers, and proves each"
        )
    return [*lines, FEW] if plan.is_small else lines
