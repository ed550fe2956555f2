"""A client's side: what it says in each step of a round, and what it never says.

Before each answer the client keeps on its disk what it answers for, and it answers for nothing else
in that round: two sums over different sets under the same masks would differ by somebody's model.
A client that starts again from its disk is bound alike, and gives the same answers again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Self

from consensus.aggregation import deal, masked, unmasking
from consensus.aggregation.circle import Circle, PublicKeys, encode_place
from consensus.aggregation.deal import Deal, Deals
from consensus.aggregation.dispute import (
    Attestation,
    Revelation,
    list_asked,
    make_attestation,
    make_revelation,
)
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import Masker
from consensus.aggregation.outcome import Outcome
from consensus.aggregation.secrets import OwnSecrets
from consensus.aggregation.unmasking import Unmasking
from consensus.errors import AnswerRefused
from kernels.encoding import encode_fr
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes
from prover.wire.kinds import DIGEST_BYTES, Bytes, Count, Digest
from prover.wire.records import Document, encode_fields, header

_DOMAIN = b"zkpot aggregation promise v1\x00"
_Promise = Annotated[bytes, Bytes(0, DIGEST_BYTES, step=DIGEST_BYTES)]
"""The digest of what was answered for; empty before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSecrets(Document):
    """A client's secrets of a round and what it has answered, for its owner's eyes and disk only.

    circle   : for which clients, keys and bounds it answered at all
    accepted : for which S it masked
    vector   : which weighted model, by a digest that only the owner can make
    masked   : for which U it unmasked, attested and revealed
    bad      : for which bad deals it attested
    revealed : for which exclusions and edges it revealed
    """

    HEADER: ClassVar[bytes] = header(b"zkpotrnd", 1)
    NAME: ClassVar[str] = "round's secrets"
    NEXT_STEP: ClassVar[str] = "stay out of the rest of this round"
    genesis_digest: Digest
    learning_round: Count
    client_key: Digest
    root: Annotated[bytes, Bytes(DIGEST_BYTES)] = field(repr=False)
    circle: _Promise = b""
    accepted: _Promise = b""
    vector: _Promise = field(default=b"", repr=False)
    masked: _Promise = b""
    bad: _Promise = b""
    revealed: _Promise = b""

    @classmethod
    def draw(
        cls,
        *,
        genesis_digest: bytes,
        learning_round: int,
        client_key: bytes,
        random_bytes: RandomBytes,
    ) -> Self:
        """Fresh secrets for one round; never use them in two."""
        return cls(
            genesis_digest=genesis_digest,
            learning_round=learning_round,
            client_key=client_key,
            root=random_bytes(DIGEST_BYTES),
        )

    def derive(self) -> OwnSecrets:
        """All that comes from the root."""
        return OwnSecrets(self.root, encode_place(self.genesis_digest, self.learning_round))

    @property
    def public(self) -> PublicKeys:
        """The keys to commit with."""
        return self.derive().public


Save = Callable[[RoundSecrets], None]
"""Keeps secrets on the owner's disk; when it returns they are there for good."""


class RoundClient:
    """One client in one round, from the beacon on.

    save   : called before each answer that binds
    raises : AnswerRefused, everywhere, for what the client must not answer; KeyError for a deal
             that is asked for and not given
    """

    def __init__(
        self, secrets: RoundSecrets, circle: Circle, *, masker: Masker, save: Save
    ) -> None:
        self._secrets, self._circle = secrets, circle
        self._masker, self._save = masker, save
        self._own, self._key = secrets.derive(), secrets.client_key
        here = (circle.genesis_digest, circle.learning_round)
        _require(here == (secrets.genesis_digest, secrets.learning_round), "another round asks")
        _require(circle.keys.get(self._key) == self._own.public, "the round knows other keys of it")

    def deal(self) -> Deal:
        """The deal that goes with the proof."""
        self._promise()
        return deal.make_deal(self._circle, self._key, self._own, self._masker.backend)

    def mask(
        self, parameters: Int64Array, *, rho: int, weight: int, accepted: Set[bytes]
    ) -> Masked:
        """The masked update of a model, int64[n_parameters], with its blinding and proven count.

        accepted : the frozen set S
        """
        self._require_set(accepted, "S")
        _require(len(parameters) == self._circle.n_parameters, "the model has another length")
        vector = masked.weigh(parameters, rho, weight)
        self._promise(
            accepted=_digest_set(accepted),
            vector=_digest(self._secrets.root, encode_fr(vector)),
        )
        return masked.mask(vector, self._circle, self._key, self._own, accepted, self._masker)

    def unmask(self, *, accepted: Set[bytes], masked: Set[bytes], deals: Deals) -> Unmasking:
        """Shares for the frozen sets S and U. deals : of each neighbour in S"""
        self._require_set(masked, "U")
        _require(masked <= accepted, "U is not of S")
        _require(self._secrets.accepted == _digest_set(accepted), "it masked for another S")
        self._promise(masked=_digest_set(masked))
        return unmasking.make_unmasking(
            self._circle,
            self._key,
            self._own,
            accepted=accepted,
            masked=masked,
            deals=deals,
        )

    def attest(self, *, masked: Set[bytes], bad: Set[bytes], committer: Committer) -> Attestation:
        """Commitments to the masks that are left. bad : the excluded of the DISPUTE"""
        self._require_set(masked - bad, "U without the bad")
        self._promise(masked=_digest_set(masked), bad=_digest_set(bad))
        return make_attestation(
            self._circle,
            self._key,
            self._own,
            masked=masked,
            bad=bad,
            masker=self._masker,
            committer=committer,
        )

    def reveal(self, judged: Outcome, *, masked: Set[bytes]) -> Revelation:
        """The seeds of the edges that a REVEAL lists for this client.

        An honest client's mask differs only from a colluder's: it is not asked for those of more of
        the kept than may collude.
        """
        kept = masked - {client for client, _ in judged.excluded}
        self._require_set(kept, "U without the excluded")
        others = list_asked(judged.edges, self._key)
        n_kept, most = len(kept & set(others)), self._circle.graph.collusion
        _require(n_kept <= most, "it is asked for the seeds of more than collude")
        slots = [self._circle.graph.find_slot(self._key, other) for other in others]
        _require(None not in slots, "it is asked for a seed that it does not have")
        excluded = (part for client, cheat in judged.excluded for part in (client, cheat.encode()))
        edges = (part for edge in judged.edges for part in edge)
        self._promise(
            masked=_digest_set(masked),
            revealed=_digest(encode_fields(excluded), encode_fields(edges)),
        )
        return make_revelation(self._circle, self._key, self._own, others)

    # -- what binds ------------------------------------------------------------------------------
    def _require_set(self, clients: Set[bytes], name: str) -> None:
        _require(self._key in clients, f"it is not in {name}")
        _require(self._circle.graph.is_enough(clients), f"{name} is too small to hide it")

    def _promise(self, **answers: bytes) -> None:
        """Keeps what is answered for, the circle with it, or refuses what differs from what was."""
        answers["circle"] = _digest(self._circle.name)
        for name, digest in answers.items():
            _require(getattr(self._secrets, name) in (b"", digest), f"another {name} was answered")
        changes: dict[str, Any] = dict(answers)
        kept = replace(self._secrets, **changes)
        if kept != self._secrets:
            self._save(kept)
            self._secrets = kept


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise AnswerRefused(what)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + encode_fields(parts)).digest()


def _digest_set(clients: Iterable[bytes]) -> bytes:
    return _digest(*sorted(clients))
