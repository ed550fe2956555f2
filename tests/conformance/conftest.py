"""One suite for every backend: `pytest tests/conformance --backend=NAME` (may be repeated).

NAME is a registered backend (`kernels.backend`), `cpu-LANES` for the CPU backend with those lanes,
or `cuda-emulated`: the CUDA backend on kernels that g++ built. `cuda-emulated-backwards` runs their
blocks and threads in the other order, which shows barriers left out. Without the option every
backend in `DEFAULT` is judged; `cpu` is among them under the name of the lanes that it takes. A
backend that cannot run here is skipped with its own reason (`BackendUnavailable`); nothing else is
ever skipped.

Tests marked `bulk` are too long for a backend that works number by number (`SLOW`), those marked
`at_length` also for an emulated device, and those marked `at_full_length` also for emulated lanes,
which differ from `cpu-ifma` in two primitives and in no length. They are left out for those, and so
are tests marked `threads` for backends without threads, `device` for those without a device. `cuda`
is judged only where a GPU is (`-m gpu`).
"""

import pytest

from kernels.backend import Backend
from kernels.errors import BackendUnavailable
from tests.conformance.backends import CPU, DEFAULT, build_backend

SLOW = ("reference",)
EMULATED = ("cuda-emulated", "cuda-emulated-backwards")
EMULATED_LANES = "cpu-ifma-emulated"
CUDA = "cuda"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="judge this backend (may be repeated); default: " + ", ".join(DEFAULT),
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bulk: too long for a backend that works number by number")
    config.addinivalue_line("markers", "at_length: too long for an emulated device as well")
    config.addinivalue_line("markers", "at_full_length: too long for emulated lanes as well")
    config.addinivalue_line("markers", "device: for backends with a device of their own")
    config.addinivalue_line("markers", "threads: needs a backend with a choice of threads")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        names = metafunc.config.getoption("backend", default=None) or (*DEFAULT, CUDA)
        cases = [pytest.param(n, marks=pytest.mark.gpu) if n == CUDA else n for n in names]
        metafunc.parametrize("backend_name", cases, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (dropped if is_out_of_reach(item) else kept).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


def is_out_of_reach(item: pytest.Item) -> bool:
    name = item.callspec.params.get("backend_name") if hasattr(item, "callspec") else None
    if name is None:
        return False
    if item.get_closest_marker("threads") and not name.startswith(CPU):
        return True
    if item.get_closest_marker("device") and not name.startswith(CUDA):
        return True
    if item.get_closest_marker("at_length") and name in EMULATED:
        return True
    if item.get_closest_marker("at_full_length") and name == EMULATED_LANES:
        return True
    return item.get_closest_marker("bulk") is not None and name in SLOW


@pytest.fixture(scope="session")
def backend(backend_name: str) -> Backend:
    try:
        return build_backend(backend_name)
    except BackendUnavailable as reason:
        pytest.skip(f"{backend_name}: {reason}")


@pytest.fixture(scope="session")
def max_length(backend_name: str) -> int:
    """The longest MSM that a property test may draw."""
    return 9 if backend_name in SLOW else 300
