"""Files that are dropped otherwise than one whole file at a time, in headless Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from api.http.auth import LOCAL
from tests.support.still_service import MODEL, StillService

pytestmark = pytest.mark.browser
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.zkq"
    path.write_bytes(MODEL)
    return path


def drop(page: Page, *names: str) -> None:
    """Files of a byte each, dropped together."""
    transfer = page.evaluate_handle(
        """names => {
            const transfer = new DataTransfer();
            for (const name of names) transfer.items.add(new File(["x"], name));
            return transfer;
        }""",
        list(names),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


@pytest.mark.parametrize("slow", ["**/v1/models", "**/v1/models/onnx?*"])
def test_an_answer_about_a_file_before_changes_nothing(page: Page, model: Path, slow: str) -> None:
    """The file that was taken last is the one that is shown, whatever comes late."""
    held: list[Route] = []
    page.route(slow, lambda route: held.append(route))
    with page.expect_request(slow):
        if slow.endswith("models"):
            page.locator("#file").set_input_files(model)
        else:
            drop(page, "first.onnx")
            expect(page.locator("#subject")).to_have_text("first.onnx")
            page.locator("#go").click()
    drop(page, "last.onnx")
    expect(page.locator("#subject")).to_have_text("last.onnx")
    (route,) = held
    with page.expect_response(slow):
        route.fulfill(
            status=201,
            json={
                "id": "0" * 64,
                "architecture": "mlp-4-3-2",
                "n_parameters": 23,
                "notes": ["rounded"],
            },
        )
    page.evaluate("() => new Promise(done => setTimeout(done))")  # what follows the answer has run
    expect(page.locator("#subject")).to_have_text("last.onnx")
    expect(page.locator("#go")).to_have_text("Import")
    expect(page.locator("#said")).to_have_text("")


def test_two_files_at_once_are_refused(page: Page) -> None:
    drop(page, "a.onnx", "b.onnx")
    expect(page.locator("#said")).to_have_text("one file at a time, please")
    expect(page.locator("#choice")).to_be_hidden()


@pytest.mark.parametrize("name", ["x.zkq", "x.onnx", "x.zkp"])
def test_an_empty_file_is_called_so(page: Page, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    page.locator("#file").set_input_files(tmp_path / name)
    expect(page.locator("#said")).to_have_text(f"{name}: it is empty")


def test_a_large_file_stays_here(page: Page, tmp_path: Path) -> None:
    with (tmp_path / "large.zkq").open("wb") as stream:
        stream.truncate((1 << 26) + 1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.locator("#file").set_input_files(tmp_path / "large.zkq")
    expect(page.locator("#said")).to_contain_text("large.zkq: more than")
    assert "POST" not in asked


def test_names_are_text(page: Page, tmp_path: Path) -> None:
    """A name of a file is a stranger's, too."""
    drop(page, f"{MARKUP}.zkp")
    expect(page.locator("#said")).to_contain_text(f"{MARKUP}.zkp: ")
    drop(page, f"{MARKUP}.ONNX")
    expect(page.locator("#subject")).to_have_text(f"{MARKUP}.ONNX")
    assert page.locator("img").count() == 0


def test_a_page_that_is_loaded_again_shows_the_job_that_was_started(
    page: Page, service: StillService
) -> None:
    job = service.submit(LOCAL, service.make_request(), None)
    page.reload()
    card = page.locator(f"#jobs button[data-id='{job.id}']")
    card.click()
    expect(page.locator("#detail")).to_be_focused()
    expect(page.locator("#facts")).to_contain_text(job.id)
