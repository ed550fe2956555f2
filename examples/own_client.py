"""Your own PyTorch network, data loader and training loop in a task: `take_part` is all of it.

    python examples/own_client.py

The rest makes a task for it, on this machine and gone afterwards: a chain of one validator, and two
more clients, which `zkpot client join` plays on other digits. No model leaves its owner.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch.nn import Flatten, Linear, ReLU, Sequential
from torch.utils.data import DataLoader, TensorDataset

from api.client.joining import Membership, Places
from api.settings import Settings
from federated.data import load
from federated.joining.genesis_source import load_genesis
from federated.joining.learners import learn_by
from federated.joining.own_network import normalize
from federated.joining.participation import Ending
from federated.task_scales import TaskScales

PROGRAM = (sys.executable, "-c", "from api.cli import main; main()")  # `zkpot`, wherever it lies
ARCHITECTURE, N_SAMPLES = "mlp-784-16-10", 256


def take_part(me: Membership, loader: DataLoader[tuple[torch.Tensor, ...]]) -> Ending:
    """What a client with code of its own writes."""
    network = Sequential(Flatten(), Linear(784, 16), ReLU(), Linear(16, 10))
    scales = TaskScales.of_task(me.task)

    def fit(network: torch.nn.Module, learning_round: int) -> None:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for images, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(normalize(images, scales)), labels)
            loss.backward()
            optimizer.step()

    return me.take_part(learn_by(network, fit, me.task))


def load_own_digits() -> DataLoader[tuple[torch.Tensor, ...]]:
    """Bring any: images as bytes from 0 to 255, and class numbers."""
    images, labels = load("mnist", "train", Settings.from_environment().data_dir)
    own = TensorDataset(torch.tensor(images[:1500]), torch.tensor(labels[:1500]).long())
    return DataLoader(own, batch_size=64, shuffle=True)


# -- a task on this machine ------------------------------------------------------------------------


def zkpot(*arguments: object) -> str:
    """A command as a shell would run it; its refusal ends this program."""
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def running(*arguments: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command meanwhile, with what it says in a file."""
    with log.open("wb") as file:
        command = [*PROGRAM, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def let_in(client: Path, chain: Path) -> str:
    """A permit for the key in a client's folder, by whoever has the chain's admission key."""
    return zkpot("chain", "permit", chain, zkpot("client", "key", "--state", client))


def main(folder: Path) -> None:
    key, chain = folder / "key", folder / "chain"
    zkpot("setup", ARCHITECTURE, "--samples", N_SAMPLES, "--out", key)
    zkpot(
        *("chain", "init", chain, "--key", key, "--dataset", "mnist:test[0:1024]"),
        *("--validators", 1, "--clients", 3, "--rounds", 1, "--block-ms", 200),
        *("--warm-up", "mnist:train[0:500]"),
    )
    with ExitStack() as stack:
        stack.enter_context(running("node", chain / "node-0", log=folder / "node.log"))
        others = []
        for name, data in (("one", "mnist:train[2000:3500]"), ("two", "mnist:train[4000:5500]")):
            permit = zkpot(
                "chain", "permit", chain, zkpot("client", "key", "--state", folder / name)
            )
            options = ("--genesis", chain / "genesis.json", "--permit", permit, "--key", key)
            place = ("--state", folder / name, "--blobs", chain / "blobs", "--data", data)
            other = running("client", "join", *options, *place, log=folder / f"{name}.log")
            others.append(stack.enter_context(other))
        me = Membership(
            genesis=load_genesis(str(chain / "genesis.json")),
            folder=folder / "me",
            permit=zkpot(
                "chain", "permit", chain, zkpot("client", "key", "--state", folder / "me")
            ),
            key=key,
            places=Places(folder=chain / "blobs"),
        )
        ending = take_part(me, load_own_digits())
        print(f"this client: {ending.outcome}, in round {ending.rounds[0] + 1}")
        for number, other in enumerate(others, start=1):
            print(f"other client {number}: exit code {other.wait()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="zkpot-") as name:
        os.environ.setdefault("ZKPOT_DATA_DIR", str(Path(name) / "data"))
        main(Path(name))
