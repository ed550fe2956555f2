"""How clients stand: for whom a phase waits, who may lead, who sits out. Pure, over final state.

A phase ends before its time when all are in for whom it waits. Who kept a phase waiting to its end
is absent: not waited for in the next round, then in the next two, four, and so on, until it serves
a round again. An absent client may take part like any other while a phase is open, and comes back
without asking anybody: when its absence is over, the phase waits for it again, so that nobody who
is quick can keep it out. And a minority never ends a phase early: where half of the clients or more
are absent it waits for all, and where the others are too few for a sum, or round after round would
end at once without one. So it does in a dispute, where silence is held against a client: others
must not take its time from it.

A client *serves* a round when it proves and then does all that it is asked for, and the round gets
as far as unmasking. Who proves and then does not mask or unmask, or has lied, leads nothing until
it serves a round again.

Who leaves a dispute unresolved is not proven to have cheated: it may have lost its network while
a neighbour lied. But no round ends with a model whose masks stay on, so it sits out the next round,
after the second time the next two, and so on, which no service makes up for: a client that spoils
rounds on purpose spoils few. Who is proven to have cheated is expelled, and neither commits nor
leads any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from consensus.aggregation.graph import count_least
from consensus.learning.chain_state import Absence, ChainState, Phase
from consensus.learning.election import rank_clients
from consensus.learning.steps import STEPS, get_payloads, list_asked

LONGEST_ABSENCE = 64


def is_absent(state: ChainState, client: bytes) -> bool:
    """Whether this learning round waits for everybody but this client."""
    absence = state.absences.get(client)
    return absence is not None and state.learning_round < absence.until


def is_complete(state: ChainState, present: Collection[bytes], done: Collection[bytes]) -> bool:
    """Whether all are in for whom the phase waits. present : who may be; done : who is"""
    expected = _list_attending(state, present)
    least = count_least(state.genesis.task.collusion)
    if 2 * len(expected) <= len(present) or len(expected) < least:
        expected = set(present)
    return expected <= set(done)


def may_commit_late(state: ChainState) -> bool:
    """Whether COMMIT waits for a first client beyond its time: not when one has committed, nor when
    too few for a sum may, and others are banned: only rounds that end let these in again.
    """
    if state.commits:
        return False
    is_anyone_banned = any(state.learning_round < ban.until for ban in state.bans.values())
    n_allowed = len(list_asked(state, Phase.COMMIT))
    return not is_anyone_banned or n_allowed >= count_least(state.genesis.task.collusion)


def note_absences(
    state: ChainState, present: Collection[bytes], done: Collection[bytes]
) -> ChainState:
    """The absences after a phase that some may have kept waiting."""
    missing = _list_attending(state, present) - set(done)
    if not missing:
        return state
    found = {client: _lengthen(state, state.absences.get(client)) for client in missing}
    return replace(state, absences=_freeze({**state.absences, **found}))


def _list_attending(state: ChainState, present: Collection[bytes]) -> set[bytes]:
    if state.phase in (Phase.ATTEST, Phase.REVEAL):
        return set(present)
    return {client for client in present if not is_absent(state, client)}


def _lengthen(state: ChainState, before: Absence | None) -> Absence:
    length = 1 if before is None else min(2 * before.length, LONGEST_ABSENCE)
    return Absence(length, state.learning_round + 1 + length)


def ban(state: ChainState, clients: Collection[bytes]) -> ChainState:
    """The state after a dispute that these have left unresolved."""
    if not clients:
        return state
    found = {client: _lengthen(state, state.bans.get(client)) for client in clients}
    return replace(state, bans=_freeze({**state.bans, **found}))


def rank(state: ChainState) -> tuple[bytes, ...]:
    """Clients by proven accuracy, without those that are in debt or have lied.

    Whoever led before leads on until a block brings the proof of one who may lead.
    """
    n = state.genesis.task.n_samples
    may_lead = state.proofs.keys() - set(state.debtors)
    accuracies = {c: Fraction(state.proofs[c].claimed_correct, n) for c in may_lead}
    ranking = rank_clients(accuracies, state.beacon) if may_lead else state.ranking
    liars = state.refusals.keys() - state.proofs.keys()
    return tuple(client for client in ranking if client not in liars)


def settle(state: ChainState) -> ChainState:
    """The standing after a round, whose last phase before ELECT is closed.

    Only who did all that it was asked for may lead; who served is in debt and absent no more.
    """
    faithful = _list_faithful(state)
    got_far = state.closed in (Phase.UNMASK, Phase.ATTEST, Phase.REVEAL)
    served = faithful if got_far else set[bytes]()
    liars = state.refusals.keys() - state.proofs.keys()
    in_debt = {*state.debtors, *liars, *(state.proofs.keys() - faithful)}
    absences = {c: a for c, a in state.absences.items() if c not in served}
    return replace(
        state,
        ranking=tuple(client for client in state.ranking if client in faithful),
        debtors=tuple(sorted(in_debt - served - set(state.expelled))),
        absences=_freeze(absences),
    )


def _list_faithful(state: ChainState) -> set[bytes]:
    """Who has a proof and did what each phase since has asked of it."""
    phases = list(STEPS)
    reached = phases[: phases.index(state.closed) + 1] if state.closed in phases else []
    missing = {
        c for p in reached for c in set(list_asked(state, p)) - get_payloads(state, p).keys()
    }
    return state.proofs.keys() - missing - set(state.expelled)


def _freeze(absences: Mapping[bytes, Absence]) -> Mapping[bytes, Absence]:
    return MappingProxyType(dict(absences))
