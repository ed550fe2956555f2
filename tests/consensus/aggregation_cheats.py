"""Clients that cheat in rounds of secure aggregation, one habit for each step.

A habit is a method of `Cheater`, by step; a cheater has none or one for each. Two conspirators know
of each other. None of them is better informed than colluding clients are: a cheater uses its own
secrets, what is published, and its partner's secrets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from consensus.aggregation import deal as dealing
from consensus.aggregation import masked as masking
from consensus.aggregation.circle import Circle
from consensus.aggregation.commitments import combine, commit_vector
from consensus.aggregation.deal import CIPHERTEXT_BYTES, Deal, Secret, digest_share
from consensus.aggregation.dispute import Attestation, Revelation, list_asked, list_attested
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import expand
from consensus.aggregation.outcome import Outcome
from consensus.aggregation.secrets import agree_pair_seed, encode_scalar
from consensus.aggregation.unmasking import Unmasking
from kernels.array import FrArray, G1Array
from kernels.bn254 import R
from tests.consensus.aggregation_rounds import COLLUSION, Answer, Player, committer, masker

HABITS: dict[str, tuple[str, ...]] = {
    "deal": (
        "nothing",
        "garbage",
        "deal_garbage_to_some",
        "deal_garbage_to_all",
        "deal_apart",
        "deal_another_digest",
        "deal_another_self_digest",
        "deal_another_sigma",
        "deal_twice",
    ),
    "mask": (
        "nothing",
        "garbage",
        "mask_noise",
        "mask_another_model",
        "mask_without_a_pair",
        "mask_too_short",
        "mask_not_canonical",
        "mask_twice",
        "mask_late",
    ),
    "unmask": ("nothing", "garbage", "unmask_wrong_share", "unmask_complaining", "unmask_twice"),
    "attest": ("nothing", "garbage", "attest_noise", "attest_what_fits", "attest_too_few"),
    "reveal": ("nothing", "garbage", "reveal_noise", "reveal_too_few"),
}


class Cheater(Player):
    """habits : by step, of HABITS; an honest answer where there is none
    spared : who gets no garbage
    """

    is_honest, is_cheater = False, True
    habits: Mapping[str, str] = {}
    spared: Collection[bytes] = ()
    partner: Cheater | None = None

    def nothing(self, honest: bytes) -> Answer:
        return None

    def garbage(self, honest: bytes) -> Answer:
        """Bytes of nothing, or a true answer with one byte changed, cut off or added."""
        at = self.rng.randrange(len(honest))
        flipped = bytes((honest[at] ^ self.rng.randrange(1, 256),))
        return self.rng.choice(
            (
                self.rng.randbytes(50),
                b"",
                honest[:at],
                honest + b"\x00",
                honest[:at] + flipped + honest[at + 1 :],
            )
        )

    def _act(self, step: str, honest: bytes) -> Answer:
        habit = self.habits.get(step)
        return honest if habit is None else getattr(self, habit)(honest)

    # -- deal ------------------------------------------------------------------------------------
    def deal(self) -> Answer:
        return self._act("deal", self.client.deal().encode())

    def _pick_slots(self, n: int) -> list[int]:
        return self.rng.sample(range(n), self.rng.randrange(1, n + 1))

    def _garble(self, honest: bytes, slots: Sequence[int]) -> bytes:
        made = Deal.parse(honest)
        parts = bytearray(made.ciphertexts)
        for k in slots:
            at = slice(k * CIPHERTEXT_BYTES, (k + 1) * CIPHERTEXT_BYTES)
            parts[at] = self.rng.randbytes(CIPHERTEXT_BYTES)
        return replace(made, ciphertexts=bytes(parts)).encode()

    def deal_garbage_to_some(self, honest: bytes) -> Answer:
        return self._garble(honest, self._pick_slots(len(self.neighbours)))

    def deal_garbage_to_all(self, honest: bytes) -> Answer:
        return self._garble(honest, range(len(self.neighbours)))

    def deal_garbage_to_two(self, honest: bytes) -> Answer:
        """To as many as may collude, none of them spared."""
        slots = [k for k, c in enumerate(self.neighbours) if c not in self.spared]
        return self._garble(honest, slots[:COLLUSION])

    def deal_apart(self, honest: bytes) -> Answer:
        """Shares that their digests fit, of no polynomial of the degree."""
        made = Deal.parse(honest)
        texts, own, pairs = map(bytearray, (made.ciphertexts, made.self_digests, made.pair_digests))
        for k in self._pick_slots(len(self.neighbours)):
            a, b = self.rng.randrange(R), self.rng.randrange(R)
            texts[k * CIPHERTEXT_BYTES : (k + 1) * CIPHERTEXT_BYTES] = dealing._seal(
                self.circle,
                self.key,
                self.neighbours[k],
                self.own.share_private,
                encode_scalar(a) + encode_scalar(b),
            )
            own[32 * k : 32 * k + 32] = digest_share(Secret.SELF, a)
            pairs[32 * k : 32 * k + 32] = digest_share(Secret.PAIRS, b)
        return replace(
            made,
            ciphertexts=bytes(texts),
            self_digests=bytes(own),
            pair_digests=bytes(pairs),
        ).encode()

    def deal_another_digest(self, honest: bytes) -> Answer:
        made = Deal.parse(honest)
        digests = bytearray(made.self_digests)
        for k in self._pick_slots(len(self.neighbours)):
            digests[32 * k : 32 * k + 32] = self.rng.randbytes(32)
        return replace(made, self_digests=bytes(digests)).encode()

    def deal_another_self_digest(self, honest: bytes) -> Answer:
        return replace(Deal.parse(honest), self_digest=self.rng.randbytes(32)).encode()

    def deal_another_sigma(self, honest: bytes) -> Answer:
        """Shares of a scalar that the mask key does not come from."""
        own = self.secrets.derive()
        own.sigma = self.rng.randrange(R)
        return dealing.make_deal(self.circle, self.key, own, masker().backend).encode()

    def deal_twice(self, honest: bytes) -> Answer:
        return self.deal_apart(honest), honest

    # -- mask ------------------------------------------------------------------------------------
    def mask(self, accepted: frozenset[bytes]) -> Answer:
        self.accepted = accepted
        honest = Masked.parse(super().mask(accepted)).scalars
        if self.partner is not None and self.partner.key in accepted:
            honest = masker().add(honest, self._shift_pair(self.partner))
        return self._act("mask", Masked(scalars=honest).encode())

    def _shift_pair(self, partner: Cheater) -> FrArray:
        """What makes another stream of the pair's; nothing for the second of a conspiracy."""
        return FrArray.zeros(len(self.model) + 1)

    def _noise(self) -> FrArray:
        return FrArray.from_ints(self.rng.randrange(R) for _ in range(len(self.model) + 1))

    def mask_noise(self, honest: bytes) -> Answer:
        """One element is off, or all."""
        off = self._noise()
        if self.rng.random() < 0.5:
            off.data[1:] = 0
        return Masked(scalars=masker().add(Masked.parse(honest).scalars, off)).encode()

    def mask_another_model(self, honest: bytes) -> Answer:
        other = np.array([self.rng.randrange(-127, 128) for _ in self.model])
        vector = masking.weigh(other, self.rho, self.weight)
        return masking.mask(
            vector, self.circle, self.key, self.own, self.accepted, masker()
        ).encode()

    def mask_without_a_pair(self, honest: bytes) -> Answer:
        others = self.accepted - {self.rng.choice(sorted(self.accepted - {self.key}))}
        vector = masking.weigh(self.model, self.rho, self.weight)
        return masking.mask(vector, self.circle, self.key, self.own, others, masker()).encode()

    def mask_too_short(self, honest: bytes) -> Answer:
        return Masked(scalars=Masked.parse(honest).scalars[:-1]).encode()

    def mask_not_canonical(self, honest: bytes) -> Answer:
        last = int.from_bytes(honest[-32:], "little")
        return honest[:-32] + (last + R).to_bytes(32, "little")

    def mask_twice(self, honest: bytes) -> Answer:
        return self.mask_noise(honest), honest

    def mask_late(self, honest: bytes) -> Answer:
        self.late["mask"] = honest
        return None

    # -- unmask ----------------------------------------------------------------------------------
    def unmask(
        self, accepted: frozenset[bytes], u: frozenset[bytes], deals: Mapping[bytes, Deal]
    ) -> Answer:
        return self._act("unmask", super().unmask(accepted, u, deals))

    def unmask_wrong_share(self, honest: bytes) -> Answer:
        made = Unmasking.parse(honest)
        shares = made.shares.to_ints()
        shares[self.rng.randrange(len(shares))] = self.rng.randrange(R)
        return replace(made, shares=FrArray.from_ints(shares)).encode()

    def unmask_complaining(self, honest: bytes) -> Answer:
        """Of some in vain, or of all."""
        made = Unmasking.parse(honest)
        places = [self.circle.graph.find_position(c) for c in self.neighbours if c in self.accepted]
        sent = [p for p in places if p not in made.complaints]
        against = [p for p in sent if self.rng.random() < 0.6]
        kept = [i for i, p in enumerate(sent) if p not in against]
        return Unmasking(
            complaints=tuple(sorted((*made.complaints, *against))),
            shares=FrArray(made.shares.data[kept]),
        ).encode()

    def unmask_twice(self, honest: bytes) -> Answer:
        return self.unmask_complaining(honest), honest

    # -- attest ----------------------------------------------------------------------------------
    def attest(self, u: frozenset[bytes], bad: frozenset[bytes]) -> Answer:
        self.attested_to = list_attested(self.circle, self.key, masked=u, bad=bad)
        honest = Attestation.parse(super().attest(u, bad))
        if self.partner is not None and self.partner.key in self.attested_to:
            honest = self._attest_pair(honest, self.attested_to.index(self.partner.key))
        return self._act("attest", honest.encode())

    def _attest_pair(self, honest: Attestation, slot: int) -> Attestation:
        return honest

    def attest_noise(self, honest: bytes) -> Answer:
        points = Attestation.parse(honest).commitments.data.copy()
        for k in self._pick_slots(len(points)):
            points[k] = commit_vector(self._noise(), committer()).data[0]
        return Attestation(commitments=G1Array(points)).encode()

    def attest_what_fits(self, honest: bytes) -> Answer:
        """Puts what is wrong with its update on one of its pairs, so that its equation holds.

        What is wrong is known to it; here it is computed from what an honest update would be.
        """
        points = Attestation.parse(honest).commitments
        vector = masking.weigh(self.model, self.rho, self.weight)
        true = masking.mask(vector, self.circle, self.key, self.own, self.accepted, masker())
        sent = Masked.decode(self.sent["mask"])
        k = self.rng.randrange(len(points))
        sign = self.circle.graph.find_sign(self.key, self.attested_to[k])
        terms = [commit_vector(m.scalars, committer()) for m in (true, sent) if m is not None]
        shifted = combine([points[k : k + 1], *terms], [1, -sign, sign])
        parts = [points[:k], shifted, points[k + 1 :]]
        return Attestation(commitments=G1Array.concat(parts)).encode()

    def attest_too_few(self, honest: bytes) -> Answer:
        return Attestation(commitments=Attestation.parse(honest).commitments[:-1]).encode()

    # -- reveal ----------------------------------------------------------------------------------
    def reveal(self, judged: Outcome, u: frozenset[bytes]) -> Answer:
        honest = Revelation.parse(super().reveal(judged, u))
        asked = list_asked(judged.edges, self.key)
        if self.partner is not None and self.partner.key in asked:
            honest = self._reveal_pair(honest, asked.index(self.partner.key))
        return self._act("reveal", honest.encode())

    def _reveal_pair(self, honest: Revelation, slot: int) -> Revelation:
        return honest

    def reveal_noise(self, honest: bytes) -> Answer:
        seeds = bytearray(honest)
        seeds[-32:] = self.rng.randbytes(32)
        return bytes(seeds)

    def reveal_too_few(self, honest: bytes) -> Answer:
        return Revelation(seeds=Revelation.parse(honest).seeds[:-32]).encode()


