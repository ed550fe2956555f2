"""The demonstration while it runs: clients in threads, everyone else a process of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Lock, Thread

from redis import Redis
from redis.exceptions import RedisError

from api.demo.school import open_school
from api.demo.stage import CLIENTS, LOGS, Report, Role, Stage
from api.errors import DemoFailed, describe
from api.process.program import PROGRAM
from api.process.supervisor import Command
from consensus.disk.development import ADMISSION, GENESIS, node_home, sign_permit
from consensus.disk.identity import create_key, get_public_key, load_key
from consensus.errors import BlobUnavailable, PoolInvalid
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.stream import FINAL, Transport
from consensus.node.watch import Watch
from consensus.wire.genesis import Genesis, Task
from consensus.wire.transactions import Proof, Transaction
from federated.attacks import ForgingProver, LyingProver
from federated.client import Client, ProofOrder, Prover, make_committer
from federated.errors import ProvingFailed
from federated.joining.account import SECRET_BYTES, Account, sign_with, take_account
from federated.joining.own_prover import OwnProver
from federated.rounds.store import SecretStore
from kernels.backend import Backend
from kernels.files import write_new
from prover.errors import ProverError
from prover.wire.envelope import Envelope

RESEND_S = 1.0
STALL_S = 90.0
_SERVER_PAUSE_S = 0.2  # between looks for a server that is being started again
CLIENT_KEY, ACCOUNT_KEY = "client.key", "account.key"
LIE = 25
"""How many more correct samples the liar claims than it has."""


class Feed:
    """The chain as a light client sees it, for all clients of this process."""

    def __init__(self, genesis: Genesis, redis: Redis) -> None:
        self._watch = Watch(genesis, Transport(redis, genesis.digest, (FINAL,)))
        self._changed = Condition()
        self._state = self._watch.state
        self._proofs: list[Proof] = []

    @property
    def state(self) -> ChainState:
        with self._changed:
            return self._state

    def poll(self) -> None:
        """Takes what has become final; waits a moment for it."""
        try:
            found = self._watch.poll(100)
        except RedisError:  # the server is being started again
            time.sleep(_SERVER_PAUSE_S)
            return
        with self._changed:
            for final, state in found:
                self._state = state
                self._proofs += [tx for tx in final.block.transactions if isinstance(tx, Proof)]
            if found:
                self._changed.notify_all()

    def send(self, tx: Transaction) -> None:
        """Lost when the server is down; who sends, sends again."""
        try:
            self._watch.send(tx)
        except RedisError:
            time.sleep(_SERVER_PAUSE_S)

    def wait_beyond(self, height: int, timeout_s: float) -> ChainState:
        """The state, as soon as it is of a greater height or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.height > height, timeout_s)
            return self._state

    def wait_for_proof(self, learning_round: int, timeout_s: float) -> Envelope | None:
        """A final proof of this round, as soon as there is one; None when it ends without."""

        def is_over() -> bool:
            state = self._state
            proving = (state.phase, state.learning_round) == (Phase.PROVE, learning_round)
            return not proving or any(p.learning_round == learning_round for p in self._proofs)

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
            known = [p for p in self._proofs if p.learning_round == learning_round]
        return Envelope.decode(known[0].envelope) if known else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """One who takes part. sent : its proof of each round, honest or not"""

    name: str
    role: Role
    client: Client
    n_samples: int
    sent: dict[int, Proof]


class InTurn:
    """A prover that several threads share: a proof takes all processors."""

    def __init__(self, prover: Prover, turn: Lock) -> None:
        self._prover, self._turn = prover, turn

    def prove(self, order: ProofOrder) -> bytes:
        """Raises ProvingFailed."""
        with self._turn:
            return self._prover.prove(order)


def cast(stage: Stage, feed: Feed, backend: Backend) -> list[Actor]:
    """Clients with keys of their own, each of its own data and nature.

    They prove on this machine, under one copy of each key: a model is shown to nobody.
    """
    task, turn = stage.genesis.task, Lock()
    admission = load_key(stage.chain, ADMISSION)
    prover = InTurn(
        OwnProver(
            stage.ready.circuit,
            stage.ready.key,
            random_bytes=secrets.token_bytes,
            backend=backend,
        ),
        turn,
    )
    school = open_school(stage, turn, backend)
    actors = []
    for index, (role, own) in enumerate(zip(stage.plan.roles, stage.own, strict=True)):
        folder = stage.folder / CLIENTS / str(index + 1)
        store = SecretStore(folder, stage.genesis)
        key = create_key(folder, secrets.token_bytes(32), CLIENT_KEY)
        public = get_public_key(key)
        client = Client(
            key,
            validator=index % stage.genesis.n_validators,
            permit=sign_permit(admission, stage.genesis.digest, public),
            account=_open_account(folder, public, stage.genesis),
            blobs=stage.blobs,
            secrets=store,
            learn=school.enroll(index, role, store),
            commit=make_committer(task, random_bytes=secrets.token_bytes, backend=backend),
            prover=_choose_prover(role, prover, feed, task),
            random_bytes=secrets.token_bytes,
            backend=backend,
        )
        actors.append(
            Actor(name=f"client {index + 1}", role=role, client=client, n_samples=len(own), sent={})
        )
    return actors


