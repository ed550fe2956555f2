"""The page of a ceremony, in headless Chromium."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, expect

from api.ceremony.app import build_app
from api.http.auth import KeyRing
from api.http.server import build_server, listen
from tests.support.browsing import open_page
from tests.support.served_ceremonies import Clock, Guest, ask, begin, make, open_desk
from tests.support.serving import _no_signals

pytestmark = pytest.mark.browser
MARKUP = "<b>alice</b>"


def test_contributors_and_how_to_join(browser: Browser, tmp_path: Path) -> None:
    folder = begin(tmp_path / "ceremony")
    desk = open_desk(folder, Clock())
    with ask(desk) as http:
        alice = Guest.join(http, MARKUP)
        made = make(folder, 1, MARKUP)
        alice.contribute(made)
        assert desk.check_next()
        Guest.join(http, "bob")
        Guest.join(http)
    with listen("127.0.0.1", 0) as listening:
        server = build_server(build_app(desk, keys=KeyRing()), host="127.0.0.1", port=0)
        server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with open_page(browser, url) as page:
            expect(page.locator("#health")).to_have_text("open")
            rows = page.locator("#made tr")
            expect(rows).to_have_count(2)
            expect(rows.nth(1)).to_contain_text(MARKUP)  # text, not markup
            expect(rows.nth(1)).to_contain_text(made.place)
            expect(page.locator("#now")).to_contain_text("bob")
            expect(page.locator("#command")).to_contain_text(f"zkpot ceremony contribute {url}")
            expect(page.locator("#files li")).to_have_count(4)
            page.set_viewport_size({"width": 400, "height": 800})
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(wide) == 0
        server.should_exit = True
        thread.join(timeout=20)
