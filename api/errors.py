"""Everything `api` raises on purpose, and what is told of any error: to whom, and in which words.

ApiError, a `kernels.errors.ZkpotError`
├── SettingsInvalid      the environment asks for something that cannot be meant
├── KeyFileError         the file of API keys cannot be used
├── ServerUnavailable    no queue server answers
├── NoPrimary            the queue server is no primary (`api.valkey.primary`, a RedisError as well)
├── ClaimsUnavailable    the data directory cannot hold locks
├── QueueFull            no room for the tasks of another job
├── OwnerFull            a caller's share is used up
├── IdempotencyConflict  an idempotency key was used for another request
├── RecordInvalid        what the queue holds is no job of this version
├── StoreFull            all uploads together would exceed their limit
├── UploadGone           there is no such upload of this owner (any more)
├── UploadInvalid        bytes are not what their kind demands
├── PrivateGone          the job of private files has ended
├── KeysFull             no room for a new key
├── TaskFailed           a task that cannot succeed
├── Abandoned            a task is not this worker's any more, or goes back: the work stops
├── ServiceRefused       the service answered with a problem (`api.client.http`)
├── ServiceGone          the service has not answered for a while
├── FolderBusy           another process serves a ceremony, or contributes to it
├── TurnLost             a contribution over HTTP was not taken
├── DemoFailed           the demonstration cannot go on
├── DemoUnknown          there is no such demonstration
└── ApiProblem           a route refuses (`api.http.problems`, where its code has a status)

`describe` is the only place where it is decided what may be told: commands, the HTTP service and
the queue's workers take its words. What an error knows about private numbers stays in it, except
for the model's owner; paths of this machine stay on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from api.system_errors import describe_system_error
from consensus.errors import HomeInvalid, NoFile, SealError, StoreFailed, StoreKeyMissing
from federated.errors import DatasetCorrupt
from kernels.errors import BackendUnavailable, DeviceError, ZkpotError
from prover.errors import FormatError

RETRY_S, MAX_RETRY_S = 5, 3600
_MIB = 1 << 20
_FOLLOW_AGAIN = "follow the job again: it goes on without its followers"
SHARES = {
    "tasks": "you have as many tasks in the queue as one caller may have; wait until some end",
    "bytes": "you have as many results here as one caller may have; wait until some expire",
    "keys": "you sent as many idempotency keys as one caller may; send none, or wait",
}


class ApiError(ZkpotError):
    """Root of the tree."""

    code = "api_error"


class SettingsInvalid(ApiError, ValueError):
    """The environment asks for something that cannot be meant; names the variable."""

    code = "settings_invalid"


class KeyFileError(ApiError, ValueError):
    """The file of API keys cannot be used; names the line, never a key."""

    code = "key_file_invalid"


class ServerUnavailable(ApiError, RuntimeError):
    """No server answers; says what to do about it."""

    code = "queue_unavailable"


class ClaimsUnavailable(ApiError, OSError):
    """The data directory cannot hold locks."""

    code = "claims_unavailable"


# -- queue and store -------------------------------------------------------------------------------


class QueueFull(ApiError):
    """There is no room for the tasks of another job."""

    code = "queue_full"

    def __init__(self, load: int) -> None:
        self.load = load
        super().__init__(f"{load} tasks wait or run")


class OwnerFull(ApiError):
    """The owner's share is used up."""

    code = "quota_full"

    def __init__(self, what: str, wait_s: int) -> None:
        """what : a key of SHARES; wait_s : until some of it may be free again"""
        self.wait_s = wait_s
        super().__init__(SHARES[what])


class IdempotencyConflict(ApiError):
    """The caller used this idempotency key for another request."""

    code = "idempotency_conflict"


class RecordInvalid(ApiError, ValueError):
    """What the queue holds is no job of this version; never repeats it."""

    code = "record_invalid"


class StoreFull(ApiError):
    """All uploads together would exceed their limit."""

    code = "store_full"


class UploadGone(ApiError):
    """There is no such upload of this owner, or its time to live is over."""

    code = "upload_gone"

    def __init__(self, kind: str) -> None:
        self.code = f"{kind}_gone"
        super().__init__(f"there is no {kind} of this id, or it has expired; upload it again")


class UploadInvalid(ApiError):
    """The bytes are not what their kind demands; says what, never repeats them."""

    code = "bad_dataset"


class PrivateGone(ApiError):
    """The job of these files has ended."""

    code = "private_gone"

    def __init__(self, part: str) -> None:
        self.code = f"{part}_gone"
        super().__init__(f"the {part} of this job is gone; submit the job again")


class KeysFull(ApiError):
    """There is no room for a new key; says what to do."""

    code = "keys_full"

    def __init__(self, *, n_bytes: int, used: int, limit: int) -> None:
        super().__init__(
            f"the circuit needs a new key of up to {-(-n_bytes // _MIB)} MiB, and keys take "
            f"{used // _MIB} of {limit // _MIB} MiB: take a model and n_samples of a circuit that "
            "has a key (GET /v1/circuits), or ask the operator to raise ZKPOT_KEYS_LIMIT_BYTES or "
            "to move keys away that nobody verifies under"
        )


# -- workers, clients, the demonstration -----------------------------------------------------------


class TaskFailed(ApiError):
    """A task that cannot succeed: a stable code, and a sentence without private values."""

    code = "task_failed"

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Abandoned(ApiError):
    """Stops the work on a task that is not this worker's any more, or that it must give back."""

    code = "abandoned"

    def __init__(self, standing: str | None) -> None:
        """standing : of the task in the queue; None when the worker itself stops"""
        self.standing = standing
        super().__init__(standing or "stopping")


