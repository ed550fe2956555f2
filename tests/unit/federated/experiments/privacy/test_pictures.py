"""PSNR and SSIM by their definitions, and the nearest of many guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from federated.experiments.privacy.pictures import compute_psnr, compute_ssim, find_best
from kernels.numpy_types import Float64Array


def draw(*shape: int, seed: int = 0) -> Float64Array:
    return np.random.default_rng(seed).uniform(0, 255, shape)


def test_psnr_of_known_differences() -> None:
    flat = np.zeros((4, 4))
    assert compute_psnr(flat, flat + 255) == 0.0
    assert compute_psnr(flat, flat + 1) == pytest.approx(48.1308, abs=1e-4)
    assert compute_psnr(flat, flat) == pytest.approx(60.0)


def test_ssim_of_flat_pictures_is_that_of_their_means() -> None:
    a, b = np.full((12, 12), 100.0), np.full((12, 12), 50.0)
    c1 = 2.55**2
    assert compute_ssim(a, b) == pytest.approx((2 * 5000 + c1) / (12_500 + c1))
    assert compute_ssim(a, a) == pytest.approx(1.0)


def test_ssim_of_a_picture_and_its_negative_is_below_zero() -> None:
    a = draw(16, 16)
    assert compute_ssim(a, a) == pytest.approx(1.0)
    assert compute_ssim(a, 255 - a) < -0.5


def test_ssim_is_the_mean_over_windows_and_colours() -> None:
    a, b = draw(2, 13, 14), draw(2, 13, 14, seed=1)
    found = [
        _compare(a[c, y : y + 11, x : x + 11], b[c, y : y + 11, x : x + 11])
        for c in range(2)
        for y in range(3)
        for x in range(4)
    ]
    assert compute_ssim(a, b) == pytest.approx(sum(found) / 24)


def _compare(a: Float64Array, b: Float64Array) -> float:
    """One window, as the paper writes it."""
    weights = {
        (y, x): math.exp(-((y - 5) ** 2 + (x - 5) ** 2) / (2 * 1.5**2))
        for y in range(11)
        for x in range(11)
    }
    total = sum(weights.values())
    mean_a = sum(w * a[at] for at, w in weights.items()) / total
    mean_b = sum(w * b[at] for at, w in weights.items()) / total
    var_a = sum(w * (a[at] - mean_a) ** 2 for at, w in weights.items()) / total
    var_b = sum(w * (b[at] - mean_b) ** 2 for at, w in weights.items()) / total
    both = sum(w * (a[at] - mean_a) * (b[at] - mean_b) for at, w in weights.items()) / total
    c1, c2 = 2.55**2, 7.65**2
    return float(
        (2 * mean_a * mean_b + c1)
        * (2 * both + c2)
        / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    )


def test_best_is_the_nearest_pair() -> None:
    originals = draw(5, 30)
    guesses = draw(7, 30, seed=1)
    guesses[4] = originals[3] + 1
    best = find_best(guesses, originals)
    assert (best.guess, best.original) == (4, 3)
    assert best.psnr == pytest.approx(48.1308, abs=1e-4)
