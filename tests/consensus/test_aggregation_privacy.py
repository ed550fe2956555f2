"""What colluding clients and everybody who reads the chain can learn of an honest client: nothing.

What `Observer` finds in all that it sees, with masks and without. Each kind of mask, turned off, is
found out by it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from consensus.aggregation import masked as masking
from consensus.aggregation.deal import Deal, Secret, open_share
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import Masker, SignedSeed, expand
from consensus.aggregation.outcome import Ending
from consensus.aggregation.secrets import agree_pair_seed, derive_self_seed
from consensus.aggregation.shamir import evaluate, recover
from kernels.array import FrArray
from kernels.bn254 import R
from kernels.encoding import encode_fr
from tests.consensus.aggregation_cheats import Cheater
from tests.consensus.aggregation_observer import (
    LatePlayer,
    list_patterns,
    make_players,
    observe,
)
from tests.consensus.aggregation_rounds import (
    COLLUSION,
    N_CLIENTS,
    N_PARAMETERS,
    Player,
    Table,
    make_circle,
    masker,
)

# -- nothing is found ------------------------------------------------------------------------------


def list_honest(players: Sequence[Player]) -> Sequence[Player]:
    return players[COLLUSION:]


@pytest.mark.parametrize("seed", range(5))
def test_no_model_is_in_what_is_seen(seed: int) -> None:
    players = make_players(Random(seed))
    observer = observe(players)
    assert observer.played.outcome.ending is Ending.MODEL
    assert [observer.find_traces(p) for p in list_honest(players)] == [set()] * 5


@pytest.mark.parametrize("seed", range(5))
def test_who_is_late_has_only_its_own_mask_left(seed: int) -> None:
    """All its pairs' masks are known, since they had to be taken from the others' sum."""
    players = make_players(Random(seed), Player, Player, LatePlayer)
    observer = observe(players)
    late = players[2]
    assert observer.played.outcome.ending is Ending.MODEL
    assert len(observer.seeds[late.key]) == N_CLIENTS - 1
    assert [observer.find_traces(p) for p in list_honest(players)] == [set()] * 5


@pytest.mark.parametrize("seed", range(5))
def test_a_dispute_tells_nothing_of_who_is_honest(seed: int) -> None:
    players = make_players(Random(seed), Cheater)
    assert isinstance(players[0], Cheater)
    players[0].habits = {"mask": "mask_noise"}
    observer = observe(players)
    assert observer.played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert [observer.find_traces(p) for p in list_honest(players)] == [set()] * 5


# -- and it would be -------------------------------------------------------------------------------


def turn_off(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Masked updates without some masks; the first is the client's own, the others are pairs'."""
    make_sum = Masker.sum_streams

    def mask(
        vector: FrArray, circle: Any, sender: bytes, secrets: Any, accepted: Any, here: Masker
    ) -> Masked:
        seeds: list[SignedSeed] = []
        if "own" not in kinds:
            seeds.append((1, derive_self_seed(secrets.self_secret, circle.place)))
        if "pairs" not in kinds:
            for other in circle.list_neighbours(sender, frozenset(accepted)):
                seed = agree_pair_seed(circle, sender, secrets.mask_private, other)
                seeds.append((circle.graph.find_sign(sender, other), seed))
        stream = make_sum(here, seeds, circle.n_elements)
        return Masked(scalars=here.add(vector, stream))

    monkeypatch.setattr(masking, "mask", mask)


def test_without_masks_models_are_found(monkeypatch: pytest.MonkeyPatch, rng: Random) -> None:
    turn_off(monkeypatch, "own", "pairs")
    players = make_players(rng)
    observer = observe(players)
    found = [observer.find_traces(p) for p in list_honest(players)]
    assert all({"weighted little-endian", "blinding little-endian"} <= names for names in found)


def test_without_the_pairs_masks_models_are_found(
    monkeypatch: pytest.MonkeyPatch, rng: Random
) -> None:
    """Everybody's own mask is opened."""
    turn_off(monkeypatch, "pairs")
    players = make_players(rng)
    observer = observe(players)
    found = [observer.find_traces(p) for p in list_honest(players)]
    assert all("weighted little-endian" in names for names in found)


