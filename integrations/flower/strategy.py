"""The strategy around yours: what it averages is proven.

strategy = prove(FedAvg(), "task")
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from integrations.flower.arrays import decode_integers, list_floats
from integrations.flower.judging import Accepted, Judge, Refusal, Reply
from integrations.flower.metrics import Names, choose_names, find_common, is_weight
from integrations.flower.records import NAME as PROOF
from integrations.flower.records import read_proof, write_ticket
from integrations.flower.task import load_task
from integrations.flower.tickets import NONCE_BYTES, Mode, Ticket
from kernels.backend import get_backend


def prove(strategy: FedAvg, task: str | Path) -> ProvenStrategy:
    """The strategy, which hears of no model that is not proven.

    strategy : FedAvg or one of its kind, which averages what `aggregate_train` is given
    task     : the task's folder, of which the verifying half of the key is enough
    raises   : FormatError, KeyMismatch, OSError
    """
    judge = Judge(
        load_task(Path(task)), random_bytes=secrets.token_bytes, backend=get_backend("cpu")
    )
    return ProvenStrategy(strategy, judge)


class ProvenStrategy(Strategy):
    """Asks every client for a proof, drops replies without a good one, and hands the others on.

    A reply's integers are those that its proof is about: its commitment is opened to them. The
    strategy within gets the real numbers that they stand for.

    refusals : by round, why replies were dropped; also counted in the metrics of the round:
               `zkpot-proven`, `zkpot-least-correct`, `zkpot-refused`, `zkpot-refused-REASON`
    """

    def __init__(self, strategy: FedAvg, judge: Judge) -> None:
        self.strategy, self.judge = strategy, judge
        self.refusals: dict[int, list[Refusal]] = {}
        self._ticket: Ticket | None = None
        self._names: list[str] = []

    def summary(self) -> None:
        """Says what is asked for, then what the strategy within says."""
        task = self.judge.task
        text = "\t├──> Proofs: at least %d of %d samples right, %s, task %s"
        log(INFO, text, task.n_correct, task.n_samples, task.architecture.name,
            task.digest.hex()[:16])  # fmt: skip
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of the strategy within, each with the ticket of this round."""
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        self._ticket = draw_ticket(self.judge, server_round, Mode.OPEN)
        self._names = list(arrays)
        for message in messages:
            write_ticket(message.content, self._ticket)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the strategy within makes of the proven models; None of none."""
        replies = list(replies)
        answers = [message for message in replies if not message.has_error()]
        judged = self._judge(answers)
        kept = [message for message in replies if message.has_error()]
        both = zip(answers, judged, strict=True)
        proven = [(message, one) for message, one in both if isinstance(one, Accepted)]
        if proven:
            self._convert(proven)
        kept += [message for message, _ in proven]
        self.refusals[server_round] = log_judged(judged, server_round)
        arrays, metrics = self.strategy.aggregate_train(server_round, kept)
        counted = MetricRecord() if metrics is None else metrics
        counted.update(count_judged(judged))
        return arrays, counted

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the strategy within: nothing of an evaluation is proven."""
        found: Iterable[Message] = self.strategy.configure_evaluate(
            server_round, arrays, config, grid
        )
        return found

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """As the strategy within."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def _judge(self, messages: Sequence[Message]) -> list[Accepted | Refusal]:
        assert self._ticket is not None, "a round is configured before it is aggregated"
        return self.judge.judge([self._read(message) for message in messages], self._ticket)

    def _read(self, message: Message) -> Reply:
        envelope, blinding = read_proof(message.content)
        return Reply(
            node=message.metadata.src_node_id,
            envelope=envelope,
            arrays=self._read_arrays(message),
            blinding=blinding,
        )

    def _read_arrays(self, message: Message) -> list[npt.NDArray[Any]] | None:
        """The arrays in the order of the global model's; None of others, or of an answer whose
        weight would let no mean come about."""
        records = list(message.content.array_records.values())
        if len(records) != 1 or set(records[0]) != set(self._names) or not self._weighs(message):
            return None
        raws = [records[0][name].data for name in self._names]
        return decode_integers(raws, self.judge.task.architecture)

    def _weighs(self, message: Message) -> bool:
        metrics = list(message.content.metric_records.values())
        return len(metrics) == 1 and is_weight(metrics[0].get(self.strategy.weighted_by_key))

    def _convert(self, proven: Sequence[tuple[Message, Accepted]]) -> None:
        """Real numbers in place of the integers, and records that are alike in all messages."""
        found = [_take_records(message.content) for message, _ in proven]
        of_arrays, of_metrics = choose_names([names for names, _ in found])
        common = find_common([metrics for _, metrics in found])
        for (message, accepted), (_, metrics) in zip(proven, found, strict=True):
            floats = list_floats(self.judge.convert(accepted))
            named = zip(self._names, floats, strict=True)
            shown = {name: value for name, value in metrics.items() if name in common}
            message.content[of_arrays] = ArrayRecord({key: Array(array) for key, array in named})
            message.content[of_metrics] = MetricRecord(shown)


def _take_records(content: RecordDict) -> tuple[Names, MetricRecord]:
    """Takes its only arrays, its only metrics and its proof out of an answer: the strategy within
    gets what it would get without. Gives the metrics, and the names of both."""
    (of_arrays,), ((of_metrics, metrics),) = content.array_records, content.metric_records.items()
    for name in (of_arrays, of_metrics, PROOF):
        del content[name]
    return (of_arrays, of_metrics), metrics


def draw_ticket(judge: Judge, server_round: int, mode: Mode) -> Ticket:
    """The ticket of a round, with a nonce that nobody knew before."""
    return Ticket(
        round_index=server_round,
        nonce=secrets.token_bytes(NONCE_BYTES),
        task=judge.task.digest,
        mode=mode,
    )


def log_judged(judged: Sequence[Accepted | Refusal], server_round: int) -> list[Refusal]:
    """Says who was dropped and why; returns these."""
    refusals = [one for one in judged if isinstance(one, Refusal)]
    text = "zkpot: round %d: %d of %d replies are proven"
    log(INFO, text, server_round, len(judged) - len(refusals), len(judged))
    for refusal in refusals:
        log(WARNING, "\t> dropped %s", refusal)
    return refusals


def count_judged(judged: Sequence[Accepted | Refusal]) -> dict[str, int]:
    """The same in numbers, for metrics."""
    counts = [one.n_correct for one in judged if isinstance(one, Accepted)]
    reasons = [one.reason for one in judged if isinstance(one, Refusal)]
    found = {"zkpot-proven": len(counts), "zkpot-refused": len(reasons)}
    if counts:
        found["zkpot-least-correct"] = min(counts)
    return found | {f"zkpot-refused-{r}": reasons.count(r) for r in sorted(set(reasons))}
