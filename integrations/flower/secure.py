"""SecAgg+ with proofs: a workflow that drops what is not proven and opens the sum of the rest.

    workflow = DefaultWorkflow(fit_workflow=ProvenSecAggPlusWorkflow("task", num_shares=1.0,
                                                                     reconstruction_threshold=0.5))

flwr 1.42 has SecAgg+ for the older half of its interface alone: `DefaultWorkflow`, a strategy of
`flwr.server.strategy`, clients of a `client_fn`. What is bound to what is told in `sums`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from logging import WARNING
from pathlib import Path
from typing import Any, cast

from flwr.app import Message
from flwr.common import FitRes, Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.logger import log
from flwr.server import LegacyContext
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import Strategy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, Key
from flwr.serverapp import Grid

from integrations.flower.arrays import list_floats
from integrations.flower.judging import Accepted, Judge, Refusal, Reply
from integrations.flower.records import read_proof, write_ticket
from integrations.flower.strategy import draw_ticket, log_judged
from integrations.flower.sums import CLIPPING, MAX_CLIENTS, MAX_WEIGHT, MODULUS, RANGE
from integrations.flower.task import load_task
from integrations.flower.tickets import Mode, Ticket
from kernels.backend import get_backend


@dataclass(slots=True, kw_only=True)
class Round:
    """What became of a round. is_opened : whether the sum is that of the accepted models; None
    before it was asked, and where SecAgg+ came to no sum"""

    ticket: Ticket
    accepted: list[Accepted] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    is_opened: bool | None = None


class ProvenSecAggPlusWorkflow(SecAggPlusWorkflow):
    """SecAgg+ whose masked models are proven, and whose sum is checked against their commitments.

    A reply without a good proof is treated as one that never came: SecAgg+ takes its masks out of
    the sum, and the private mask over the model itself stays. A sum that is not that of the proven
    models leaves the global model as it was.

    rounds : by number, what became of each
    """

    def __init__(
        self,
        task: str | Path,
        num_shares: int | float = 1.0,
        reconstruction_threshold: int | float = 0.5,
        *,
        timeout: float | None = None,
    ) -> None:
        """task : its folder; the rest as SecAggPlusWorkflow. Raises as `strategy.prove`."""
        super().__init__(
            num_shares,
            reconstruction_threshold,
            max_weight=MAX_WEIGHT,
            clipping_range=CLIPPING,
            quantization_range=RANGE,
            modulus_range=MODULUS,
            timeout=timeout,
        )
        backend = get_backend("cpu")
        self.judge = Judge(load_task(Path(task)), random_bytes=secrets.token_bytes, backend=backend)
        self.rounds: dict[int, Round] = {}

    def setup_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        """As SecAgg+ has it, for no more clients than its numbers have room for."""
        if not super().setup_stage(grid, context, state):
            return False
        if len(state.sampled_node_ids) > MAX_CLIENTS:
            text = "zkpot: %d clients in a round; the sum of more than %d may wrap: sample fewer"
            log(WARNING, text, len(state.sampled_node_ids), MAX_CLIENTS)
            return False
        return True

    def collect_masked_vectors_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        """As SecAgg+ has it, with a ticket to every client, of the proven replies alone."""
        number = _get_round(context)
        found = Round(ticket=draw_ticket(self.judge, number, Mode.MASKED))
        self.rounds[number] = found
        for content in state.nid_to_fitins.values():
            write_ticket(content, found.ticket)
        proven: bool = super().collect_masked_vectors_stage(
            cast(Grid, _ProvenReplies(grid, self.judge, found)), context, state
        )
        return proven

    def unmask_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        """As SecAgg+ has it, with a strategy that hears of the sum when it is opened."""
        within = context.strategy
        opened = _OpenedSum(within, self.judge, self.rounds[_get_round(context)])
        context.strategy = cast(Strategy, opened)
        try:
            done: bool = super().unmask_stage(grid, context, state)
        finally:
            context.strategy = within
        return done


class _ProvenReplies:
    """A grid, of whose replies only the proven ones are handed on."""

    def __init__(self, grid: Grid, judge: Judge, found: Round) -> None:
        self._grid, self._judge, self._round = grid, judge, found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        answers = [message for message in replies if not message.has_error()]
        judged = self._judge.judge(
            [
                Reply(node=one.metadata.src_node_id, envelope=read_proof(one.content)[0])
                for one in answers
            ],
            self._round.ticket,
        )
        self._round.accepted = [one for one in judged if isinstance(one, Accepted)]
        self._round.refusals = log_judged(judged, self._round.ticket.round_index)
        kept = [m for m, one in zip(answers, judged, strict=True) if isinstance(one, Accepted)]
        return kept + [message for message in replies if message.has_error()]


class _OpenedSum:
    """A strategy as the last stage of SecAgg+ uses one."""

    def __init__(self, within: Any, judge: Judge, found: Round) -> None:
        self._within, self._judge, self._round = within, judge, found

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: list[Any]
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """The strategy's mean of the models that the sum is opened to; None when it is not."""
        means = parameters_to_ndarrays(results[0][1].parameters)
        mean = self._judge.open_sum(means, self._round.accepted)
        self._round.is_opened = mean is not None
        if mean is None:
            text = "zkpot: round %d is dropped: the sum is not that of the proven models"
            log(WARNING, text, server_round)
            return None, {}
        parameters = ndarrays_to_parameters(list_floats(mean))
        for _, result in results:
            result.parameters, result.num_examples = parameters, 1  # they weigh the same
        found: tuple[Parameters | None, dict[str, Any]] = self._within.aggregate_fit(
            server_round, results, failures
        )
        return found


def _get_round(context: LegacyContext) -> int:
    """Of the learning round under way, counted from 1."""
    return cast(int, context.state.config_records[MAIN_CONFIGS_RECORD][Key.CURRENT_ROUND])
