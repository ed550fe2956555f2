"""Honest clients and others, under FedAvg and under SecAgg+: what a server makes of them, as JSON.

    python -m tests.support.flower_story FOLDER

Softmax regression on the packaged digits, by Flower's own classes on the grid of `flower_grid`. It
runs where flwr is installed; `tests/e2e/test_flower.py` reads what it prints.
"""

from __future__ import annotations

import json
import pickle
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.server.workflow import DefaultWorkflow
from flwr.server.workflow.constant import MAIN_PARAMS_RECORD
from flwr.serverapp.strategy import FedAvg

from federated.data import load
from federated.settings import Settings
from integrations.flower import client, strategy
from integrations.flower.records import write_ticket
from integrations.flower.secure import ProvenSecAggPlusWorkflow
from integrations.flower.task import Task, load_task, make_task
from integrations.flower.tickets import Mode
from kernels.backend import get_backend
from prover.model.network import Architecture
from prover.wire.envelope import Envelope
from tests.support.flower_grid import RUN_ID, LocalGrid

N_SAMPLES, N_CORRECT = 32, 20
NAMES = ("fc.weight", "fc.bias")
CallNext = Callable[[Message, Context], Message]
Change = Callable[[Message, Message], None]
"""change(asked, reply) alters a reply in place."""

IMAGES, LABELS = load("mnist", "train", Settings.from_environment().data_dir)


def train(weight: Any, bias: Any, part: int, steps: int = 20) -> tuple[Any, Any]:
    """Gradient descent on the part'th 500 digits."""
    cut = slice(500 * part, 500 * (part + 1))
    x, wanted = IMAGES[cut].reshape(500, -1) / 255.0, np.eye(10)[LABELS[cut]]
    for _ in range(steps):
        chances = np.exp(logits := x @ weight.T + bias) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (chances - wanted) / len(x)
        weight, bias = weight - 0.5 * error.T @ x, bias - 0.5 * error.sum(axis=0)
    return np.float32(weight), np.float32(bias)


def make(folder: Path) -> Task:
    """The task, from a model trained a little on digits that no client has."""
    images, labels = load("mnist", "test", Settings.from_environment().data_dir)
    return make_task(
        folder,
        Architecture.mlp((784, 10)),
        warm_up=train(np.zeros((10, 784)), np.zeros(10), part=9),
        mean=0.0,
        std=1.0,
        images=images[:N_SAMPLES],
        labels=labels[:N_SAMPLES],
        n_correct=N_CORRECT,
        random_bytes=secrets.token_bytes,
        backend=get_backend("cpu"),
    )


def build_app(part: int, mods: list[Any]) -> ClientApp:
    """A client as the quickstarts write one."""
    app = ClientApp(mods=mods)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        arrays = message.content["arrays"]
        trained = train(*(arrays[name].numpy() for name in NAMES), part)
        record = ArrayRecord({n: Array(a) for n, a in zip(NAMES, trained, strict=True)})
        metrics = MetricRecord({"num-examples": 500, "part": part, "loss": 0.5})
        content = RecordDict({"arrays": record, "metrics": metrics})
        return Message(content=content, reply_to=message)

    return app


def altering(change: Change) -> Any:
    """A mod of a dishonest client."""

    def mod(message: Message, context: Context, call_next: CallNext) -> Message:
        reply = call_next(message, context)
        change(message, reply)
        return reply

    return mod


def boast(asked: Message, reply: Message) -> None:
    """Claims one more correct sample than it has proven."""
    envelope = Envelope.decode(reply.content["zkpot"]["proof"])
    claimed = envelope.statement.claimed_correct + 1
    statement = replace(envelope.statement, claimed_correct=claimed)
    reply.content["zkpot"]["proof"] = replace(envelope, statement=statement).encode()


def swap(asked: Message, reply: Message) -> None:
    """Sends another model than the proven one."""
    (record,) = reply.content.array_records.values()
    name = next(iter(record))
    array = record[name].numpy().copy()
    array.flat[300] += 1
    record[name] = Array(array)


def ramble(asked: Message, reply: Message) -> None:
    """Sends an honest model under other names, with other metrics than all others."""
    content = reply.content
    content["model"] = content["arrays"]
    content["other"] = MetricRecord({"num-examples": 500, "part": 1, "loss": [0.5, 0.4], "more": 1})
    del content["arrays"], content["metrics"]


def strip(asked: Message, reply: Message) -> None:
    del reply.content["zkpot"]


