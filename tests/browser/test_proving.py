"""Proving on the page, in headless Chromium: a model is dropped, planned, proven, verified."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from api.http.auth import LOCAL
from api.queue.admin import Heartbeat, QueueAdmin
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.models import random_model
from tests.support.proving_service import work
from tests.support.still_service import MODEL, StillService

pytestmark = pytest.mark.browser
ARCHITECTURE = Architecture.mlp([784, 4, 10], requant=Requant(shift=14, q_bits=10))
TILES = ("rows", "key", "memory", "to make the key", "to prove")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file of a network for MNIST."""
    path = tmp_path / "mnist.zkq"
    path.write_bytes(encode_model(random_model(ARCHITECTURE, np.random.default_rng(4))))
    return path


def find_job(service: StillService) -> str:
    (job,) = service.list_jobs(LOCAL, limit=2, before=None).jobs
    return job.id


def test_a_model_is_planned_proven_and_its_proof_verified(
    page: Page, service: StillService, model: Path, tmp_path: Path
) -> None:
    page.locator("#file").set_input_files(model)
    expect(page.locator("#subject")).to_contain_text("mlp-784-4-10, 3,190 parameters")
    expect(page.locator("#count")).to_have_value("256")
    page.locator("#count").fill("3")
    expect(page.locator("#plan-note")).to_contain_text("No worker is up yet")
    for tile in TILES:
        expect(page.locator("#plan")).to_contain_text(tile)
    assert service.list_jobs(LOCAL, limit=2, before=None).jobs == []  # nothing has started
    page.get_by_role("button", name="Start the proof").click()
    expect(page.locator("#detail")).to_be_visible()
    work(service)
    expect(page.locator("#proof")).to_contain_text("of 3")
    with page.expect_download() as download:
        page.locator("#download").click()
    proof = tmp_path / "proof.zkp"
    download.value.save_as(proof)
    page.locator("#file").set_input_files(proof)
    expect(page.locator("#verdict-title")).to_have_text("valid")
    expect(page.locator("#verdict")).to_be_focused()
    words = page.locator("#verdict-words")
    expect(words).to_contain_text("mlp-784-4-10")
    expect(words).to_contain_text("of the 3 samples mnist:test[0:3]")
    expect(page.locator("#verdict-facts")).to_contain_text("model commitment")
    expect(page.locator("#limits")).to_contain_text("how the weights were trained")
    page.locator("#count").fill("2")
    page.locator("#go").click()
    expect(page.locator("#verdict-title")).to_have_text("not valid")
    expect(page.locator("#verdict-words")).to_contain_text("mnist:test[0:2]")
    expect(page.locator("#not-proven")).to_be_hidden()


def test_the_bar_moves_while_a_key_is_made(page: Page, service: StillService, model: Path) -> None:
    page.locator("#file").set_input_files(model)
    page.locator("#go").click()
    expect(page.locator("#detail")).to_be_visible()
    job_id = find_job(service)
    card = page.locator(f"#jobs button[data-id='{job_id}']")
    service.step(job_id, "A query", 1, 4, 0.15)
    expect(card).to_contain_text("A query, 15 %")
    stage = page.locator("#stages progress[aria-label='A query']")
    expect(stage).to_have_attribute("value", "1")