class ServiceGone(ApiError):
    """The service has not answered for a while, over many connections; says what to do."""

    code = "service_gone"

    def __init__(self, silence_s: float, what_then: str = _FOLLOW_AGAIN) -> None:
        super().__init__(
            f"the service has not answered for {silence_s:.0f} s; see whether it runs, then "
            f"{what_then}"
        )


class FolderBusy(ApiError):
    """Another process has the folder of a ceremony; says what to do."""

    code = "folder_busy"


class TurnLost(ApiError):
    """The server of a ceremony did not take a contribution; says why, and what to do."""

    code = "turn_lost"


class DemoFailed(ApiError):
    """The demonstration cannot go on; says why, and what to do."""

    code = "demo_failed"


class DemoUnknown(ApiError, ValueError):
    """There is no demonstration of this kind or size; names those that there are."""

    code = "demo_unknown"


# -- what is told ----------------------------------------------------------------------------------


class Audience(StrEnum):
    """Who is told of an error."""

    OWNER = "owner"  # of the private model, at this machine
    USER = "user"  # of this machine: its paths, no private number
    CALLER = "caller"  # of the service, from elsewhere: neither


@dataclass(frozen=True, slots=True)
class Told:
    """What may be told of an error.

    text    : what is wrong and what to do about it
    retry_s : seconds after which another attempt may help; None: none does
    """

    code: str
    text: str
    retry_s: int | None = None


def describe(error: BaseException, audience: Audience = Audience.USER) -> Told:
    """What this audience may know of any error; of one that nobody meant, its type alone."""
    return find_rule(type(error))(error, audience)


def find_rule(kind: type[BaseException]) -> Rule:
    """How errors of this class are told: as the nearest class above it that is in the table."""
    names = (_RULES.get(above) or _FOREIGN.get(_name(above)) for above in kind.__mro__)
    return next(rule for rule in names if rule is not None)


def _tell_own(error: ZkpotError, audience: Audience) -> Told:
    text = str(error) if audience is Audience.OWNER else error.public_message
    return Told(error.code, text)


def _tell_passing(error: ZkpotError, audience: Audience) -> Told:
    return Told(error.code, error.public_message, RETRY_S)


def _tell_share(error: OwnerFull, audience: Audience) -> Told:
    return Told(error.code, str(error), min(MAX_RETRY_S, max(RETRY_S, error.wait_s)))


def _tell_format(error: FormatError, audience: Audience) -> Told:
    if audience is not Audience.CALLER:
        return _tell_own(error, audience)
    return Told(error.code, f"{Path(error.where).name}: {error.what}; {error.next_step}")


def _tell_place(error: HomeInvalid | DatasetCorrupt, audience: Audience) -> Told:
    if audience is not Audience.CALLER:
        return _tell_own(error, audience)
    return Told(error.code, f"{error.path.name}: {error.what}; {error.next_step}")


def _tell_store(error: StoreFailed, audience: Audience) -> Told:
    """It names the bucket, which is for the operator's eyes."""
    hidden = "the object store of the service cannot be used"
    text = hidden if audience is Audience.CALLER else str(error.strerror)
    return Told(error.code, text, RETRY_S)


def _tell_seal(error: SealError, audience: Audience) -> Told:
    """Names of objects are not for callers. A worker that is set up rightly may open it yet."""
    text = str(error)
    if audience is Audience.CALLER and not isinstance(error, StoreKeyMissing):
        text = "what is stored cannot be opened here; upload it again, or tell the operator"
    return Told(error.code, text, RETRY_S)


def _tell_backend(error: BackendUnavailable, audience: Audience) -> Told:
    """What is missing may be named by its path."""
    hidden = "no device of this worker can be used; tell the operator"
    return Told(error.code, hidden if audience is Audience.CALLER else str(error), RETRY_S)


def _tell_device(error: DeviceError, audience: Audience) -> Told:
    advice = "" if audience is Audience.CALLER else "; take --backend cpu"
    return Told(error.code, f"{error}{advice}", RETRY_S)


def _tell_system(error: OSError | MemoryError, audience: Audience) -> Told:
    code, text = describe_system_error(error)
    if audience is Audience.CALLER:
        text = {
            "out_of_memory": "the worker has not enough memory; take fewer n_samples",
            "disk_full": "the store cannot be written: its disk is full",
        }.get(code, "the store cannot be read or written")
    return Told(code, text, RETRY_S)


def _tell_redis(error: Exception, audience: Audience) -> Told:
    text = f"the queue server does not answer ({type(error).__name__})"
    return Told(ServerUnavailable.code, text, RETRY_S)


def _tell_type(error: BaseException, audience: Audience) -> Told:
    """Not raised on purpose: its text may hold private numbers."""
    return Told("internal", f"the program failed ({type(error).__name__})", RETRY_S)


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


Rule = Callable[[Any, Audience], Told]
_RULES: Mapping[type[BaseException], Rule] = {
    ZkpotError: _tell_own,
    FormatError: _tell_format,
    HomeInvalid: _tell_place,
    DatasetCorrupt: _tell_place,
    SealError: _tell_seal,
    StoreFailed: _tell_store,
    BackendUnavailable: _tell_backend,
    DeviceError: _tell_device,
    ServerUnavailable: _tell_passing,
    QueueFull: _tell_passing,
    StoreFull: _tell_passing,
    OwnerFull: _tell_share,
    ClaimsUnavailable: _tell_system,
    NoFile: _tell_system,
    OSError: _tell_system,
    MemoryError: _tell_system,
    BaseException: _tell_type,
}
"""By class; a class that is not here is told as the nearest above it."""
_FOREIGN: Mapping[str, Rule] = {"redis.exceptions.RedisError": _tell_redis}
"""By name: to know the class would load its library."""
