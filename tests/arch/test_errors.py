"""Every error is in the tree of its package, has a code of its own, and tells nothing private."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from api.errors import (
    RETRY_S,
    ApiError,
    Audience,
    OwnerFull,
    QueueFull,
    Told,
    UploadGone,
    _tell_type,
    describe,
    find_rule,
)
from api.valkey.primary import NoPrimary
from bench.errors import BenchError
from consensus.errors import ConsensusError, LedgerError, NoFile
from federated.errors import CalibrationFailed, DatasetCorrupt, FederatedError
from integrations.errors import IntegrationError
from kernels.errors import BackendUnavailable, DeviceError, KernelError, ZkpotError
from prover.errors import FormatError, ProverError, RangeExceeded, UpdateExceeds

ROOTS: dict[str, type[ZkpotError]] = {
    "kernels": KernelError,
    "prover": ProverError,
    "consensus": ConsensusError,
    "federated": FederatedError,
    "api": ApiError,
    "bench": BenchError,
    "integrations": IntegrationError,
}
FOREIGN = {"api.client.http", "api.http.problems", "api.valkey.primary"}
"""Where an error is that needs what the tree does not import: it is drawn there all the same."""
ABSENT = {
    "cupy",
    "cuda",
    "torch",
    "PIL",
    "matplotlib",
    "mclbn256",
    "py_ecc",
    "zksnake",
    "ezkl",
    "flwr",
    "onnx",
    "onnxruntime",
    "google",
}
"""Of extras: a module that needs one that is not installed here is passed over."""
SECRET = 123456789


def import_all() -> None:
    for package in ROOTS:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if str(error.name).partition(".")[0] not in ABSENT:
                    raise


def walk(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for below in kind.__subclasses__():
        yield below
        yield from walk(below)


@pytest.fixture(scope="module")
def kinds() -> list[type[BaseException]]:
    """Of this program; one with an underscore never leaves its module."""
    import_all()
    own = {
        kind
        for kind in walk(BaseException)
        if kind.__module__.partition(".")[0] in ROOTS and not kind.__name__.startswith("_")
    }
    return sorted(own, key=lambda kind: kind.__name__)


def test_all_are_below_the_root_of_their_package(kinds: list[type[BaseException]]) -> None:
    assert len(kinds) > 60
    strays = [
        kind
        for kind in kinds
        if kind is not ZkpotError and not issubclass(kind, ROOTS[kind.__module__.partition(".")[0]])
    ]
    assert strays == []


def test_all_stand_where_the_tree_is_drawn(kinds: list[type[BaseException]]) -> None:
    for kind in kinds:
        package = kind.__module__.partition(".")[0]
        assert kind.__module__ in {f"{package}.errors", *FOREIGN}
        drawn = importlib.import_module(f"{package}.errors").__doc__ or ""
        assert re.search(rf"^(.*── )?{kind.__name__}\b", drawn, re.MULTILINE), kind


def test_each_has_a_code_of_its_own(kinds: list[type[BaseException]]) -> None:
    codes = Counter(vars(kind).get("code") for kind in kinds)
    assert [code for code, n in codes.items() if n > 1 or not isinstance(code, str)] == []
    assert all(re.fullmatch("[a-z_]+", str(code)) for code in codes)


def test_each_is_in_the_table_or_below_a_class_that_is(kinds: list[type[BaseException]]) -> None:
    assert [kind for kind in kinds if find_rule(kind) is _tell_type] == []


def test_who_carries_private_values_says_what_may_be_told(
    kinds: list[type[BaseException]],
) -> None:
    private = {kind for kind in kinds if getattr(kind, "carries_private_values", False)}
    assert private == {RangeExceeded, UpdateExceeds, CalibrationFailed}
    for kind in private:
        assert "public_message" in vars(kind)


def make_private() -> list[ZkpotError]:
    exceeded = RangeExceeded(
        layer=1, quantity="weight", value=SECRET, bound=(-127, 127), next_step="clip it"
    )
    moved = UpdateExceeds(quantity="change of a weight", value=SECRET, bound=8)
    return [exceeded, moved, CalibrationFailed(layer=1, last=exceeded)]


@pytest.mark.parametrize("error", make_private(), ids=lambda error: type(error).__name__)
def test_private_values_are_told_to_their_owner_only(error: ZkpotError) -> None:
    for audience in Audience:
        told = describe(error, audience)
        assert (str(SECRET) in told.text) == (audience is Audience.OWNER)
        assert told.code == type(error).code


@pytest.mark.parametrize("error", [ValueError(f"weight {SECRET}"), KeyError(SECRET)])
def test_of_what_nobody_meant_the_type_is_told(error: Exception) -> None:
    for audience in Audience:
        told = describe(error, audience)
        assert told == Told("internal", f"the program failed ({type(error).__name__})", RETRY_S)


def test_paths_stay_on_the_machine() -> None:
    errors = [
        FormatError("it is short", where="/secret/place/file.zkq: header", next_step="send"),
        LedgerError(Path("/secret/place/blocks.log"), "damaged", "copy it"),
        OSError(28, "No space left on device", "/secret/place/file"),
        OSError(5, "Input/output error", "/secret/place/file"),
        NoFile(Path("/secret/place/pipe")),
        BackendUnavailable("cannot be imported (ImportError: /secret/place/lib.so)"),
        DatasetCorrupt(Path("/secret/place/images"), "is not images", "fetch it again"),
        MemoryError(),
    ]
    told = [describe(error, Audience.CALLER) for error in errors]
    assert "secret" not in " ".join(one.text for one in told)
    assert [one.code for one in told] == [
        "bad_format",
        "ledger_unusable",
        "disk_full",
        "io_error",
        "io_error",
        "backend_unavailable",
        "dataset_corrupt",
        "out_of_memory",
    ]
    assert told[0].text == "file.zkq: header: it is short; send"
    lasting = {0, 1, 6}
    waits = [None if i in lasting else RETRY_S for i in range(len(errors))]
    assert [one.retry_s for one in told] == waits
    assert all("secret" in describe(error).text for error in errors[:-1])


def test_how_long_to_wait() -> None:
    assert describe(QueueFull(3)) == Told("queue_full", "3 tasks wait or run", RETRY_S)
    waits = [describe(OwnerFull("tasks", wait_s)).retry_s for wait_s in (0, 60, 1 << 20)]
    assert waits == [RETRY_S, 60, 3600]
    assert describe(UploadGone("model")).retry_s is None
    assert describe(UploadGone("model")).code == "model_gone"


def test_a_device_that_fails_is_told_with_what_to_do_here() -> None:
    error = DeviceError("launch failed")
    assert describe(error).text == "launch failed; take --backend cpu"
    assert describe(error, Audience.CALLER).text == "launch failed"


def test_a_server_that_does_not_answer_has_one_code() -> None:
    for error in (ResponseError(f"command {SECRET}"), NoPrimary(f"command {SECRET}")):
        told = describe(error, Audience.CALLER)
        assert told.code == "queue_unavailable"
        assert str(SECRET) not in told.text