def test_the_keyboard_alone_plans_and_starts(
    page: Page, service: StillService, model: Path
) -> None:
    page.on("filechooser", lambda _: None)  # begins to intercept it, at some time
    page.reload()  # by then
    page.locator("#file").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(model)
    expect(page.locator("#dataset")).to_be_focused()
    expect(page.locator("#plan")).to_contain_text("rows")
    page.keyboard.press("Tab")
    expect(page.locator("#count")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("9")
    expect(page.locator("#go")).to_be_enabled()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    job = service.get_job(LOCAL, find_job(service))
    assert (job.n_samples, job.dataset) == (9, "mnist:test[0:9]")


def test_a_file_may_be_dropped_anywhere(page: Page, model: Path) -> None:
    raw = list(model.read_bytes())
    transfer = page.evaluate_handle(
        """raw => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(raw)], "dropped.zkq"));
            return transfer;
        }""",
        raw,
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator("#subject")).to_contain_text("mlp-784-4-10")
    expect(page.locator("#drop")).to_have_class("drop")


def test_what_does_not_fit_is_said_before_it_starts(
    page: Page, service: StillService, model: Path, tmp_path: Path
) -> None:
    heartbeat = Heartbeat(
        worker="w-1",
        backend="cpu",
        device="",
        job_id=None,
        draining=False,
        resident_bytes=1,
        cached_bytes=0,
        threads=2,
        memory_bytes=1 << 20,
    )
    QueueAdmin(service.queue).beat(heartbeat)
    page.locator("#file").set_input_files(model)
    expect(page.locator("#plan-note")).to_contain_text("1 MiB")
    expect(page.locator("#go")).to_be_disabled()
    page.locator("#count").fill("99999")
    expect(page.locator("#plan-note")).to_contain_text("1 to 2048 samples are here")
    (tmp_path / "other.zkq").write_bytes(MODEL)
    page.locator("#file").set_input_files(tmp_path / "other.zkq")
    expect(page.locator("#plan-note")).to_contain_text("the model takes [4]")


def test_an_onnx_network_is_imported_then_planned(page: Page, tmp_path: Path) -> None:
    sketch = onnx_sketch().Sketch(1, 1, 28, 28)
    hidden = sketch("Relu", sketch.gemm(sketch("Flatten", "x"), 4, 784))
    (tmp_path / "net.onnx").write_bytes(sketch.raw(sketch.gemm(hidden, 10, 4)))
    page.locator("#file").set_input_files(tmp_path / "net.onnx")
    expect(page.locator("#subject")).to_have_text("net.onnx")
    expect(page.locator("#count")).to_be_hidden()
    page.locator("#std").fill("0.5")
    page.locator("#go").click()
    expect(page.locator("#subject")).to_contain_text("3,190 parameters")
    expect(page.locator("#plan")).to_contain_text("rows")
    expect(page.locator("#go")).to_have_text("Start the proof")
    expect(page.locator("#std")).to_be_hidden()
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    page.locator("#file").set_input_files(tmp_path / "noise.onnx")
    page.locator("#go").click()
    expect(page.locator("#said")).to_contain_text("noise.onnx: ")
    expect(page.locator("#said")).to_have_class("bad")


def onnx_sketch() -> ModuleType:
    return pytest.importorskip("tests.support.onnx_sketch", reason="the extra `onnx` is missing")


@pytest.mark.parametrize(("name", "raw"), [("x.zkp", b"noise"), ("x.zkq", b"zkpotQM\0noise")])
def test_other_files_are_refused_by_name(page: Page, tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    page.locator("#file").set_input_files(tmp_path / name)
    expect(page.locator("#said")).to_contain_text(f"{name}: ")
    expect(page.locator("#said")).to_have_class("bad")
    expect(page.locator("#choice")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_proving_fits_400_pixels(page: Page, model: Path, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator("#file").set_input_files(model)
    expect(page.locator("#plan")).to_contain_text("to prove")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("drop", "dataset", "count", "go")]
    assert all(box is not None and 0 <= box["x"] <= box["x"] + box["width"] <= 400 for box in boxes)
    page_colour = "getComputedStyle(document.body).backgroundColor"
    ink_colour = "getComputedStyle(document.querySelector('#go')).color"
    ground, ink = page.evaluate(f"[{page_colour}, {ink_colour}]")
    assert (ground == "rgb(20, 23, 27)") == (scheme == "dark")
    assert ink == ("rgb(232, 232, 227)" if scheme == "dark" else "rgb(28, 31, 36)")
