"""How near a picture is to another: PSNR and SSIM, and the best of many guesses.

SSIM is that of Wang, Bovik, Sheikh and Simoncelli (IEEE Transactions on Image Processing 13 (4),
2004): means, variances and covariance in an 11 x 11 Gaussian window of deviation 1.5, at every
place where it lies inside the picture, K1 = 0.01, K2 = 0.03; colours are averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kernels.numpy_types import Float64Array

PEAK = 255.0
WINDOW, DEVIATION = 11, 1.5
K1, K2 = 0.01, 0.03
LEAST_ERROR = PEAK**2 * 1e-6
"""Mean square below which PSNR stays at 60 dB: far below what rounding to pixels does."""


@dataclass(frozen=True, slots=True)
class Match:
    """The guess and the original that are nearest to each other, by number."""

    guess: int
    original: int
    psnr: float


def compute_psnr(a: Float64Array, b: Float64Array) -> float:
    """10 log10(255^2 / mean square difference) in dB, at most 60; pixels from 0 to 255."""
    return _to_psnr(float(np.mean((a - b) ** 2)))


def compute_ssim(a: Float64Array, b: Float64Array) -> float:
    """Structural similarity of two pictures [C, H, W] or [H, W] with pixels from 0 to 255."""
    planes = [picture.reshape(-1, *picture.shape[-2:]) for picture in (a, b)]
    return float(np.mean([_compare_planes(x, y) for x, y in zip(*planes, strict=True)]))


def find_best(guesses: Float64Array, originals: Float64Array) -> Match:
    """The nearest pair of guesses [G, d] and originals [N, d], by mean square."""
    squares = (guesses**2).sum(1)[:, None] + (originals**2).sum(1) - 2 * guesses @ originals.T
    guess, original = np.unravel_index(int(squares.argmin()), squares.shape)
    psnr = compute_psnr(guesses[guess], originals[original])
    return Match(int(guess), int(original), psnr)


def _to_psnr(mean_square: float) -> float:
    return 10.0 * math.log10(PEAK**2 / max(mean_square, LEAST_ERROR))


def _compare_planes(a: Float64Array, b: Float64Array) -> float:
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    most = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(np.mean(similar / most))


def _smooth(plane: Float64Array) -> Float64Array:
    """Weighted means over every window inside the plane."""
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(distance**2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    windows = sliding_window_view(plane, (WINDOW, WINDOW))
    return np.asarray(np.einsum("yxij,i,j->yx", windows, weights, weights))
