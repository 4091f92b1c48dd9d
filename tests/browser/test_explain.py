"""Explain a match in a real browser: ask, point, walk, fade, slide, switch the space, and what is said when it cannot be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from aad.explain import ExplanationError
from aad.spaces import SPACES
from interface import explain
from tests.browser.visits import PATIENCE, Visit, rest, upload
from tests.fakes import FakeAttributor

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # the server runs in this process, and its libraries warn of their own affairs
LAST = SPACES[-1]


def body(page: Page) -> Locator:
    return page.locator(".explain-body")


def explained(page: Page, reference_id: int) -> None:
    page.evaluate("id => { window.attributionPage.explainMatch(id, {scroll: false}) }", reference_id)
    expect(body(page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)


def cells(page: Page, side: str) -> Locator:
    return page.locator(f".heat-pane[data-of={side}] [role=gridcell]")


def test_a_match_is_offered_asked_about_and_answered_with_a_heat_of_49_squares_on_each_picture(
    visit: Visit, attributor: FakeAttributor
) -> None:
    page = visit.page
    expect(body(page)).to_be_hidden()
    candidates = page.locator(".candidate")
    assert 1 <= candidates.count() <= 4
    expect(page.locator(".explain-offer .flag")).to_have_count(1)
    chosen = int(candidates.first.get_attribute("data-explain") or -1)
    candidates.first.click()
    expect(body(page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)
    expect(page.locator(".explain-body h3")).to_have_text(attributor.references[chosen].title)
    found = attributor.explain(attributor.examples[0], chosen)[LAST]
    for side, heat in (("query", found.heat_query), ("reference", found.heat_reference)):
        expect(cells(page, side)).to_have_count(49)
        warmest = cells(page, side).nth(int(heat.argmax()))
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        label = warmest.get_attribute("aria-label") or ""
        assert label.endswith(f"row {row + 1}, column {column + 1} adds {heat.max():.4f}")
        expect(warmest.locator(".cell-label")).to_have_text("1")
    expect(page.locator(".limits")).to_contain_text("regions; each sees more of the picture than its square")
    expect(page.locator(".limits")).to_contain_text("not the generator")


def test_a_match_whose_details_were_opened_waits_to_be_asked_about(visit: Visit) -> None:
    page = visit.page
    match = page.locator(".lane[data-space=aligned] .match").nth(2)
    reference_id = match.get_attribute("data-ref")
    match.click()
    page.keyboard.press("Escape")
    asked = len(visit.requests)
    expect(body(page)).to_have_attribute("data-state", "idle")
    expect(page.locator(".both")).to_be_visible()
    assert not [url for url in visit.requests[asked:] if "component_server" in url]
    page.locator(".explain-invite .primary").click()
    expect(body(page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)
    assert page.evaluate("window.attributionPage.linkHere()").endswith(f"explain={reference_id}.{LAST}")


def test_both_pictures_share_one_scale_and_sign_shows_in_colour_and_in_stripes(
    visit: Visit, attributor: FakeAttributor
) -> None:
    page = visit.page
    explained(page, 7)
    found = attributor.explain(attributor.examples[0], 7)[LAST]
    scale = max(np.abs(found.heat_query).max(), np.abs(found.heat_reference).max())
    read = "all => all.map(cell => [cell.dataset.sign, Number(cell.style.getPropertyValue('--heat'))])"
    for side, heat in (("query", found.heat_query), ("reference", found.heat_reference)):
        painted = cells(page, side).evaluate_all(read)
        assert [share for _, share in painted] == pytest.approx((np.abs(heat) / scale).ravel().tolist(), abs=0.01)
        signs = ["against" if round(value, 5) < 0 else "for" for value in heat.ravel().tolist()]
        assert [sign for sign, _ in painted] == signs and set(signs) == {"for", "against"}
    look = "cell => getComputedStyle(cell, '::before').backgroundImage"
    assert page.locator(".cover .cell[data-sign=for]").first.evaluate(look) == "none"
    assert "repeating-linear-gradient" in page.locator(".cover .cell[data-sign=against]").first.evaluate(look)
    expect(page.locator(".ends")).to_contain_text(f"for +{scale:.4f}")


def test_squares_tile_the_picture_as_they_are(visit: Visit) -> None:
    page = visit.page
    explained(page, 1)  # taller than wide
    tile = """pane => { const image = pane.querySelector('img').getBoundingClientRect();
        const boxes = [...pane.querySelectorAll('[role=gridcell]')].map(cell => cell.getBoundingClientRect());
        const area = boxes.reduce((sum, box) => sum + box.width * box.height, 0) / (image.width * image.height);
        return [area, boxes[0].left - image.left, image.right - boxes[48].right, image.width / image.height,
            boxes[0].width / boxes[0].height]; }"""
    area, left, right, ratio, cell_ratio = page.locator(".heat-pane[data-of=reference]").evaluate(tile)
    assert area == pytest.approx(1, abs=0.01) and abs(left) < 1 and abs(right) < 1
    assert ratio == pytest.approx(240 / 320, abs=0.01) and cell_ratio == pytest.approx(ratio, abs=0.02)
    assert page.locator("#explain canvas").count() == 0


def test_pointing_at_a_region_says_what_it_adds_and_lights_its_row(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    explained(page, 7)
    found = attributor.explain(attributor.examples[0], 7)[LAST]
    warmest = int(found.heat_query.argmax())
    asked = len(visit.requests)
    cells(page, "query").nth(warmest).hover()
    readout = page.locator(".heat-pane[data-of=query] .readout")
    expect(readout).to_contain_text(f"adds {found.heat_query.max():.4f}")
    expect(readout).to_contain_text(f"instead of {found.similarity:.4f}")
    row = page.locator(".strongest").first.locator("tbody tr").first
    expect(row).to_have_class("is-active")
    expect(row).to_contain_text(f"+{found.heat_query.max():.4f}")
    coldest = page.locator(".strongest").last.locator("tr[data-sign=against]").first
    coldest.hover()
    expect(cells(page, "reference").nth(int(found.heat_reference.argmin()))).to_have_class("cell is-active")
    expect(page.locator(".heat-pane[data-of=reference] .readout")).to_contain_text("away")
    assert len(visit.requests) == asked, "pointing asks nobody"


def test_arrow_keys_walk_the_regions_and_tab_leaves_them(visit: Visit) -> None:
    page = visit.page
    explained(page, 7)
    assert page.locator(".heat-pane[data-of=query] [role=gridcell][tabindex='0']").count() == 1
    cells(page, "query").first.focus()
    readout = page.locator(".heat-pane[data-of=query] .readout")
    expect(readout).to_contain_text("row 1, column 1")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(readout).to_contain_text("row 1, column 2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.heat-pane')?.dataset.of") == "reference"
    expect(readout).to_contain_text("Point at a region")


def test_another_space_is_another_heat_without_the_server_and_the_link_leads_back(
    visit: Visit, attributor: FakeAttributor, browser: Browser
) -> None:
    page = visit.page
    explained(page, 7)
    asked = len(visit.requests)
    page.locator(".explain-spaces [data-space=aligned]").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".explain-spaces [data-space=aligned]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.activeElement.dataset.space") == "aligned", "the focus stays on the switch"
    found = attributor.explain(attributor.examples[0], 7)["aligned"]
    label = cells(page, "query").nth(int(found.heat_query.argmax())).get_attribute("aria-label") or ""
    assert label.endswith(f"adds {found.heat_query.max():.4f}")
    assert not [url for url in visit.requests[asked:] if "component_server" in url]
    link = page.evaluate("window.attributionPage.linkHere()")
    assert "explain=7.aligned" in link
    again = Visit(browser, link)
    expect(body(again.page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)
    expect(body(again.page)).to_have_attribute("data-space", "aligned")
    expect(again.page.locator(".explain-body h3")).to_have_text(attributor.references[7].title)
    again.context.close()


def test_the_heat_fades_to_the_picture(visit: Visit) -> None:
    page = visit.page
    explained(page, 7)
    ink = """() => { const opacity = cell => Number(getComputedStyle(cell, '::before').opacity);
        return [Math.max(...[...document.querySelectorAll('.cover .cell')].map(opacity)),
            getComputedStyle(document.querySelector('.cover img')).filter]; }"""
    assert page.evaluate(ink)[0] > 0.5
    page.locator(".fade input").focus()
    page.keyboard.press("Home")
    assert page.evaluate(ink) == [0, "grayscale(0)"]


def test_a_handle_slides_between_the_two_pictures(visit: Visit) -> None:
    page = visit.page
    explained(page, 7)
    view, layer = page.locator(".both .view"), page.locator(".both .layer.is-left")
    clip = "layer => getComputedStyle(layer).clipPath"
    page.locator(".both input").focus()
    page.keyboard.press("End")
    assert layer.evaluate(clip) in ("inset(0px)", "inset(0px 0% 0px 0px)"), layer.evaluate(clip)
    box = view.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    assert "75%" in layer.evaluate(clip)
    assert "25%" in (page.locator(".both input").get_attribute("aria-valuetext") or "")


def test_every_region_stands_in_a_table(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    explained(page, 7)
    page.locator(".all-numbers summary").click()
    found = attributor.explain(attributor.examples[0], 7)[LAST]
    for table, heat in zip(
        page.locator(".all-numbers table").all(), (found.heat_query, found.heat_reference), strict=True
    ):
        texts = table.locator("tbody td").all_inner_texts()
        values = [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]
        assert values == pytest.approx(heat.ravel().tolist(), abs=6e-5)


def test_a_fault_is_told_and_can_be_tried_again(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any) -> None:
        raise ExplanationError("the cat is on the keyboard")

    page = visit.page
    with monkeypatch.context() as patch:
        patch.setattr(explain, "packed", fault)
        page.locator(".candidate").first.click()
        expect(body(page)).to_have_attribute("data-state", "error", timeout=PATIENCE)
        expect(page.locator(".explain-invite")).to_contain_text("The cat is on the keyboard")
        assert page.locator(".heat-pane").first.is_hidden()
    page.locator(".explain-invite .primary", has_text="Try again").click()
    expect(body(page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)


def test_a_late_answer_about_another_match_is_dropped_and_waiting_is_told(
    visit: Visit, attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, pack = visit.page, explain.packed

    def slow(explanation: Any) -> Any:
        time.sleep(1)
        return pack(explanation)

    monkeypatch.setattr(explain, "packed", slow)
    page.evaluate("window.attributionPage.explainMatch(7) && null")
    expect(page.locator(".explain-status")).to_contain_text("first time takes some seconds")
    expect(body(page)).to_have_attribute("aria-busy", "true")
    places = "() => [...document.querySelectorAll('.both, .heat-pane')].map(one => Math.round(one.getBoundingClientRect().left))"
    waiting = page.evaluate(places)
    explained(page, 20)
    rest(page)
    assert page.evaluate(places) == waiting, "waiting moves nothing"
    expect(page.locator(".explain-body h3")).to_have_text(attributor.references[20].title)
    found = attributor.explain(attributor.examples[0], 20)[LAST]
    label = cells(page, "query").nth(int(found.heat_query.argmax())).get_attribute("aria-label") or ""
    assert label.endswith(f"adds {found.heat_query.max():.4f}")
    expect(page.locator(".explain-status")).to_have_text("")


def test_another_question_takes_the_explanation_away(visit: Visit) -> None:
    page = visit.page
    explained(page, 7)
    page.locator("#k-choice label").first.click()
    expect(page.locator(".lane").first.locator(".match")).to_have_count(5, timeout=PATIENCE)
    expect(body(page)).to_be_visible()
    page.locator(".example").nth(3).click()
    expect(body(page)).to_be_hidden(timeout=PATIENCE)
    expect(page.locator(".candidate").first).to_be_visible()
    assert "explain" not in page.evaluate("window.attributionPage.linkHere()")


def test_an_upload_and_a_picture_searched_again_are_explained(
    visit: Visit, attributor: FakeAttributor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    ask: Callable[..., Any] = explain.asked
    monkeypatch.setattr(explain, "asked", lambda *given: seen.append(ask(*given)) or seen[-1])
    page = visit.page
    Image.new("RGB", (300, 200), (200, 80, 40)).save(tmp_path / "mine, 50 %.png")
    upload(page, tmp_path / "mine, 50 %.png")
    expect(page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)
    explained(page, 5)
    assert isinstance(seen[-1][0], Path) and seen[-1][0].read_bytes() == (tmp_path / "mine, 50 %.png").read_bytes()
    page.evaluate("window.attributionPage.askReference(9)")
    expect(page.locator(".query-caption")).to_contain_text("A picture of the collection", timeout=PATIENCE)
    explained(page, 5)
    assert seen[-1][0] is attributor.references[9]
    expect(page.locator(".heat-pane figcaption").first).to_have_text("The picture searched with")


def test_where_it_is_not_available_the_reason_stands_instead(
    browser: Browser, serve: Callable[[FakeAttributor], str], tmp_path: Path
) -> None:
    class Plain(FakeAttributor):
        @property
        def explain(self) -> Any:  # type: ignore[override]
            raise AttributeError

    visit = Visit(browser, serve(Plain(tmp_path, n_per_group=2)))
    page = visit.page
    page.locator(".candidate").first.click()
    expect(body(page)).to_have_attribute("data-state", "absent")
    expect(page.locator(".explain-invite")).to_contain_text("does not pool its feature from a grid of regions")
    expect(page.locator(".both")).to_be_visible()
    assert page.locator(".explain-invite button").count() == 0
    assert not [asked for asked in visit.requests if "component_server" in asked]
    assert not visit.complaints, visit.complaints
    visit.context.close()


def test_phone_shows_it_without_sideways_scroll(browser: Browser, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    visit = Visit(browser, f"{address}?__theme=dark", **phone)
    page = visit.page
    page.locator(".candidate").first.tap()
    expect(body(page)).to_have_attribute("data-state", "shown", timeout=PATIENCE)
    cells(page, "reference").nth(24).tap()
    expect(page.locator(".heat-pane[data-of=reference] .readout")).to_contain_text("row 4, column 4")
    page.locator(".all-numbers summary").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not visit.complaints, visit.complaints
    visit.context.close()