class Copies:
    """What a reply held is sent again: that of the last `keep`, else of the first `send`."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def keep(self, asked: Message, reply: Message) -> None:
        self._kept = dict(reply.content.items())

    def send(self, asked: Message, reply: Message) -> None:
        if not self._kept:
            self.keep(asked, reply)
        for name, record in self._kept.items():
            reply.content[name] = record


def run_open(folder: Path) -> dict[str, Any]:
    """Two rounds of FedAvg. The models of nodes 1 and 2 are honest; 3 copies from 1; 4 is
    stale in round 2."""
    prove = pickle.loads(pickle.dumps(client.prove(folder)))  # as a simulation sends it
    of_node_1, of_round_1 = Copies(), Copies()
    apps = {
        1: build_app(0, [altering(of_node_1.keep), prove]),
        2: build_app(1, [altering(ramble), prove]),
        3: build_app(2, [altering(of_node_1.send), prove]),
        4: build_app(3, [altering(of_round_1.send), prove]),
        5: build_app(4, [altering(boast), prove]),
        6: build_app(5, [altering(swap), prove]),
        7: build_app(6, [altering(strip), prove]),
        8: build_app(7, []),
    }
    proven = strategy.prove(FedAvg(fraction_evaluate=0.0), folder)
    start = ArrayRecord({NAMES[0]: Array(np.zeros((10, 784), np.float32)),
                         NAMES[1]: Array(np.zeros(10, np.float32))})  # fmt: skip
    means: list[list[Any]] = []

    def see(number: int, arrays: ArrayRecord) -> None:
        means.append([array.numpy() for array in arrays.values()])

    result = proven.start(LocalGrid(apps), start, num_rounds=2, evaluate_fn=see)
    second = [train(*means[1], part) for part in range(2)]  # from the mean of round 1
    return {
        "metrics": {n: dict(m) for n, m in result.train_metrics_clientapp.items()},
        "refusals": {
            n: {refusal.node: refusal.reason for refusal in refusals}
            for n, refusals in proven.refusals.items()
        },
        "names": list(result.arrays),
        "error_in_steps": count_steps(means[2], second, folder),
        "accuracy": measure(*means[2]),
    }


def count_steps(arrays: list[Any], models: list[Any], folder: Path) -> float:
    """By how many steps of rounding the weights are from the mean of trained models."""
    mean = np.mean([weight for weight, _ in models], axis=0)
    step = load_task(folder).scales.weights[0] * 255.0
    return float(np.abs(arrays[0] - mean).max() / step)


def measure(weight: Any, bias: Any) -> float:
    images, labels = load("mnist", "test", Settings.from_environment().data_dir)
    logits = images.reshape(len(images), -1) / 255.0 @ weight.T + bias
    return float((logits.argmax(axis=1) == labels).mean())


class Softmax(NumPyClient):
    def __init__(self, part: int) -> None:
        self._part = part

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[Any, int, dict[str, Any]]:
        return list(train(*parameters, self._part)), 500, {}


def build_secure(part: int, prove: Any, change: Change | None = None) -> ClientApp:
    """A client of SecAgg+; what it changes is changed before it is masked."""
    changes = [] if change is None else [altering(change)]
    mods = [secaggplus_mod, *changes, prove]
    return ClientApp(lambda context: Softmax(part).to_client(), mods=mods)


def run_secure(folder: Path, prove: Any, change: Change) -> dict[str, Any]:
    """One round of SecAgg+ of three honest clients and one that is not."""
    apps = {1 + part: build_secure(part, prove) for part in range(3)}
    apps[4] = build_secure(3, prove, change)
    start = [np.zeros((10, 784), np.float32), np.zeros(10, np.float32)]
    context = LegacyContext(
        Context(RUN_ID, 1, {}, RecordDict(), {}, series_id=0),
        config=ServerConfig(num_rounds=1),
        strategy=LegacyFedAvg(
            fraction_evaluate=0.0,
            min_available_clients=4,
            initial_parameters=ndarrays_to_parameters(start),
        ),
    )
    workflow = ProvenSecAggPlusWorkflow(folder)
    DefaultWorkflow(fit_workflow=workflow)(LocalGrid(apps), context)
    found = workflow.rounds[1]
    last = [array.numpy() for array in context.state.array_records[MAIN_PARAMS_RECORD].values()]
    return {
        "accepted": sorted(one.node for one in found.accepted),
        "refusals": {refusal.node: refusal.reason for refusal in found.refusals},
        "is_opened": found.is_opened,
        "moved": any(bool(array.any()) for array in last),
        "error_in_steps": count_steps(last, [train(*start, part) for part in range(3)], folder),
        "accuracy": measure(*last),
    }


def ask_around_masks(folder: Path, prove: Any) -> str:
    """What a client of SecAgg+ answers to training of another name, which flwr's mod lets pass."""
    app = ClientApp(mods=[secaggplus_mod, prove])

    @app.train("more")
    def fit(message: Message, context: Context) -> Message:
        trained = train(*(array.numpy() for array in message.content["arrays"].values()), part=0)
        arrays, metrics = ArrayRecord(list(trained)), MetricRecord({"num_examples": 500})
        content = {client.FIT_ARRAYS: arrays, client.FIT_WEIGHT: metrics}
        return Message(content=RecordDict(content), reply_to=message)

    grid = LocalGrid({1: app})
    start = ArrayRecord([np.zeros((10, 784), np.float32), np.zeros(10, np.float32)])
    content = RecordDict({"arrays": start})
    judge = strategy.prove(FedAvg(), folder).judge
    write_ticket(content, strategy.draw_ticket(judge, 1, Mode.MASKED))
    (reply,) = grid.send_and_receive(
        [Message(content=content, dst_node_id=1, message_type="train.more")]
    )
    return reply.error.reason if reply.has_error() else ", ".join(reply.content)


def main(folder: Path) -> None:
    make(folder)
    prove = client.prove(folder, secure=True)
    told = {
        "open": run_open(folder),
        "secure": run_secure(folder, prove, boast),
        "around": ask_around_masks(folder, prove),
        "spoilt": run_secure(folder, prove, swap),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
