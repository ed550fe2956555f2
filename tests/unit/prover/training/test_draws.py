"""What training draws: the same everywhere, of the right size, and fair."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from prover.model.zkq import encode_model
from prover.training.draws import draw_start, find_spread, order_batches
from tests.support.training import make_recipe


def test_start_and_order_are_the_same_everywhere() -> None:
    """Bytes that were written down once: other machines and versions of NumPy draw them again."""
    recipe = make_recipe([6, 5, 3])
    first = draw_start(recipe, b"seed").weights[1].tolist()
    assert first == [[13, -4, -8, 1, 33], [-54, 22, 49, -42, 63], [62, 11, 46, -30, -28]]
    order = order_batches(b"seed", n_batches=5, n_steps=12).tolist()
    assert order == [0, 3, 2, 4, 1, 0, 2, 4, 3, 1, 4, 0]
    digest = hashlib.sha256(encode_model(draw_start(recipe, b"other"))).hexdigest()
    assert digest.startswith("4cdd7ee191a41b5a")


def test_words_are_those_of_the_page() -> None:
    """The definition at the head of the module, once more, in integers."""
    recipe = make_recipe([300, 7, 3])
    for layer, weights in enumerate(draw_start(recipe, b"\x05" * 8).weights):
        raw = hashlib.shake_256(
            b"zkpot training start v1\x00" + layer.to_bytes(8, "little") + b"\x05" * 8
        ).digest(8 * weights.size)
        words = [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
        h = find_spread(recipe.widths[layer])
        assert weights.reshape(-1).tolist() == [word % (2 * h + 1) - h for word in words]


@pytest.mark.parametrize(("n_in", "h"), [(1, 64), (36, 64), (784, 13), (4000, 6), (1 << 20, 1)])
def test_weights_spread_by_the_width_of_their_layer(n_in: int, h: int) -> None:
    assert find_spread(n_in) == h
    if n_in < 5000:
        weights = draw_start(make_recipe([n_in, 256]), b"").weights[0]
        assert (int(weights.min()), int(weights.max())) == (-h, h)


def test_every_pass_has_every_batch_once() -> None:
    order = order_batches(b"x", n_batches=30, n_steps=90).reshape(3, 30)
    assert (np.sort(order, axis=1) == np.arange(30)).all()
    assert len({tuple(one) for one in order.tolist()}) == 3, "each in another order"
    assert order_batches(b"x", n_batches=30, n_steps=41).tolist() == order.reshape(-1)[:41].tolist()
    assert order_batches(b"y", n_batches=30, n_steps=30).tolist() != order[0].tolist()
    assert order_batches(b"x", n_batches=30, n_steps=0).tolist() == []


def test_no_place_of_a_batch_is_likelier() -> None:
    firsts = [int(order_batches(bytes([i]), n_batches=4, n_steps=1)[0]) for i in range(256)]
    assert all(40 < firsts.count(number) < 90 for number in range(4))
