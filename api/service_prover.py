"""The HTTP service as the prover of a federated client that trusts it with its model."""

from __future__ import annotations

import httpx2
from safetensors.numpy import save as save_tensors

from api.client import Client, ServiceRefused
from api.schemas import JobRequest, StatementFields
from federated.client import ProofOrder, ProvingFailed
from prover.model_bytes import encode_model


class ServiceProver:
    """Uploads, orders, waits and fetches; one order at a time. url : of the service"""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self._url, self._key = url, key

    def prove(self, order: ProofOrder) -> bytes:
        """An envelope of the service's workers. Raises ProvingFailed."""
        try:
            with Client.connect(self._url, key=self._key) as service:
                return _prove(service, order)
        except ServiceRefused as error:
            raise ProvingFailed(f"the service refused the job: {error}") from None
        except httpx2.HTTPError as error:
            raise ProvingFailed(
                f"the service at {self._url} does not answer ({type(error).__name__}); "
                "see whether it runs, then try again"
            ) from None


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
    ended = service.wait(job.id)
    if ended.state != "done":
        reason = "" if ended.error is None else f": {ended.error.message}"
        raise ProvingFailed(f"the job of the service ended {ended.state}{reason}")
    return service.fetch_proof(job.id)