class Conspirator(Cheater):
    """Of two, the one whose update has another stream than the pair's.

    It attests that stream, so its own equation holds, and reveals its seed.
    """

    def plot(self, partner: Cheater) -> None:
        self.false_seed = self.rng.randbytes(32)
        self.partner = partner

    def _sign(self, partner: Cheater) -> int:
        return self.circle.graph.find_sign(self.key, partner.key)

    def _shift_pair(self, partner: Cheater) -> FrArray:
        true = agree_pair_seed(self.circle, self.key, self.own.mask_private, partner.key)
        sign = self._sign(partner)
        seeds = [(sign, self.false_seed), (-sign, true)]
        return masker().sum_streams(seeds, len(self.model) + 1)

    def _attest_pair(self, honest: Attestation, slot: int) -> Attestation:
        return replace_point(honest, slot, self.false_seed, len(self.model) + 1)

    def _reveal_pair(self, honest: Revelation, slot: int) -> Revelation:
        seeds = honest.list_seeds()
        seeds[slot] = self.false_seed
        return Revelation(seeds=b"".join(seeds))


class Accomplice(Cheater):
    """The other one: it masks as it should, and attests the same false stream."""

    def plot(self, partner: Conspirator) -> None:
        self.partner = partner

    def _attest_pair(self, honest: Attestation, slot: int) -> Attestation:
        assert isinstance(self.partner, Conspirator)
        return replace_point(honest, slot, self.partner.false_seed, len(self.model) + 1)


