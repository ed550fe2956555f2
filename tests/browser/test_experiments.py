"""The page of experiments in headless Chromium: findings, pictures, tables, and a narrow screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PATIENCE_MS
from tests.support.browsing import open_page
from tests.support.experiment_reports import put_report
from tests.support.serving import serve
from tests.support.still_service import StillService

pytestmark = pytest.mark.browser


def test_reports_are_shown_with_what_holds_and_what_does_not(
    browser: Browser, service: StillService, tmp_path: Path
) -> None:
    folder = tmp_path / "experiments"
    with (
        serve(service, experiments=folder) as url,
        open_page(browser, f"{url}/experiments") as page,
    ):
        expect(page.locator("#findings")).to_contain_text("zkpot experiment all")
        put_report(folder)
        page.set_viewport_size({"width": 400, "height": 800})
        page.reload()
        findings = page.locator("#findings li")
        expect(findings).to_have_count(3)
        for i, word in enumerate(("holds", "does not hold", "open")):
            expect(findings.nth(i).locator(".state")).to_have_text(word)
        expect(findings.nth(1)).to_contain_text("it <b>costs</b> nothing")  # text, not markup
        expect(page.get_by_role("cell", name="forged")).to_be_visible()
        picture = page.locator("img.picture")
        expect(picture).to_have_attribute("alt", "kinds of [forged] claims, 3 seeds")
        page.wait_for_function(
            "document.querySelector('img.picture').naturalWidth === 40", timeout=PATIENCE_MS
        )
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) == 0
