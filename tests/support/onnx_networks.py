"""Small torch networks whose ONNX files the importer reads; inputs are [N, C, H, W] in [0, 1]."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from federated.data import load


class LeNet5(nn.Module):
    """The classic one on [N, 1, 28, 28]: 61,706 parameters, average or maximum pools."""

    def __init__(self, pool: type[nn.Module] = nn.AvgPool2d) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), pool(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), pool(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


class TinyNet(nn.Module):
    """A LeNet of 1,392 parameters on [N, 1, 12, 12], for files that fit in a repository."""

    def __init__(self, pool: type[nn.Module] = nn.MaxPool2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.pool = pool(2)
        self.dense1, self.dense2 = nn.Linear(24, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        logits: Tensor = self.dense2(torch.relu(self.dense1(torch.flatten(x, 1))))
        return logits


class Block(nn.Module):
    """A residual block with batch normalization; the branch is convolved where it shrinks."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            self.skip = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(branch + self.skip(x))


class TinyResNet(nn.Module):
    """Two residual blocks and a global average on [N, 3, 8, 8]: Add, BatchNormalization."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2))
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.dense = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mean(self.blocks(torch.relu(self.bn(self.stem(x)))))
        logits: Tensor = self.dense(torch.flatten(x, 1))
        return logits


class Normalized(nn.Module):
    """(x - mean) / std before a network, as many exporters leave it in the graph."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


class Trailing(nn.Module):
    """A network with a layer after its logits, or before them, that the file then holds."""

    def __init__(self, network: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.network, self.last = network, last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.network(x))
        return out


def make_mlp() -> nn.Module:
    """Flatten, 144-24-10 with dropout in between, which evaluation drops."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(144, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 10)
    )


def make_shapes() -> nn.Module:
    """On [N, 1, 12, 12]: strides, uneven pads, overlapping pools, ReLU6, a kernel of 3 x 5."""
    return nn.Sequential(
        nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(1, 4, (3, 5), stride=(2, 1)), nn.ReLU6(),
        nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(4, 6, 1), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(10),
    )  # fmt: skip


def make_unsupported() -> dict[str, nn.Module]:
    """Networks on [N, 1, 12, 12] with one operator each that no circuit of ours has."""

    def around(layer: nn.Module, channels: int = 4) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), layer, nn.Flatten(), nn.Linear(channels * 144, 10)
        )

    return {
        "sigmoid": around(nn.Sigmoid()),
        "tanh": around(nn.Tanh()),
        "gelu": around(nn.GELU()),
        "hardswish": around(nn.Hardswish()),
        "leaky-relu": around(nn.LeakyReLU(0.1)),
        "groups": around(nn.Conv2d(4, 8, 3, padding=1, groups=2), 8),
        "depthwise": around(nn.Conv2d(4, 4, 3, padding=1, groups=4)),
        "dilation": around(nn.Conv2d(4, 4, 3, padding=2, dilation=2)),
        "transposed": around(nn.ConvTranspose2d(4, 4, 3, padding=1)),
        "layer-norm": around(nn.LayerNorm([4, 12, 12])),
    }


def train_mnist(network: nn.Module, *, side: int, n_epochs: int = 8) -> None:
    """Trains in place on the packaged MNIST samples, pooled to `side` pixels."""
    x, y = mnist("train", side)
    labels = torch.as_tensor(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    network.train()
    for _ in range(n_epochs):
        for at in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[at]), labels[at]).backward()
            optimizer.step()
    network.eval()


def mnist(part: str, side: int) -> tuple[Tensor, Tensor]:
    """(float32[N, 1, side, side] in [0, 1], int64[N]); sides other than 28 by averages."""
    images, labels = load("mnist", part, Path("data"))
    x = torch.as_tensor(images).reshape(-1, 1, 28, 28).to(torch.float32) / 255
    if side != 28:
        # To whole bytes again: the importer's samples are uint8.
        x = torch.round(nn.functional.adaptive_avg_pool2d(x, side) * 255) / 255
    return x, torch.as_tensor(labels).to(torch.int64)