class Loner(Cheater):
    """Has a stream of its own with each neighbour, attests these and reveals their seeds."""

    def enter(self, circle: Circle) -> None:
        super().enter(circle)
        self.false_seeds = {other: self.rng.randbytes(32) for other in self.neighbours}

    def mask(self, accepted: frozenset[bytes]) -> Answer:
        made = self.client.mask(self.model, rho=self.rho, weight=self.weight, accepted=accepted)
        honest, seeds = made.scalars, []
        for other in self.circle.list_neighbours(self.key, accepted):
            true = agree_pair_seed(self.circle, self.key, self.own.mask_private, other)
            sign = self.circle.graph.find_sign(self.key, other)
            seeds += [(sign, self.false_seeds[other]), (-sign, true)]
        shift = masker().sum_streams(seeds, len(self.model) + 1)
        return Masked(scalars=masker().add(honest, shift)).encode()

    def attest(self, u: frozenset[bytes], bad: frozenset[bytes]) -> Answer:
        others = list_attested(self.circle, self.key, masked=u, bad=bad)
        streams = (expand(self.false_seeds[other], len(self.model) + 1) for other in others)
        points = [commit_vector(stream, committer()) for stream in streams]
        return Attestation(commitments=G1Array.concat(points)).encode()

    def reveal(self, judged: Outcome, u: frozenset[bytes]) -> Answer:
        asked = list_asked(judged.edges, self.key)
        return Revelation(seeds=b"".join(self.false_seeds[other] for other in asked)).encode()


def replace_point(attestation: Attestation, slot: int, seed: bytes, n: int) -> Attestation:
    """An attestation with the commitment to another stream at one place."""
    points = attestation.commitments
    other = commit_vector(expand(seed, n), committer())
    parts = [points[:slot], other, points[slot + 1 :]]
    return Attestation(commitments=G1Array.concat(parts))


def draw_habits(rng: Random) -> dict[str, str]:
    """One habit, or one for several steps."""
    found = {step: rng.choice(habits) for step, habits in HABITS.items() if rng.random() < 0.35}
    if found:
        return found
    step = rng.choice(list(HABITS))
    return {step: rng.choice(HABITS[step])}
