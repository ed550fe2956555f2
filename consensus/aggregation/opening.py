"""A node's side: from frozen sets, keys and payloads to what the round comes to.

    after UNMASK   Y = sum of y_i over U less all masks whose secrets are recovered
                   Com(Y) = sum c_i D_i  ->  MODEL; else, or with a bad deal, DISPUTE
    after ATTEST   who fails its own equation, or attests other masks than more of its neighbours
                   do than collude, is excluded  ->  REVEAL, or NONE
    after REVEAL   the same sum over the clients kept, less the masks that are revealed  ->  MODEL

Deterministic, so every validator comes to the same; nothing in a payload that passed its check when
it came (`find_fault`) can make it raise. Only a proven cheater is ever taken out of the sum: a sum
over other sets of honest clients would tell their differences.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from consensus.aggregation.circle import Circle
from consensus.aggregation.commitments import combine, commit_vector
from consensus.aggregation.deal import Deals
from consensus.aggregation.dispute import (
    Attestations,
    PairCommitments,
    Revelations,
    list_asked,
    list_attested,
)
from consensus.aggregation.masked import Masked, read_signed
from consensus.aggregation.masks import Masker, SignedSeed
from consensus.aggregation.outcome import Cheat, Edges, Ending, Exclusions, Failure, Outcome
from consensus.aggregation.recovery import Recovery, recover_secrets
from consensus.aggregation.secrets import agree_pair_seed, derive_mask_private, derive_self_seed
from consensus.aggregation.unmasking import Unmaskings
from kernels.array import FrArray, G1Array
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Final:
    """What final blocks say of a round, with the payloads that they name; all without fault.

    accepted    : S, clients with accepted proofs
    masked      : U, those of them with masked updates; enough (`Graph.is_enough`)
    weights     : c_i of each client of U; a sum with different ones tells more (PROTOCOL section 6)
    commitments : D_i of each client of U, arrays of length 1
    deals       : of each client of S
    unmaskings  : of those of U who sent one
    load_masked : the masked update of a client of U; called one at a time, as each is long
    """

    circle: Circle
    accepted: frozenset[bytes]
    masked: frozenset[bytes]
    weights: Mapping[bytes, int]
    commitments: Mapping[bytes, G1Array]
    deals: Deals
    unmaskings: Unmaskings
    load_masked: Callable[[bytes], Masked]


def find_sums(
    total: FrArray, commitments: Sequence[G1Array], weights: Sequence[int], committer: Committer
) -> Int64Array | None:
    """The integers that a sum of weighted models consists of, when it opens sum c_i D_i.

    total    : shape [n_elements], the blinding last
    returns  : int64[n_parameters]; None when the sum is another
    """
    sums = read_signed(total[:-1])
    if sums is None or not commit_vector(total, committer).equals(combine(commitments, weights)):
        return None
    return sums


class Opening:
    """One round's sum. Each method's result is a pure function of what it is given."""

    def __init__(self, final: Final, masker: Masker, committer: Committer) -> None:
        self._final, self._circle = final, final.circle
        self._masker, self._committer = masker, committer

    # -- outcomes --------------------------------------------------------------------------------
    def open_sum(self) -> Outcome:
        """After UNMASK: MODEL, NONE or DISPUTE."""
        bad = self._exclude(self._recovery.bad, Cheat.DEAL)
        if self._recovery.is_short:
            names = tuple(sorted(self._recovery.silent))
            return _fail(Failure.SHARES_MISSING, excluded=bad, names=names)
        if not self._circle.graph.is_enough(self._final.masked - self.bad):
            return _fail(Failure.TOO_FEW, excluded=bad)
        found = None if bad else self._close((), ())
        return found or Outcome(ending=Ending.DISPUTE, excluded=bad)

    def judge(self, attestations: Attestations) -> Outcome:
        """After ATTEST: REVEAL, MODEL or NONE. attestations : without fault, of those who sent"""
        pairs = self.pair_commitments(attestations)
        failing = {c for c in self._final.masked - self.bad if not self._fits(c, pairs)}
        proven = self._exclude(self.bad, Cheat.DEAL)
        contradicted = {c for c in attestations if self._is_contradicted(c, pairs)}
        proven += self._exclude(failing & attestations.keys() | contradicted, Cheat.MASKED)
        excluded = tuple(sorted(proven))
        unresolved = tuple(sorted(failing - attestations.keys()))
        if unresolved:
            return _fail(Failure.UNRESOLVED, excluded=excluded, names=unresolved)
        gone = self.bad | failing | contradicted
        kept = self._final.masked - gone
        if not self._circle.graph.is_enough(kept):
            return _fail(Failure.TOO_FEW, excluded=excluded)
        edges = tuple(
            (client, other)
            for client in self._circle.sort(kept)
            for other in self._list_open(client)
            if other in gone or pairs.differ(client, other)
        )
        if edges:
            return Outcome(ending=Ending.REVEAL, excluded=excluded, edges=edges)
        return self._close(excluded, ()) or _fail(Failure.UNRESOLVED, excluded=excluded)

    def conclude(self, judged: Outcome, revelations: Revelations) -> Outcome:
        """After REVEAL: MODEL or NONE.

        judged : the REVEAL of the final block that asked; revelations : without fault
        """
        excluded, edges = judged.excluded, judged.edges
        missing = {owner for owner, _ in edges} - revelations.keys()
        if missing:
            return _fail(Failure.UNRESOLVED, excluded=excluded, names=tuple(sorted(missing)))
        seeds = self._list_revealed(edges, revelations)
        return self._close(excluded, seeds) or _fail(Failure.UNRESOLVED, excluded=excluded)

    @property
    def bad(self) -> frozenset[bytes]:
        """Whose deals are bad."""
        return self._recovery.bad

    def pair_commitments(self, attestations: Attestations) -> PairCommitments:
        """What revelations are checked against."""
        return PairCommitments(
            self._circle, masked=self._final.masked, bad=self.bad, attestations=attestations
        )

    # -- parts -----------------------------------------------------------------------------------
    @cached_property
    def _recovery(self) -> Recovery:
        final = self._final
        return recover_secrets(
            self._circle,
            accepted=final.accepted,
            masked=final.masked,
            deals=final.deals,
            unmaskings=final.unmaskings,
            backend=self._masker.backend,
        )

    @cached_property
    def _known_seeds(self) -> dict[bytes, list[SignedSeed]]:
        """For each client of U, the masks to take from its update: whose secrets are recovered."""
        circle, final, secrets = self._circle, self._final, self._recovery.secrets
        seeds: dict[bytes, list[SignedSeed]] = {
            c: [(-1, derive_self_seed(secrets[c], circle.place))] for c in final.masked - self.bad
        }
        for gone in circle.sort(final.accepted - final.masked - self.bad):
            private = derive_mask_private(secrets[gone], circle.place)
            for client in circle.list_neighbours(gone, frozenset(seeds)):
                seed = agree_pair_seed(circle, gone, private, client)
                seeds[client].append((-circle.graph.find_sign(client, gone), seed))
        return seeds

    def _unmask(self, clients: Collection[bytes], revealed: Sequence[SignedSeed]) -> FrArray:
        """The sum of these clients' updates less all masks that are known, shape [n_elements]."""
        seeds = [s for c in clients for s in self._known_seeds[c]]
        total = self._masker.sum_streams([*seeds, *revealed], self._circle.n_elements)
        for client in self._circle.sort(clients):
            total = self._masker.add(total, self._final.load_masked(client).scalars)
        return total

    def _close(self, excluded: Exclusions, revealed: Sequence[SignedSeed]) -> Outcome | None:
        """MODEL over all but the excluded; None when that does not open their commitments."""
        final = self._final
        kept = sorted(final.masked - {client for client, _ in excluded})
        entries = tuple((client, final.weights[client]) for client in kept)
        total = self._unmask(kept, revealed)
        named = [final.commitments[client] for client in kept]
        sums = find_sums(total, named, [w for _, w in entries], self._committer)
        if sums is None:
            return None
        return Outcome(ending=Ending.MODEL, sums=sums, entries=entries, excluded=excluded)

    def _fits(self, client: bytes, pairs: PairCommitments) -> bool:
        """Whether Com(v_i) = c_i D_i + sum of sign M_ij."""
        points, weights = [self._final.commitments[client]], [self._final.weights[client]]
        for other in self._list_open(client):
            attested = pairs.find(client, other)
            if attested is None:
                return False
            points.append(attested)
            weights.append(self._circle.graph.find_sign(client, other))
        own = commit_vector(self._unmask([client], ()), self._committer)
        return own.equals(combine(points, weights))

    def _is_contradicted(self, client: bytes, pairs: PairCommitments) -> bool:
        """Whether more of its neighbours than collude attest other masks than it does. Honest
        pairs agree; and as many as differ would make more edges than a block may list."""
        n_differing = sum(pairs.differ(client, other) for other in self._list_open(client))
        return n_differing >= self._circle.graph.threshold

    def _list_open(self, client: bytes) -> tuple[bytes, ...]:
        return list_attested(self._circle, client, masked=self._final.masked, bad=self.bad)

    def _list_revealed(self, edges: Edges, revelations: Revelations) -> list[SignedSeed]:
        find_sign = self._circle.graph.find_sign
        return [
            (-find_sign(owner, other), seed)
            for owner, revelation in revelations.items()
            for other, seed in zip(list_asked(edges, owner), revelation.list_seeds(), strict=True)
        ]

    @staticmethod
    def _exclude(clients: Iterable[bytes], cheat: Cheat) -> Exclusions:
        return tuple((client, cheat) for client in sorted(clients))


def _fail(reason: Failure, *, excluded: Exclusions, names: tuple[bytes, ...] = ()) -> Outcome:
    return Outcome(ending=Ending.NONE, reason=reason, excluded=excluded, names=names)
