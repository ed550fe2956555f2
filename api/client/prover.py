"""The HTTP service as the prover of a federated client that trusts it with its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import BinaryIO

import httpx2
from safetensors.numpy import save as save_tensors

from api.client.http import Client, ServiceRefused
from api.errors import ServiceGone
from api.http.schemas import Job, JobRequest, StatementFields
from federated.client import ProofOrder
from federated.errors import ProvingFailed, ProxyUnusable
from prover.model.zkq import encode_model
from prover.wire.training import TrainingProofs

MAX_TRIES = 20


class ServiceProver:
    """Uploads, orders, waits and fetches; comes again when the service is busy for a while."""

    def __init__(
        self, url: str, *, key: str | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url, self._key, self._sleep = url, key, sleep

    def prove(self, order: ProofOrder) -> bytes:
        """An envelope of the service's workers. Raises ProvingFailed."""
        return self._ask(lambda service: _prove(service, order))

    def prove_training(self, write: Callable[[BinaryIO], None]) -> TrainingProofs:
        """Proofs of steps and of their export, which the service's workers share.

        write : the order, into a file that it is given (`federated.provable.orders.write_order`)
        raises : ProvingFailed, OSError, and what `write` raises
        """
        with TemporaryFile() as order:  # has no name, so nothing is left of it
            write(order)
            raw = self._ask(lambda service: _prove_training(service, order))
        found = TrainingProofs.decode(raw)
        if found is None:
            raise ProvingFailed("the service's answer is no proof of training of this version")
        return found

    def _ask(self, ask: Callable[[Client], bytes]) -> bytes:
        try:
            with Client.connect(self._url, key=self._key) as service:
                return self._insist(service, ask)
        except (ProxyUnusable, ServiceGone) as error:
            raise ProvingFailed(str(error)) from None
        except httpx2.HTTPError as error:
            raise ProvingFailed(
                f"the service at {self._url} does not answer ({type(error).__name__}); "
                "see whether it runs, then try again"
            ) from None

    def _insist(self, service: Client, ask: Callable[[Client], bytes]) -> bytes:
        for _ in range(MAX_TRIES):
            try:
                return ask(service)
            except ServiceRefused as error:
                if error.retry_after_s is None:
                    raise ProvingFailed(f"the service refused the job: {error}") from None
                self._sleep(error.retry_after_s)
        raise ProvingFailed("the service stays busy; try again later, or start more workers")


def _prove(service: Client, order: ProofOrder) -> bytes:
    samples = save_tensors({"images": order.images, "labels": order.labels})
    place = order.occasion
    job = service.submit(
        JobRequest(
            model_id=service.upload_model(encode_model(order.model)).id,
            dataset=service.upload_dataset(samples).id,
            n_samples=len(order.labels),
            commitment_id=service.upload_commitment(order.commitment.encode()).id,
            statement=StatementFields(
                chain_id=place.chain_id.decode("ascii"),
                task_id=place.task_id.decode("ascii"),
                round_index=place.round_index,
                commit_height=place.commit_height,
                client_key=place.client_key.hex(),
            ),
        )
    )
    return _await(service, job)


def _prove_training(service: Client, order: BinaryIO) -> bytes:
    return _await(service, service.submit_training(order))


def _await(service: Client, job: Job) -> bytes:
    """The proof of a job that ends well. Raises ProvingFailed of another."""
    ended = service.wait(job.id)
    if ended.state != "done":
        reason = "" if ended.error is None else f": {ended.error.message}"
        raise ProvingFailed(f"the job of the service ended {ended.state}{reason}")
    return service.fetch_proof(job.id)