def _open_account(folder: Path, client_key: bytes, genesis: Genesis) -> Account:
    """A new account of the EVM, which signs to be the client's; its key stays in the folder, for
    whoever wants to vote with it."""
    path = folder / ACCOUNT_KEY
    write_new(path, secrets.token_bytes(SECRET_BYTES).hex().encode("ascii") + b"\n")
    return take_account(folder, genesis, client_key, sign_with(path, client_key, genesis))


def _choose_prover(role: Role, own: Prover, feed: Feed, task: Task) -> Prover:
    """The forger makes its proof up in one round and takes another client's in the next."""

    def steal() -> Envelope | None:
        learning_round = feed.state.learning_round
        if learning_round % 2 == 0:
            return None
        return feed.wait_for_proof(learning_round, task.prove_ms / 1000)

    match role:
        case Role.HONEST | Role.IMPOSTOR:
            return own
        case Role.LIAR:
            return LyingProver(own, extra=LIE)
        case Role.FORGER:
            return ForgingProver(
                steal,
                key_digest=task.verifying_key_digest,
                random_bytes=secrets.token_bytes,
            )


def perform(stage: Stage, feed: Feed, actors: list[Actor], stop: Event, report: Report) -> None:
    """All learning rounds, from registration to the last global model.

    Raises DemoFailed when a client fails, or the chain stands still.
    """
    failures: list[str] = []
    ended = Event()

    def take_part(actor: Actor) -> None:
        try:
            _take_part(actor, feed, lambda: stop.is_set() or ended.is_set())
        except (ProvingFailed, ProverError, BlobUnavailable, PoolInvalid, OSError) as error:
            failures.append(f"{actor.name}: {describe(error).text}")

    threads = [Thread(target=take_part, args=(actor,), daemon=True) for actor in actors]
    for thread in threads:
        thread.start()
    try:
        _watch_rounds(stage, feed, failures, stop, report)
    finally:
        ended.set()


def _take_part(actor: Actor, feed: Feed, is_over: Callable[[], bool]) -> None:
    """What is due, sent until it is final."""
    state = feed.state
    while not is_over() and state.phase is not Phase.DONE:
        tx = actor.client.act(state)
        if isinstance(tx, Proof):
            actor.sent[tx.learning_round] = tx
        if tx is not None:
            feed.send(tx)
        state = feed.wait_beyond(state.height, RESEND_S)


def _watch_rounds(
    stage: Stage, feed: Feed, failures: list[str], stop: Event, report: Report
) -> None:
    since, height = time.monotonic(), -1
    while (state := feed.state).phase is not Phase.DONE:
        if failures:
            raise DemoFailed(failures[0])
        if stop.is_set():
            raise DemoFailed("stopped")
        if state.height != height:
            since, height = time.monotonic(), state.height
            _report_state(stage, state, report)
        if time.monotonic() - since > STALL_S:
            raise DemoFailed(
                f"no block became final for {STALL_S:g} s; read {stage.folder / LOGS}, and try "
                "again when the machine is less busy"
            )
        feed.poll()
    _report_state(stage, feed.state, report)


def _report_state(stage: Stage, state: ChainState, report: Report) -> None:
    """How far the round under way is: commits, proofs and refusals, masks, global model."""
    n = len(stage.plan.roles)
    n_honest = sum(role is Role.HONEST for role in stage.plan.roles)
    total = 2 * (n + n_honest) + 1
    done = sum(
        map(len, (state.commits, state.proofs, state.refusals, state.masked, state.unmasked))
    )
    for earlier in range(state.learning_round):
        report(f"round {earlier + 1}", total, total)
    is_done = state.phase is Phase.DONE
    report(f"round {state.learning_round + 1}", total if is_done else min(done, total - 1), total)


# -- processes -------------------------------------------------------------------------------------


def list_commands(stage: Stage, *, host: str, port: int) -> list[Command]:
    """The service, which shows the chain, and the validators, each with a log of its own.

    Validators keep all payloads: `story` adds every sum up once more.
    """
    logs = stage.folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)

    def command(name: str, *arguments: str, **settings: object) -> Command:
        changed = [f"ZKPOT_{key}={value}" for key, value in settings.items()]
        return Command(
            name=name,
            argv=["env", *changed, *PROGRAM, *arguments],
            log=logs / f"{name}.log",
        )

    genesis = stage.chain / GENESIS
    homes = [node_home(stage.chain, i) for i in range(stage.plan.n_validators)]
    return [
        command("api", "api", "--host", host, "--port", str(port), GENESIS=genesis),
        *(command(home.name, "node", str(home), "--archive") for home in homes),
    ]
