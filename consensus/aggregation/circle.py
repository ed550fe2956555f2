"""The clients of one round of aggregation, with their public keys: what every step starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from consensus.aggregation.graph import Graph, draw_graph
from prover.wire.kinds import NUMBER_BYTES
from prover.wire.records import encode_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """A client's two X25519 keys of a round, as its commit names them.

    mask_key  : agrees with each neighbour's on the seed of a pair's mask
    share_key : agrees with each neighbour's on a key that shares of secrets travel under
    """

    mask_key: bytes
    share_key: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Circle:
    """What all who take part in a round know.

    genesis_digest, learning_round : enter everything that is derived, so nothing is of use in
                                     another chain or round
    n_parameters : of a model; a masked vector has one element more, the blinding's
    keys         : of every client of the graph
    """

    genesis_digest: bytes
    learning_round: int
    n_parameters: int
    graph: Graph
    keys: Mapping[bytes, PublicKeys]

    @property
    def n_elements(self) -> int:
        """Elements of a masked vector: the parameters, then the blinding."""
        return self.n_parameters + 1

    @cached_property
    def place(self) -> bytes:
        """Chain and round, for derivations."""
        return encode_place(self.genesis_digest, self.learning_round)

    @cached_property
    def name(self) -> bytes:
        """Everything in here as bytes: a client answers for one circle only."""
        keys = (part for c in self.graph.order for part in (c, *_list_keys(self.keys[c])))
        numbers = (_encode_number(n) for n in (self.n_parameters, self.graph.collusion))
        return encode_fields((self.place, *numbers, *keys))

    def sort(self, clients: Iterable[bytes]) -> tuple[bytes, ...]:
        """Clients in graph order. KeyError for a stranger."""
        return tuple(sorted(clients, key=self.graph.find_position))

    def list_neighbours(self, client: bytes, among: frozenset[bytes]) -> tuple[bytes, ...]:
        """A client's neighbours in this set, in graph order."""
        return tuple(c for c in self.graph.list_neighbours(client) if c in among)


def encode_place(genesis_digest: bytes, learning_round: int) -> bytes:
    """Chain and round, as they enter derivations."""
    return encode_fields((genesis_digest, _encode_number(learning_round)))


def _encode_number(number: int) -> bytes:
    return number.to_bytes(NUMBER_BYTES, "little")


def _list_keys(keys: PublicKeys) -> tuple[bytes, bytes]:
    return keys.mask_key, keys.share_key


def form_circle(
    *,
    genesis_digest: bytes,
    learning_round: int,
    n_parameters: int,
    beacon: bytes,
    collusion: int,
    keys: Mapping[bytes, PublicKeys],
) -> Circle:
    """The circle of a round. keys : of each client that committed"""
    return Circle(
        genesis_digest=genesis_digest,
        learning_round=learning_round,
        n_parameters=n_parameters,
        graph=draw_graph(beacon, keys, collusion),
        keys=keys,
    )
