"""Pictures of the experiment, by matplotlib."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from federated.experiments.bands import band
from federated.experiments.picture import open_picture
from federated.experiments.privacy.groups import COIN, Group
from federated.experiments.privacy.membership import RATES
from federated.experiments.privacy.reveals import Reveal
from kernels.numpy_types import UInt8Array

Lines = Sequence[tuple[str, Sequence[Sequence[str]]]]
"""A name, and per client an original and its reconstruction, both base64 of bytes."""
_MARGIN = 2  # pixels


def draw_auc(groups: Sequence[Group], path: Path) -> None:
    """Bars of the strongest attack's AUC, reveal by reveal, side by side for each group."""
    reveals = [*groups[0].reveals, Reveal(kind="count")]
    width = 0.8 / len(groups)
    with open_picture(path, width=1.05 * len(reveals) + 1, height=4.2) as axes:
        for number, group in enumerate(groups):
            bands = [group.find_strongest_auc(reveal.name) for reveal in reveals]
            axes.bar(
                np.arange(len(reveals)) + (number - (len(groups) - 1) / 2) * width,
                [one.mean - COIN for one in bands],
                width,
                bottom=COIN,
                yerr=[one.half for one in bands],
                capsize=3,
                label=f"{group.n_own} samples a client",
            )
        axes.axhline(COIN, color="black", linewidth=1)
        axes.set_xticks(range(len(reveals)), [reveal.short for reveal in reveals], fontsize=8)
        axes.set_ylabel("AUC of membership inference")
        axes.set_ylim(0.45, 1.0)
        axes.legend()


def draw_roc(group: Group, reveals: Sequence[Reveal], path: Path) -> None:
    """Curves on logarithmic axes, where a confident attack shows."""
    with open_picture(path, width=5.6, height=5.0) as axes:
        for reveal in reveals:
            curves = [r["reveals"][reveal.name]["update"]["curve"] for r in group.results]
            bands = [band(values) for values in zip(*curves, strict=True)]
            label = reveal.short.replace("\n", " ")
            (line,) = axes.plot(RATES, [one.mean for one in bands], label=label)
            axes.fill_between(
                RATES,
                [max(one.low, 1e-6) for one in bands],
                [one.high for one in bands],
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        axes.plot(RATES, RATES, color="black", linestyle="--", linewidth=1, label="guessing")
        axes.set(xscale="log", yscale="log", xlim=(RATES[0], 1), ylim=(RATES[0], 1))
        axes.set(xlabel="false positives", ylabel="true positives")
        axes.legend(fontsize=8)


def draw_pictures(lines: Lines, shape: tuple[int, ...], path: Path) -> None:
    """A row for each reveal; for each client its sample and the reconstruction."""
    strips = [
        [_frame(decode_picture(picture, shape)) for pair in pairs for picture in pair]
        for _, pairs in lines
    ]
    whole = np.concatenate([np.concatenate(strip, axis=1) for strip in strips])
    height, width = strips[0][0].shape[:2]
    n_columns = len(strips[0])
    with open_picture(path, width=0.95 * n_columns + 1.4, height=0.95 * len(lines) + 0.4) as axes:
        axes.imshow(whole, cmap="gray", vmin=0, vmax=255)
        labels = [label for label, _ in lines]
        axes.set_yticks((np.arange(len(lines)) + 0.5) * height, labels, fontsize=8)
        kinds = ["sample", "guess"] * (n_columns // 2)
        axes.set_xticks((np.arange(n_columns) + 0.5) * width, kinds, fontsize=8)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)


def _frame(picture: UInt8Array) -> UInt8Array:
    """With white around it."""
    edges = [(_MARGIN, _MARGIN)] * 2 + [(0, 0)] * (picture.ndim - 2)
    return np.pad(picture, edges, constant_values=255)


def decode_picture(text: str, shape: tuple[int, ...]) -> UInt8Array:
    """uint8[H, W], or [H, W, C] of colours, out of base64 of bytes [H, W] or [C, H, W]."""
    pixels = np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(shape)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
