"""What happened, read from the validators' disks, and whether each part of it is true.

Nothing here takes the word of a process: blocks are checked from the genesis on, proofs included;
counts are recounted by the integer evaluator, global models recomputed from their parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from api.demo.search import Searched, Secret
from api.demo.stage import Report, Role
from api.demo.told import Earned, Part, Participant, Round, Story
from api.demo.trained import (
    StepCounter,
    compute_mean,
    describe_training,
    list_training_secrets,
)
from consensus.content.interface import Blobs
from consensus.finality.certificate import Statement
from consensus.finality.certificate import find_fault as find_certificate_fault
from consensus.learning.aggregate import WEIGHT, GlobalModel, combine
from consensus.learning.chain import proposers
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.node.follower import Follower
from consensus.node.verifier import BlockVerifier
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis
from consensus.wire.messages import FinalBlock
from federated.accuracy import count_correct
from federated.data import LabeledImages
from prover.randomness import RandomBytes
from prover.wire.envelope import Envelope
from prover.wire.verdict import Verdict


@dataclass(slots=True)
class _Acts:
    """States of one learning round that its story is told from."""

    proving: ChainState | None = None
    electing: ChainState | None = None
    final: FinalBlock | None = None


def tell(
    genesis: Genesis,
    ledgers: Sequence[Sequence[FinalBlock]],
    blobs: Blobs,
    participants: Sequence[Participant],
    *,
    validators: Sequence[Blobs],
    certificates: Sequence[FinalityCertificate | None],
    search: Callable[[Sequence[Secret]], Searched],
    random_bytes: RandomBytes,
    report: Report,
    subject: str = "",
) -> Story:
    """The story of a chain from its validators' ledgers. Raises BlobUnavailable, PoolInvalid.

    validators   : what each validator holds itself, to read
    certificates : of finality, each validator's newest
    search       : looks for clients' secrets in all that others hold
    subject      : model and data set, for people
    """
    task = genesis.task
    pool = SamplePool.parse(blobs.get(task.get_pool(0)))
    story = Story(
        n_samples=task.n_samples,
        n_pool=len(pool.labels),
        subject=subject,
        threshold=task.threshold,
        training=describe_training(task),
        height=len(ledgers[0]),
    )
    hashes = {tuple(final.block.hash for final in ledger) for ledger in ledgers}
    story.check(
        f"{len(ledgers)} validators have the same {story.height} blocks",
        len(hashes) == 1,
        where="their disks differ",
    )
    verifier = BlockVerifier(genesis, blobs, random_bytes)
    acts, last, fault = _follow(genesis, ledgers[0], verifier, report)
    story.check(
        "every block holds from the genesis on, votes and proofs included",
        fault is None,
        where=fault or "",
    )
    whole = [a for a in acts if a.proving and a.electing and a.final]
    story.check(
        f"all {task.n_rounds} learning rounds ended",
        len(whole) == len(acts) == task.n_rounds,
        where=f"{len(whole)} did",
    )
    counter = StepCounter(task, blobs, random_bytes)
    for learning_round, act in enumerate(whole):
        _tell_round(story, learning_round, act, blobs, pool, participants, verifier, counter)
    _check_sums(story, whole, participants, validators, random_bytes)
    _tell_earned(story, last, participants, certificates)
    searched = search(_list_secrets(whole, participants))
    story.check(
        f"no model was ever on the wire: searched {searched.n_bytes:,} bytes",
        not searched.found,
        where=", ".join(searched.found),
    )
    return story


def _follow(
    genesis: Genesis, ledger: Sequence[FinalBlock], verifier: BlockVerifier, report: Report
) -> tuple[list[_Acts], ChainState, str | None]:
    """A light client that checks proofs too; stops at the first fault, in the state before it."""
    follower = Follower(genesis, verifier)
    acts: list[_Acts] = []
    for index, final in enumerate(ledger):
        before = follower.state
        fault = follower.take(final)
        if fault is not None:
            return acts, before, f"block {index + 1}: {fault}"
        if before.learning_round == len(acts) and before.phase is not Phase.DONE:
            acts.append(_Acts())
        if follower.state.phase is Phase.PROVE and before.phase is not Phase.PROVE:
            acts[-1].proving = follower.state
        if before.phase is Phase.ELECT:
            acts[-1].electing, acts[-1].final = before, final
        report("checking blocks", index + 1, len(ledger))
    return acts, follower.state, None


def _tell_round(
    story: Story,
    learning_round: int,
    act: _Acts,
    blobs: Blobs,
    pool: SamplePool,
    participants: Sequence[Participant],
    verifier: BlockVerifier,
    counter: StepCounter,
) -> None:
    assert act.proving is not None
    assert act.electing is not None
    assert act.final is not None
    images, labels = pool.draw(act.proving.beacon, story.n_samples)
    shard = LabeledImages(images=images, labels=labels)
    entered = {e.client_key for a in act.final.block.aggregate for e in a.entries}
    parts = {
        p.name: replace(
            _tell_part(p, learning_round, act.proving, act.electing, entered, shard, verifier),
            steps=counter.count(p.sent.get(learning_round)),
        )
        for p in participants
    }
    names = {p.public_key: p.name for p in participants}
    leader = act.electing.leader
    mean = _load_global(act.final, blobs)
    everything = LabeledImages(images=pool.images, labels=pool.labels)
    told = Round(
        leader=None if leader is None else names[leader],
        parts=parts,
        global_count=0 if mean is None else count_correct(mean.rounded(), everything),
    )
    story.rounds.append(told)
    _check_round(story, learning_round, told, participants)
    where = f"round {learning_round + 1}"
    story.check(
        "what is proven is what the clients' own models get right, recounted",
        all(
            count_correct(p.models[learning_round], shard)
            == act.electing.proofs[p.public_key].claimed_correct
            for p in _list_entered(act, participants)
        ),
        where=where,
    )
    home = None if leader is None else act.electing.clients[leader]
    story.check(
        "the leader's validator is the first to propose",
        home == proposers(act.electing)[0],
        where=where,
    )


def _tell_part(
    participant: Participant,
    learning_round: int,
    proving: ChainState,
    electing: ChainState,
    entered: Collection[bytes],
    shard: LabeledImages,
    verifier: BlockVerifier,
) -> Part:
    key, sent = participant.public_key, participant.sent.get(learning_round)
    envelope = None if sent is None else Envelope.decode(sent.envelope)
    proven = electing.proofs.get(key)
    return Part(
        claimed=None if envelope is None else envelope.statement.claimed_correct,
        proven=None if proven is None else proven.claimed_correct,
        measured=count_correct(participant.models[learning_round], shard),
        verdict=None if sent is None else verifier.check_proofs(proving, [sent])[0],
        refused=key in electing.refusals,
        entered=key in entered,
    )


def _check_round(
    story: Story, learning_round: int, told: Round, participants: Sequence[Participant]
) -> None:
    """Who must have a proof has one, and who must not has none; the best one leads."""
    where = f"round {learning_round + 1}"
    of = {role: [told.parts[p.name] for p in participants if p.role is role] for role in Role}
    story.check(
        "every honest client has proven exactly what it has, and entered the global model",
        all(
            part.proven == part.measured and part.entered and not part.refused
            for part in of[Role.HONEST]
        ),
        where=where,
    )
    if of[Role.LIAR]:
        story.check(
            "who claimed more than it has is on record with a proof that does not verify",
            all(_is_refused(p) and (p.claimed or 0) > p.measured for p in of[Role.LIAR]),
            where=where,
        )
    if of[Role.FORGER]:
        story.check(
            "who forged a proof is on record with one that does not verify",
            all(_is_refused(part) for part in of[Role.FORGER]),
            where=where,
        )
    if story.training:
        _check_training(story, told, participants, of, where)
    proven = {n: part.proven for n, part in told.parts.items() if part.proven is not None}
    best = max(proven.values(), default=None)
    story.check(
        "who has proven most leads",
        told.leader is not None and proven.get(told.leader) == best,
        where=where,
    )


def _check_training(
    story: Story,
    told: Round,
    participants: Sequence[Participant],
    of: Mapping[Role, Sequence[Part]],
    where: str,
) -> None:
    """Honest steps hold; a model that no steps led to is refused, though all else of it is true."""
    honest = of[Role.HONEST]
    story.check(
        f"every honest client has proven its training: {story.training}",
        all(part.steps is not None and part.steps.hold for part in honest),
        where=where,
    )
    if of[Role.IMPOSTOR]:
        names = ", ".join(p.name for p in participants if p.role is Role.IMPOSTOR)
        best = max((part.measured for part in honest), default=0)
        story.check(
            f"{names} sent a model that was trained elsewhere, better than any that was trained "
            "here, and is refused: no step leads to it",
            all(
                _is_refused(part)
                and part.claimed == part.measured > best
                and part.steps is not None
                and len(part.steps.false) == 1
                and part.steps.exports
                for part in of[Role.IMPOSTOR]
            ),
            where=where,
        )


def _is_refused(part: Part) -> bool:
    """It was sent, does not verify, is on record for that, and its client got nothing by it."""
    faulty = part.verdict not in (None, Verdict.VALID)
    return faulty and part.refused and part.proven is None and not part.entered


def _list_entered(act: _Acts, participants: Sequence[Participant]) -> list[Participant]:
    """Whose models the round's sum is of."""
    assert act.final is not None
    entered = {e.client_key for a in act.final.block.aggregate for e in a.entries}
    return [p for p in participants if p.public_key in entered]


