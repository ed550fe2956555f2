"""Errors of queue and store, as the service's callers see them: problems, with no path in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import RedisError

from api.errors import ApiError
from api.http.problems import ApiProblem, as_problem
from consensus.errors import SealError
from federated.errors import FederatedError


@contextmanager
def refusing_callers() -> Iterator[None]:
    """Errors of queue and store as problems."""
    try:
        yield
    except ApiProblem:
        raise
    except (ApiError, FederatedError, SealError, RedisError, OSError) as error:
        raise as_problem(error) from None
