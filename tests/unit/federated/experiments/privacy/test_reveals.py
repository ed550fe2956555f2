"""What rules reveal: noise, sums, and what a client of a sum takes out of it."""

from __future__ import annotations

import pytest
import torch

from federated.experiments.privacy.reveals import (
    add_noise,
    bound_epsilon,
    draw_others,
    list_reveals,
    take_mean,
)


def make_generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_noise_is_added_to_updates_that_were_cut() -> None:
    updates = torch.zeros(2, 20_000)
    updates[0, 0], updates[1, 0] = 8.0, 0.5
    none = add_noise(updates, noise=0.0, most=2.0, generator=make_generator())
    assert none[:, 0].tolist() == [2.0, 0.5]
    noised = add_noise(updates, noise=0.25, most=2.0, generator=make_generator())
    assert (noised - none).std(dim=1).tolist() == pytest.approx([0.5, 0.5], rel=0.03)


def test_epsilon_of_a_level_of_noise() -> None:
    assert bound_epsilon(1.0) == pytest.approx(2 + 2 * (2 * 11.512925) ** 0.5)
    assert bound_epsilon(0.01) > 20_000 > bound_epsilon(0.1) > 200


def test_a_mean_is_of_the_target_and_so_many_others() -> None:
    chosen = draw_others(50, 12, 4, make_generator())
    assert (chosen.sum(1) == 3).all()
    assert set(chosen.unique().tolist()) == {0.0, 1.0}
    assert (chosen.sum(0) > 0).all()
    targets, others = torch.randn(50, 6), torch.randn(12, 6)
    found = take_mean(targets, others, chosen)
    wanted = torch.cat([targets[:1], others[chosen[0] > 0]]).mean(0)
    assert torch.allclose(found[0], wanted, atol=1e-6)
    with pytest.raises(ValueError, match="takes 6 out of twice as many"):
        draw_others(1, 11, 7, make_generator())


def test_who_is_one_of_n_sees_the_mean_of_the_others() -> None:
    """So the attack of a client of n is the outsider's on n - 1."""
    targets, others = torch.randn(1, 6), torch.randn(3, 6)
    whole = take_mean(targets, others, torch.ones(1, 3))
    less = take_mean(targets, others, torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.allclose((4 * whole - others[2]) / 3, less, atol=1e-6)


def test_every_reveal_has_a_name_of_its_own() -> None:
    reveals = list_reveals((0.01, 0.1), (3, 10))
    assert [reveal.name for reveal in reveals] == [
        "raw",
        "noised-0.01",
        "noised-0.1",
        "clear",
        "sum-3",
        "sum-10",
    ]
    assert len({reveal.label for reveal in reveals}) == len({r.short for r in reveals}) == 6
