"""One browser for all pages of a module; a service without workers, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browsing import open_page, run_browser
from tests.support.queue_server import running_server
from tests.support.serving import serve
from tests.support.still_service import StillService, still_service

PATIENCE_MS = 60_000  # a machine whose processors others keep busy takes its time
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with run_browser() as browser:
        yield browser


@pytest.fixture
def service(tmp_path: Path) -> Iterator[StillService]:
    with running_server(tmp_path), still_service(tmp_path) as service:
        yield service


@pytest.fixture
def page(browser: Browser, service: StillService) -> Iterator[Page]:
    with serve(service) as url, open_page(browser, url) as page:
        yield page