def _check_sums(
    story: Story,
    acts: Sequence[_Acts],
    participants: Sequence[Participant],
    validators: Sequence[Blobs],
    random_bytes: RandomBytes,
) -> None:
    """From what each validator holds itself the same mean comes, which opens the commitments' sum;
    and from the models that never left their owners."""
    text = (
        "the global model is the mean of the committed models: opened and recomputed by "
        f"{len(validators)} validators"
    )
    for learning_round, act in enumerate(acts):
        assert act.electing is not None
        assert act.final is not None
        (aggregate,) = act.final.block.aggregate
        where = f"round {learning_round + 1}"
        entered = _list_entered(act, participants)
        for index, held in enumerate(validators):
            verifier = BlockVerifier(act.electing.genesis, held, random_bytes)
            same = verifier.build_aggregate(act.electing) == aggregate
            story.check(text, same, where=f"{where}, validator {index}")
        mean = _load_global(act.final, validators[0])
        same = False
        if mean is not None and entered:
            own = _compute_mean(act.electing.genesis, learning_round, entered)
            same = mean.encode() == own.encode()
        story.check(text, same, where=where)


def _compute_mean(
    genesis: Genesis, learning_round: int, entered: Sequence[Participant]
) -> GlobalModel:
    """From what never left its owners."""
    training, architecture = genesis.task.training, genesis.task.architecture
    if training is None:
        return combine((p.models[learning_round], WEIGHT) for p in entered)
    recipe = training.make_recipe(architecture)
    return compute_mean(recipe, [p.trained[learning_round] for p in entered])


