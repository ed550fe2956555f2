"""How commands reach the queue; what is wrong with it ends them with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.console.output import refuse_error

if TYPE_CHECKING:
    from redis import Redis

    from api.settings import Settings


def read_settings() -> Settings:
    """The settings of the environment; a usage error when they cannot be meant."""
    from api.console.refusals import meaning
    from api.errors import SettingsInvalid
    from api.settings import Settings

    with meaning("environment", SettingsInvalid):
        return Settings.from_environment()


@contextmanager
def open_queue(
    settings: Settings, *, as_json: bool = False, keeps_jobs: bool = False
) -> Iterator[Redis]:
    """A client of the settings' server; the embedded one is started if it is down.

    keeps_jobs : refuses a server that would drop some when its memory is full
    """
    from api.valkey.embedded import require_no_eviction
    from api.valkey.shared import serving

    with _refusing(as_json=as_json), serving(settings) as redis:
        if keeps_jobs:
            require_no_eviction(redis)
        yield redis


@contextmanager
def open_streams(
    settings: Settings, *, report: Callable[[str], None]
) -> Iterator[tuple[Redis, Callable[[], None]]]:
    """A client of the settings' server for who waits and tries again by itself, and mend().

    mend() starts the embedded server again if it has died, and says so.
    """
    from api.valkey.shared import sharing

    with (
        _refusing(as_json=False),
        sharing(settings, retries=1) as (client, start_again),
    ):
        yield client, _make_mend(start_again, report)


@contextmanager
def keep_server(
    settings: Settings, *, report: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """The embedded server while this lasts. Yields mend(): starts it again, and says so."""
    from api.valkey.embedded import keeping

    with _refusing(as_json=False), keeping(settings) as start_again:
        yield _make_mend(start_again, report)


def _make_mend(
    start_again: Callable[[], bool], report: Callable[[str], None]
) -> Callable[[], None]:
    from api.errors import ServerUnavailable

    def mend() -> None:
        try:
            if start_again():
                report("the queue server had ended and was started again")
        except (ServerUnavailable, OSError) as error:
            report(f"the queue server does not start: {error}")

    return mend


@contextmanager
def _refusing(*, as_json: bool) -> Iterator[None]:
    from redis.exceptions import RedisError

    from api.errors import ServerUnavailable

    try:
        yield
    except (ServerUnavailable, RedisError, OSError) as error:
        # The body's errors come by here too: a file that is named is the one at fault.
        refuse_error(error, as_json=as_json)
