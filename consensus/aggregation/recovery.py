"""Secrets from shares, by every node alike: of U their own masks' b, of S without U their sigma.

Shares are pinned by their dealer's digests. So when those of a client do not make its secret, or
more clients than collude complain of what it sent them, it is the dealer that cheated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass

from consensus.aggregation.circle import Circle
from consensus.aggregation.deal import Deals, Secret, digest_self_secret
from consensus.aggregation.secrets import derive_mask_private
from consensus.aggregation.shamir import recover
from consensus.aggregation.unmasking import Unmaskings, choose_secret, list_shares
from kernels.array import FrArray
from kernels.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recovery:
    """secrets : of each client of S that is neither bad nor short of shares
    bad     : whose deals are bad
    is_short : whether another secret has too few shares
    silent  : neighbours in U of those short of shares who sent nothing
    """

    secrets: Mapping[bytes, int]
    bad: frozenset[bytes]
    is_short: bool
    silent: frozenset[bytes]


def recover_secrets(
    circle: Circle,
    *,
    accepted: Set[bytes],
    masked: Set[bytes],
    deals: Deals,
    unmaskings: Unmaskings,
    backend: Backend,
) -> Recovery:
    """All secrets that the shares sent make. unmaskings : without fault, of clients of U

    Of more shares than the threshold the first in graph order are taken: shares that are of
    different polynomials would make different values, and all nodes must have the same.
    """
    graph, threshold = circle.graph, circle.graph.threshold
    held: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    complaints: Counter[bytes] = Counter()
    for sender in circle.sort(unmaskings):
        complaints.update(graph.order[p] for p in unmaskings[sender].complaints)
        point = graph.find_position(sender) + 1
        for dealer, share in list_shares(unmaskings[sender], circle, sender, accepted):
            held[dealer].append((point, share))
    bad = {c for c, n in complaints.items() if n > graph.collusion}
    rest = [c for c in circle.sort(accepted) if c not in bad]
    enough = [c for c in rest if len(held[c]) >= threshold]
    short = [c for c in rest if len(held[c]) < threshold]
    rows = [held[c][:threshold] for c in enough]
    shares = FrArray.from_ints(share for row in rows for _, share in row)
    values = recover([[point for point, _ in row] for row in rows], shares, backend)
    found = dict(zip(enough, values, strict=True))
    bad |= {c for c, v in found.items() if not _is_secret(circle, c, v, masked, deals)}
    silent = (u for c in short for u in circle.list_neighbours(c, frozenset(masked)))
    return Recovery(
        secrets={c: v for c, v in found.items() if c not in bad},
        bad=frozenset(bad),
        is_short=bool(short),
        silent=frozenset(u for u in silent if u not in unmaskings),
    )


def _is_secret(circle: Circle, client: bytes, value: int, masked: Set[bytes], deals: Deals) -> bool:
    """Whether this is the secret that the client has bound itself to."""
    if choose_secret(client, masked) is Secret.SELF:
        return digest_self_secret(value) == deals[client].self_digest
    public = derive_mask_private(value, circle.place).public_key().public_bytes_raw()
    return public == circle.keys[client].mask_key