def test_without_its_own_mask_who_is_late_is_found(
    monkeypatch: pytest.MonkeyPatch, rng: Random
) -> None:
    turn_off(monkeypatch, "own")
    players = make_players(rng, Player, Player, LatePlayer)
    observer = observe(players)
    found = [observer.find_traces(p) for p in list_honest(players)]
    assert "weighted little-endian" in found[0]
    assert found[1:] == [set()] * 4


@pytest.mark.parametrize(("n", "is_found"), [(COLLUSION, False), (COLLUSION + 1, True)])
def test_one_more_than_may_collude(n: int, is_found: bool, rng: Random) -> None:
    """They hold as many shares as the threshold, so all secrets of everybody."""
    players = make_players(rng)
    observer = observe(players, n)
    assert bool(observer.find_traces(players[-1])) is is_found


@pytest.mark.parametrize("name", ["int8", "int64<", "int64>", "blinding big-endian"])
def test_every_encoding_would_be_seen(name: str, rng: Random) -> None:
    players = make_players(rng)
    observer = observe(players)
    pattern = dict(list_patterns(players[-1]))[name]
    observer.blobs[0] = observer.blobs[0][:9] + pattern + observer.blobs[0][9:]
    assert observer.find_traces(players[-1]) == {name}


# -- one honest model or the other -----------------------------------------------------------------

N_MANY = 4000


def compute_bare(players: Sequence[Player], colluders: Sequence[Player]) -> dict[bytes, FrArray]:
    """Masked updates of honest clients with all masks off but those of honest pairs: what is left
    when nobody drops out."""
    everyone = frozenset(p.key for p in players)
    bare = {}
    for player in players[len(colluders) :]:
        sent = Masked.parse(bytes(player.mask(everyone) or b"")).scalars
        circle, own = player.circle, player.own
        seeds = [(-1, derive_self_seed(own.self_secret, circle.place))]
        for other in colluders:
            seed = agree_pair_seed(circle, player.key, own.mask_private, other.key)
            seeds.append((-circle.graph.find_sign(player.key, other.key), seed))
        bare[player.key] = masker().add(sent, masker().sum_streams(seeds, circle.n_elements))
    return bare


def make_two_worlds(seed: int) -> list[dict[int, FrArray]]:
    """The same round twice, with the models of two honest clients swapped in the second.

    Of each the bare updates of both, by the index of the client.
    """
    worlds = []
    for swapped in (False, True):
        rng = Random(seed)
        players = [Player(rng.randbytes(32), rng, n_parameters=N_MANY) for _ in range(N_CLIENTS)]
        players[2].weight = players[3].weight
        if swapped:
            players[2].model, players[3].model = players[3].model, players[2].model
        make_circle(players)
        bare = compute_bare(players, players[:COLLUSION])
        worlds.append({i: bare[players[i].key] for i in (2, 3)})
    return worlds


