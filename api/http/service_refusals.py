"""Errors of queue and store, as the service's callers see them: problems, with no path in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import RedisError

from api.http.problems import ApiProblem
from api.queue.jobs import RecordInvalid
from api.queue.queue import IdempotencyConflict, OwnerFull, QueueFull
from api.store.uploads import StoreFull, UploadGone, UploadInvalid
from federated.errors import FederatedError

RETRY_S, MAX_RETRY_S = 5, 3600


@contextmanager
def refusing_callers() -> Iterator[None]:
    """Errors of queue and store as problems."""
    try:
        yield
    except RedisError:
        raise ApiProblem("unavailable", headers={"Retry-After": str(RETRY_S)}) from None
    except (QueueFull, StoreFull) as error:
        raise ApiProblem("queue_full", str(error), headers={"Retry-After": str(RETRY_S)}) from None
    except OwnerFull as error:
        wait_s = min(MAX_RETRY_S, max(RETRY_S, error.wait_s))
        headers = {"Retry-After": str(wait_s)}
        raise ApiProblem("quota_full", str(error), headers=headers) from None
    except IdempotencyConflict:
        raise ApiProblem("idempotency_conflict") from None
    except UploadGone as error:
        raise ApiProblem("not_found", str(error)) from None
    except (UploadInvalid, FederatedError) as error:
        raise ApiProblem("bad_dataset", str(error)) from None
    except RecordInvalid as error:
        raise ApiProblem("refused", str(error)) from None
    except OSError:  # a full disk above all; its text would name paths of this machine
        detail, headers = "the store cannot be read or written", {"Retry-After": str(RETRY_S)}
        raise ApiProblem("unavailable", detail, headers=headers) from None
