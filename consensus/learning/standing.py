"""How clients stand: for whom a phase waits, and who may lead. Pure rules over final state.

A phase ends before its time when all are in for whom it waits. Who kept a phase waiting to its end
is absent: not waited for in the next round, then in the next two, four, and so on, until it opens a
model again. An absent client may take part like any other while a phase is open, and comes back
without asking anybody: when its absence is over, the phase waits for it again, so that nobody who
is quick can keep it out. And a minority never ends a phase early: where half of the clients or more
are absent it waits for all.

Who proves and does not open, or has lied, leads nothing until it opens a model again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from consensus.learning.chain_state import Absence, ChainState
from consensus.learning.election import rank_clients

LONGEST_ABSENCE = 64


def is_absent(state: ChainState, client: bytes) -> bool:
    """Whether this learning round waits for everybody but this client."""
    absence = state.absences.get(client)
    return absence is not None and state.learning_round < absence.until


def is_complete(state: ChainState, present: Collection[bytes], done: Collection[bytes]) -> bool:
    """Whether all are in for whom the phase waits. present : who may be; done : who is"""
    expected = _list_attending(state, present)
    if 2 * len(expected) <= len(present):
        expected = set(present)
    return expected <= set(done)


def note_absences(
    state: ChainState, present: Collection[bytes], done: Collection[bytes]
) -> ChainState:
    """The absences after a phase that some may have kept waiting."""
    missing = _list_attending(state, present) - set(done)
    if not missing:
        return state
    found = {client: _lengthen(state, client) for client in missing}
    return replace(state, absences=_freeze({**state.absences, **found}))


def _list_attending(state: ChainState, present: Collection[bytes]) -> set[bytes]:
    return {client for client in present if not is_absent(state, client)}


def _lengthen(state: ChainState, client: bytes) -> Absence:
    before = state.absences.get(client)
    length = 1 if before is None else min(2 * before.length, LONGEST_ABSENCE)
    return Absence(length, state.learning_round + 1 + length)


def rank(state: ChainState) -> tuple[bytes, ...]:
    """Clients by proven accuracy, without those that owe a model or have lied.

    Whoever led before leads on until a block brings the proof of one who may lead.
    """
    n = state.genesis.task.n_samples
    may_lead = state.proofs.keys() - set(state.debtors)
    accuracies = {c: Fraction(state.proofs[c].claimed_correct, n) for c in may_lead}
    ranking = rank_clients(accuracies, state.beacon) if may_lead else state.ranking
    liars = state.refusals.keys() - state.proofs.keys()
    return tuple(client for client in ranking if client not in liars)


def settle(state: ChainState) -> ChainState:
    """The standing after a round: only who opened a model may lead, and is absent no more."""
    claimed = {*state.debtors, *state.proofs, *state.refusals}
    absences = {c: a for c, a in state.absences.items() if c not in state.updates}
    return replace(
        state,
        ranking=tuple(client for client in state.ranking if client in state.updates),
        debtors=tuple(sorted(claimed - state.updates.keys())),
        absences=_freeze(absences),
    )


def _freeze(absences: Mapping[bytes, Absence]) -> Mapping[bytes, Absence]:
    return MappingProxyType(dict(absences))