def read_buckets(vector: FrArray) -> np.ndarray[Any, Any]:
    """floor(256 x / r) of each element: uniform when the elements are."""
    return np.array([256 * x // R for x in vector.to_ints()])


def compute_chi_square(vector: FrArray) -> float:
    """Of 256 buckets: 255 with a deviation of 23 when uniform."""
    counts = np.bincount(read_buckets(vector), minlength=256)
    expected = len(vector) / 256
    return float(((counts - expected) ** 2 / expected).sum())


def compute_correlation(vector: FrArray, model: np.ndarray[Any, Any]) -> float:
    return float(np.corrcoef(read_buckets(vector)[:-1], model)[0, 1])


def looks_uniform(vector: FrArray, models: Sequence[np.ndarray[Any, Any]]) -> bool:
    bound = 6 / len(vector) ** 0.5
    flat = abs(compute_chi_square(vector) - 255) < 6 * 23
    return flat and all(abs(compute_correlation(vector, m)) < bound for m in models)


def list_models(seed: int) -> list[np.ndarray[Any, Any]]:
    rng = Random(seed)
    players = [Player(rng.randbytes(32), rng, n_parameters=N_MANY) for _ in range(N_CLIENTS)]
    return [players[2].model, players[3].model]


@pytest.mark.parametrize("seed", range(3))
def test_swapped_models_look_alike(seed: int) -> None:
    models = list_models(seed)
    for world in make_two_worlds(seed):
        assert all(looks_uniform(vector, models) for vector in world.values())


@pytest.mark.parametrize("seed", range(3))
def test_the_sum_of_both_is_the_same_in_either_world(seed: int) -> None:
    """All that is opened of the two is their sum, with the others' masks on it."""
    first, second = make_two_worlds(seed)
    sums = [masker().add(w[2], w[3]) for w in (first, second)]
    assert encode_fr(sums[0][:-1]) == encode_fr(sums[1][:-1])
    assert encode_fr(first[2]) != encode_fr(second[2])


def test_without_pairs_masks_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_off(monkeypatch, "pairs")
    rng = Random(0)
    players = [Player(rng.randbytes(32), rng, n_parameters=N_MANY) for _ in range(N_CLIENTS)]
    circle = make_circle(players)
    sent = Masked.parse(bytes(players[2].mask(frozenset(circle.graph.order)) or b"")).scalars
    seed = derive_self_seed(players[2].own.self_secret, circle.place)
    bare = masker().add(sent, masker().scale(expand(seed, circle.n_elements), -1))
    assert compute_chi_square(bare) > 10_000
    assert abs(compute_correlation(bare, players[2].model)) > 0.5


# -- how many collude ------------------------------------------------------------------------------


def decrypt_shares(table: Table, dealer: Player, receivers: Sequence[Player]) -> dict[int, int]:
    """Shares of the dealer's b, by point."""
    deal, found = Deal.parse(dealer.client.deal().encode()), {}
    for receiver in receivers:
        share = open_share(
            deal,
            table.circle,
            dealer=dealer.key,
            receiver=receiver.key,
            own=receiver.own.share_private,
            secret=Secret.SELF,
        )
        assert share is not None
        found[table.circle.graph.find_position(receiver.key) + 1] = share
    return found


def test_as_many_as_collude_learn_nothing_and_one_more_all(rng: Random) -> None:
    """Any secret fits C shares: through them and it goes a polynomial of degree C = t - 1."""
    players = make_players(rng)
    table, backend = Table(players), masker().backend
    dealer, true = players[-1], players[-1].own.self_secret
    some = decrypt_shares(table, dealer, players[:COLLUSION])
    assert len(some) < table.circle.graph.threshold
    points = [*some]
    for secret in (true, rng.randrange(R)):
        slopes = solve_quadratic(secret, some)
        coefficients = FrArray.from_ints([secret, *slopes])
        assert evaluate(coefficients, points, backend).to_ints() == [*some.values()]
    more = decrypt_shares(table, dealer, players[: COLLUSION + 1])
    assert recover([[*more]], FrArray.from_ints(more.values()), backend) == [true]


def solve_quadratic(secret: int, shares: dict[int, int]) -> tuple[int, int]:
    """a, b of secret + a x + b x^2 through two points."""
    (x, u), (y, v) = shares.items()
    p, q = (u - secret) * pow(x, -1, R), (v - secret) * pow(y, -1, R)  # a + b x, a + b y
    b = (p - q) * pow(x - y, -1, R) % R
    return (p - b * x) % R, b


# -- what the sum itself tells ---------------------------------------------------------------------


def draw_two(rng: Random) -> list[np.ndarray[Any, Any]]:
    return [np.array([rng.randrange(-126, 127) for _ in range(N_PARAMETERS)]) for _ in range(2)]


def open_two(weights: tuple[int, int], models: Sequence[np.ndarray[Any, Any]]) -> list[int]:
    """c W + c' W' of two honest clients, by colluders who take their own part from the sum."""
    players = make_players(Random(1))[: COLLUSION + 2]
    honest = players[COLLUSION:]
    for player, weight, model in zip(honest, weights, models, strict=True):
        player.weight, player.model = weight, model
    sums = Table(players).play().outcome.sums
    assert sums is not None
    return list(sums - sum(p.weight * p.model for p in players[:COLLUSION]))


def test_counts_as_weights_show_both_of_two_models(rng: Random) -> None:
    """c W + c' W' is c W modulo c', and a weight has fewer values than that."""
    models, (c, other) = draw_two(rng), (456, 445)
    residues = [y * pow(c, -1, other) % other for y in open_two((c, other), models)]
    assert [x - other * (x > other // 2) for x in residues] == models[0].tolist()


def test_equal_weights_show_their_sum_alone(rng: Random) -> None:
    """Other models with the same sum look the same; with counts they do not."""
    models = draw_two(rng)
    moved = [models[0] + 1, models[1] - 1]
    assert open_two((1, 1), models) == open_two((1, 1), moved)
    assert open_two((456, 445), models) != open_two((456, 445), moved)
