"""Payloads: strangers' bytes are decoded or refused, and what does not fit a round has a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from consensus.aggregation import deal, masked, unmasking
from consensus.aggregation.deal import Deal
from consensus.aggregation.dispute import (
    Attestation,
    PairCommitments,
    Revelation,
    find_attestation_fault,
    find_revelation_fault,
    make_revelation,
)
from consensus.aggregation.masked import Masked, read_signed, weigh
from consensus.aggregation.outcome import Edges
from consensus.aggregation.unmasking import Unmasking
from kernels.array import FrArray
from kernels.bn254 import R
from prover.wire.records import Record
from tests.consensus.aggregation_observer import make_players
from tests.consensus.aggregation_rounds import (
    N_CLIENTS,
    N_PARAMETERS,
    Player,
    committer,
    make_circle,
    masker,
)

NOBODY = bytes(32)


class Scene:
    """A round in which everybody has sent everything that there is to send."""

    def __init__(self) -> None:
        rng = self.rng = Random("payloads")
        self.players = make_players(rng)
        self.circle = make_circle(self.players)
        self.first, self.second = self.players[:2]
        self.deals = {p.key: p.client.deal() for p in self.players}
        self.all = frozenset(self.deals)
        self.u = self.all - {self.players[-1].key}
        self.mask = Masked.parse(self._take(self.first.mask(self.all)))
        for p in self.players[1:]:
            p.mask(self.all)
        self.shares = Unmasking.parse(self._take(self.first.unmask(self.all, self.u, self.deals)))
        self.attestations = {
            p.key: Attestation.parse(self._take(p.attest(self.u, frozenset())))
            for p in self.players[:2]
        }
        self.pairs = PairCommitments(
            self.circle, masked=self.u, bad=frozenset(), attestations=self.attestations
        )

    @staticmethod
    def _take(raw: Any) -> bytes:
        assert isinstance(raw, bytes)
        return raw


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


# -- bytes -----------------------------------------------------------------------------------------


def list_payloads(scene: Scene) -> list[Record]:
    own = scene.first.own
    return [
        scene.deals[scene.first.key],
        scene.mask,
        scene.shares,
        scene.attestations[scene.first.key],
        make_revelation(scene.circle, scene.first.key, own, [scene.second.key]),
    ]


def test_any_bytes_are_a_payload_or_none(scene: Scene, rng: Random) -> None:
    """Whatever decodes has that one encoding; nothing raises."""
    n_read = 0
    for payload in list_payloads(scene):
        raw = payload.encode()
        kind = type(payload)
        assert kind.decode(raw).encode() == raw  # type: ignore[union-attr]
        altered = [raw[:k] for k in range(0, len(raw), 7)] + [raw + b"\x00", b""]
        for _ in range(300):
            broken = bytearray(raw)
            for _ in range(rng.randrange(1, 4)):
                broken[rng.randrange(len(raw))] = rng.randrange(256)
            altered.append(bytes(broken))
        for broken_raw in altered:
            found = kind.decode(broken_raw)
            n_read += found is not None
            assert found is None or found.encode() == broken_raw
    assert n_read > 100


def test_one_kind_is_no_other(scene: Scene) -> None:
    payloads = list_payloads(scene)
    for a in payloads:
        for b in payloads:
            assert (type(b).decode(a.encode()) is None) is (a is not b)


# -- deals -----------------------------------------------------------------------------------------


def test_faults_of_deals(scene: Scene) -> None:
    made, key = scene.deals[scene.first.key], scene.first.key
    assert deal.find_fault(made, scene.circle, key) is None
    assert "did not commit" in str(deal.find_fault(made, scene.circle, NOBODY))
    short = Deal(
        self_digest=made.self_digest,
        ciphertexts=made.ciphertexts[:80],
        self_digests=made.self_digests[:32],
        pair_digests=made.pair_digests[:32],
    )
    assert "more or fewer neighbours" in str(deal.find_fault(short, scene.circle, key))
    raw = made.encode().replace(made.pair_digests, made.pair_digests[:-32])
    assert Deal.decode(raw) is None


def test_a_deal_takes_little_room(scene: Scene) -> None:
    """144 bytes for each neighbour."""
    n_bytes = len(scene.deals[scene.first.key].encode())
    assert n_bytes <= 144 * (N_CLIENTS - 1) + 64


def test_a_share_is_for_its_receiver_only(scene: Scene) -> None:
    dealer, third = scene.first.key, scene.players[2]
    made = scene.deals[dealer]

    def open_as(player: Player, receiver: bytes) -> int | None:
        return deal.open_share(
            made,
            scene.circle,
            dealer=dealer,
            receiver=receiver,
            own=player.own.share_private,
            secret=deal.Secret.SELF,
        )

    assert open_as(third, third.key) is not None
    assert open_as(third, scene.second.key) is None
    assert open_as(scene.first, dealer) is None


# -- masked updates --------------------------------------------------------------------------------


def test_faults_of_masked_updates(scene: Scene) -> None:
    made, key = scene.mask, scene.first.key
    assert masked.find_fault(made, scene.circle, key, scene.all) is None
    not_in = masked.find_fault(made, scene.circle, key, scene.all - {key})
    assert not_in == "is by a client whose proof was not accepted"
    for n in (N_PARAMETERS, N_PARAMETERS + 2):
        other = Masked(scalars=FrArray.zeros(n))
        assert masked.find_fault(other, scene.circle, key, scene.all) == "has not 13 scalars"


@pytest.mark.parametrize("value", [0, 1, -1, (1 << 62) - 1, 1 - (1 << 62)])
def test_signed_numbers_are_read_back(value: int) -> None:
    signed = read_signed(weigh(np.array([value, 5]), R - 2, 1)[:-1])
    assert signed is not None
    assert signed.tolist() == [value, 5]


@pytest.mark.parametrize("value", [1 << 62, -(1 << 62), R // 2, 1 << 64, R - (1 << 64)])
def test_greater_numbers_are_none(value: int) -> None:
    assert read_signed(FrArray.from_ints([1, value])) is None


# -- unmaskings ------------------------------------------------------------------------------------


def find_share_fault(scene: Scene, made: Unmasking, sender: bytes) -> str | None:
    return unmasking.find_fault(
        made, scene.circle, sender, accepted=scene.all, masked=scene.u, deals=scene.deals
    )


def alter_share(made: Unmasking) -> Unmasking:
    shares = made.shares.to_ints()
    return replace(made, shares=FrArray.from_ints([shares[0] + 1, *shares[1:]]))


@pytest.mark.parametrize(
    ("alter", "what"),
    [
        (alter_share, "has a share that its dealer did not deal"),
        (lambda m: replace(m, shares=m.shares[:-1]), "more or fewer shares"),
        (lambda m: replace(m, complaints=(0,)), ""),
        (lambda m: replace(m, complaints=(500,)), "no neighbour of its sender's"),
    ],
)
def test_faults_of_unmaskings(
    alter: Callable[[Unmasking], Unmasking], what: str, scene: Scene
) -> None:
    assert find_share_fault(scene, scene.shares, scene.first.key) is None
    assert what in str(find_share_fault(scene, alter(scene.shares), scene.first.key))


def test_unmaskings_of_others_have_a_fault(scene: Scene) -> None:
    late = scene.players[-1].key
    fault = find_share_fault(scene, scene.shares, late)
    assert fault == "is by a client whose masked update did not come in time"
    fault = find_share_fault(scene, scene.shares, scene.second.key)
    assert fault == "has a share that its dealer did not deal"


def test_shares_for_another_set_have_a_fault(scene: Scene) -> None:
    """Of the other secret of who was late."""
    fault = unmasking.find_fault(
        scene.shares,
        scene.circle,
        scene.first.key,
        accepted=scene.all,
        masked=scene.all,
        deals=scene.deals,
    )
    assert fault == "has a share that its dealer did not deal"


def test_complaints_are_in_order() -> None:
    good = Unmasking(complaints=(1, 2), shares=FrArray.zeros(0)).encode()
    assert Unmasking.decode(good) is not None
    for wrong in (b"\x02\x00\x01\x00", b"\x01\x00\x01\x00"):
        assert Unmasking.decode(good.replace(b"\x01\x00\x02\x00", wrong)) is None


# -- disputes --------------------------------------------------------------------------------------


def test_faults_of_attestations(scene: Scene) -> None:
    made, key = scene.attestations[scene.first.key], scene.first.key

    def find(a: Attestation, sender: bytes, *bad: bytes) -> str | None:
        return find_attestation_fault(a, scene.circle, sender, masked=scene.u, bad=frozenset(bad))

    assert find(made, key) is None
    assert find(made, scene.players[-1].key) == "is by a client that is not asked"
    assert find(made, key, key) == "is by a client that is not asked"
    short = Attestation(commitments=made.commitments[:-1])
    assert find(short, key) == "attests more or fewer masks than its sender has"
    assert find(made, key, scene.players[-1].key) is not None  # its mask is asked for as well


def test_faults_of_revelations(scene: Scene) -> None:
    first, second, third = (p.key for p in scene.players[:3])
    own = scene.first.own

    def find(made: Revelation, sender: bytes, edges: Edges) -> str | None:
        return find_revelation_fault(
            made,
            scene.circle,
            sender,
            edges=edges,
            pairs=scene.pairs,
            masker=masker(),
            committer=committer(),
            random_bytes=scene.rng.randbytes,
        )

    both: Edges = ((first, second), (first, third), (second, first))
    made = make_revelation(scene.circle, first, own, [second, third])
    assert find(made, first, both) is None
    assert find(made, third, both) == "is by a client that is not asked"
    assert find(made, first, both[:1]) == "has more or fewer seeds than its sender is asked for"
    swapped = Revelation(seeds=made.seeds[32:] + made.seeds[:32])
    assert find(swapped, first, both) == "has a seed of another mask than the attested one"
    fourth, fifth = (p.key for p in scene.players[3:5])
    unattested = find(Revelation(seeds=bytes(32)), fourth, ((fourth, fifth),))
    assert unattested == "has a seed of a mask that nobody attested"
