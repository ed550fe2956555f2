"""The page at `/` in headless Chromium: live jobs, by keyboard, and on a narrow screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from api.http.auth import LOCAL
from api.http.chain.history import ChainHistory
from api.queue.jobs import AccuracyWork, Priority
from api.valkey.embedded import EmbeddedServer
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import Phase
from consensus.wire.transactions import Refusal
from tests.support.browsing import open_page
from tests.support.histories import LAB, certify, grow
from tests.support.ordered import trained
from tests.support.queue_server import running_server
from tests.support.serving import serve
from tests.support.still_service import StillService, still_service

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Site:
    """A running service, its server, and a job in its queue."""

    url: str
    service: StillService
    server: EmbeddedServer
    job_id: str

    def rename_dataset(self, name: str) -> None:
        """In the queue, where no route looks at the name again."""
        queue = self.service.queue
        record = queue.get(self.job_id)
        assert record is not None
        assert isinstance(record.spec.work, AccuracyWork)
        spec = replace(record.spec, work=replace(record.spec.work, dataset=name))
        self.service.redis.hset(f"{queue.prefix}job:{self.job_id}", "spec", spec.encode())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_server(tmp_path) as server, still_service(tmp_path) as service:
        service.put_job()
        job = service.put_job(priority="high")
        service.show_worker("w-1")
        with serve(service) as url:
            yield Site(url, service, server, job.id)


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with open_page(browser, site.url) as page:
        yield page


def test_a_job_is_followed_live_to_its_proof(page: Page, site: Site) -> None:
    card = page.locator(f"#jobs button[data-id='{site.job_id}']")
    expect(card).to_contain_text("queued")
    expect(page.locator("#workers")).to_contain_text("w-1")
    card.click()
    expect(page.locator("#no-proof")).to_be_visible()
    site.service.step(site.job_id, "commit", 1, 2, 0.4)
    expect(card).to_contain_text("running")
    expect(card).to_contain_text("40 %")
    stage = page.locator("#stages progress[aria-label='commit']")
    expect(stage).to_have_attribute("value", "1")
    site.service.finish(site.job_id, "done")
    expect(card).to_contain_text("done")
    expect(page.locator("#proof")).to_contain_text("60 of 64")
    expect(page.locator("#cancel")).to_be_hidden()


def test_a_training_says_how_many_of_its_steps_are_proven(page: Page, site: Site) -> None:
    job = site.service.submit_training(
        LOCAL,
        order=BytesIO(trained().write()),
        priority=Priority.HIGH,
        deadline_s=None,
        idempotency_key=None,
    )
    card = page.locator(f"#jobs button[data-id='{job.id}']")
    expect(card).to_contain_text("training, 0 of 3 steps")
    card.click()
    queue = site.service.queue
    _, lease = queue.lease("of the job before"), queue.lease("w-1")
    assert lease is not None
    assert lease.job_id == job.id
    assert queue.complete(lease, b"proof", seconds=0.5, n_samples=0)
    expect(card).to_contain_text("1 of 3 steps")
    steps = page.locator("#stages progress[aria-label='steps']")
    expect(steps).to_have_attribute("value", "1")


def test_keyboard_alone_chooses_opens_and_closes(page: Page) -> None:
    cards = page.locator("#jobs button")
    expect(cards).to_have_count(2)
    cards.first.focus()
    page.keyboard.press("ArrowDown")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(cards.nth(1)).to_be_focused()  # the last stays
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    expect(cards.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(cards.nth(1)).to_be_focused()


def test_focus_stays_while_the_list_is_read_again(page: Page, site: Site) -> None:
    card = page.locator(f"#jobs button[data-id='{site.job_id}']")
    card.focus()
    site.service.step(site.job_id, "prove", 1, 1, 0.9)
    expect(card).to_contain_text("90 %")
    expect(card).to_be_focused()


def test_cancel_from_the_page(page: Page, site: Site) -> None:
    page.locator(f"#jobs button[data-id='{site.job_id}']").click()
    page.locator("#cancel").click()
    expect(page.locator("#facts")).to_contain_text("cancelled")
    assert site.service.get_job(LOCAL, site.job_id).state == "cancelled"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_at_400_pixels(page: Page, site: Site, tmp_path: Path, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator(f"#jobs button[data-id='{site.job_id}']").click()
    site.service.finish(site.job_id, "done")
    expect(page.locator("#proof")).to_contain_text("60 of 64")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    picture = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert _count_colours(picture) > 16  # something is drawn


def test_what_a_job_is_called_is_never_markup(page: Page, site: Site) -> None:
    evil = "<img src=x onerror=alert(1)>"
    site.rename_dataset(evil)
    card = page.locator(f"#jobs button[data-id='{site.job_id}']")
    expect(card).to_contain_text(evil)
    assert page.locator("#jobs img").count() == 0


@pytest.mark.parametrize("width", [400, 1100])
def test_long_names_stay_inside_their_cards(page: Page, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    card = page.locator(f"#jobs button[data-id='{site.job_id}']")
    for name, shown in (("ab" * 32, "abababababab…"), ("w" * 80, "w" * 80)):
        site.rename_dataset(name)
        expect(card).to_contain_text(f" {shown};")
        sizes = card.locator(".note").evaluate("note => [note.scrollWidth, note.clientWidth]")
        assert sizes[0] <= sizes[1]


def test_a_lost_service_is_said_and_found_again(page: Page, site: Site) -> None:
    expect(page.locator("#health")).to_have_text(re.compile("idle|proving"))
    site.server.stop()
    expect(page.locator("#health")).to_contain_text("queue cannot be reached")
    site.server.start()
    expect(page.locator("#health")).to_have_text(re.compile("idle|proving"))


def test_the_chain_is_shown_as_it_grows(browser: Browser, site: Site) -> None:
    history = ChainHistory(LAB.genesis)
    state = grow(history, start(LAB.genesis), Phase.MASK)
    with serve(site.service, history) as url:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto(url)
        expect(page.locator("#blocks tr")).to_have_count(history.height)
        leader = LAB.client(0).hex()[:8]
        expect(page.locator("#leader")).to_contain_text(leader)
        expect(page.locator("#leader")).to_contain_text("16 of 16 proven")
        expect(page.locator("#accuracy circle")).to_have_count(3)
        grow(history, state, Phase.BEACON)
        expect(page.locator("#blocks tr")).to_have_count(history.height)
        expect(page.locator("#leader")).to_contain_text("beacon")
        expect(page.locator("#clients tr").nth(1)).to_contain_text("15/16, none")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.close()


def test_who_was_refused_is_shown_as_that(browser: Browser, site: Site) -> None:
    history = ChainHistory(LAB.genesis)
    state = grow(history, start(LAB.genesis), Phase.PROVE)
    block = LAB.block(state, [LAB.prove(0, state), Refusal(proof=LAB.prove(1, state))])
    history.append(certify(block), apply(state, block))
    with serve(site.service, history) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("#clients tr").nth(0)).to_contain_text("16/16")
        expect(page.locator("#clients tr").nth(1)).to_contain_text("refused")
        expect(page.locator("#blocks tr").nth(0)).to_contain_text("1 proof, 1 refusal")
        page.close()


def test_a_service_without_a_chain_shows_none(page: Page) -> None:
    expect(page.locator("#health")).to_have_text(re.compile("idle|proving"))
    expect(page.locator("#chain")).to_be_hidden()


def _count_colours(png: bytes) -> int:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    return len(colours or [])