def _tell_earned(
    story: Story,
    last: ChainState,
    participants: Sequence[Participant],
    certificates: Sequence[FinalityCertificate | None],
) -> None:
    """Votes and rewards, which honest clients alone have, and whether contracts can be told."""
    for p in participants:
        story.earned[p.name] = Earned(
            client_key=p.public_key,
            account=last.accounts.get(p.public_key),
            weight=last.weights.get(p.public_key, 0),
            rewards=last.rewards.get(p.public_key, 0),
        )
    story.check(
        "votes and rewards are of honest clients alone",
        all(
            (earned.weight > 0, earned.rewards > 0) == (p.role is Role.HONEST,) * 2
            for p, earned in zip(participants, story.earned.values(), strict=True)
        ),
    )
    text = (
        f"{len(certificates)} validators have one certificate of the last block, by which an EVM "
        "takes both"
    )
    for index, certificate in enumerate(certificates):
        holds = (
            certificate is not None
            and last.height > 0
            and Statement.read(certificate) == Statement.of(last)
            and find_certificate_fault(certificate, last.genesis) is None
        )
        story.check(text, holds, where=f"not validator {index}")


def _list_secrets(acts: Sequence[_Acts], participants: Sequence[Participant]) -> list[Secret]:
    """All that is nobody else's."""
    found = []
    for learning_round in range(len(acts)):
        for p in participants:
            name, trained = f"{p.name} in round {learning_round + 1}", p.trained.get(learning_round)
            model, rho = p.models[learning_round].wires, p.blindings[learning_round]
            if trained is None:
                found.append(Secret(name=name, numbers=model, rho=rho))
            else:
                found += list_training_secrets(name, trained, model, rho)
    return found


def _load_global(final: FinalBlock, blobs: Blobs) -> GlobalModel | None:
    """The model that the block names by digest, if somebody entered it."""
    aggregate = final.block.aggregate[0]
    return GlobalModel.parse(blobs.get(aggregate.model_digest)) if aggregate.entries else None
