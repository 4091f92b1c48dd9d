"""Explain a match in a real browser: ask, point, walk, switch the space, and what is said when it cannot be done."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from aad.spaces import SPACES
from interface import explain
from interface.heat import ExplanationError
from tests.browser.visits import Visit, ask, ask_own, choose_k, rest
from tests.fakes import FakeAttributor

LAST = SPACES[-1]


def body(page: Page) -> Locator:
    return page.locator(".explain-body")


def explained(page: Page, reference_id: int) -> None:
    page.evaluate("id => { window.attributionPage.explainMatch(id, {scroll: false}) }", reference_id)
    expect(body(page)).to_have_attribute("data-state", "shown")


def cells(page: Page, side: str) -> Locator:
    return page.locator(f".heat-pane[data-of={side}] [role=gridcell]")


@pytest.fixture
def found(page: Page, attributor: FakeAttributor) -> Any:
    """What is shown of match 7, the page explaining it."""
    explained(page, 7)
    return attributor.explain(attributor.examples[0], 7)


def assert_warmest(page: Page, found: Any) -> None:
    """The heat shown of the query is warmest where it was found so, and by as much."""
    label = cells(page, "query").nth(int(found.heat_query.argmax())).get_attribute("aria-label") or ""
    assert label.endswith(f"adds {found.heat_query.max():.4f}")


def test_a_match_is_answered_with_a_heat_of_49_squares_on_each_picture(page: Page, attributor: FakeAttributor) -> None:
    expect(body(page)).to_be_hidden()
    offered = page.locator(".explain-offer button")
    chosen = int(offered.get_attribute("data-explain") or -1)
    assert chosen == page.evaluate("window.attributionPage.state.answer.verdict.about")
    offered.click()
    expect(body(page)).to_have_attribute("data-state", "shown")
    expect(page.locator(".explain-body h3")).to_have_text(attributor.references[chosen].title)
    found = attributor.explain(attributor.examples[0], chosen)[LAST]
    for side, heat in (("query", found.heat_query), ("reference", found.heat_reference)):
        expect(cells(page, side)).to_have_count(49)
        warmest = cells(page, side).nth(int(heat.argmax()))
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        label = warmest.get_attribute("aria-label") or ""
        assert label.endswith(f"row {row + 1}, column {column + 1} adds {heat.max():.4f}")
        expect(warmest.locator(".cell-label")).to_have_text("1")
        place = f"{label.partition(',')[0].lower()} of the {'picture' if side == 'query' else 'match'}"
        expect(page.locator(".explain-sentence")).to_contain_text(place)
    expect(page.locator(".limits")).to_contain_text("regions; each sees more of the picture than its square")
    expect(page.locator(".limits")).to_contain_text("not the generator")


def test_a_match_is_explained_from_its_card_until_another_question_is_asked(page: Page) -> None:
    match = page.locator(".lane[data-space=aligned] .hit").nth(2)
    reference_id = match.get_attribute("data-ref")
    match.click()
    page.get_by_role("button", name="Explain this match").click()
    expect(body(page)).to_have_attribute("data-state", "shown")
    assert page.evaluate("window.attributionPage.linkHere()").endswith(f"explain={reference_id}.{LAST}")
    choose_k(page, 5)
    expect(body(page)).to_be_visible()
    ask(page, 3)
    expect(body(page)).to_be_hidden()
    expect(page.locator(".explain-offer button")).to_be_visible()
    assert "explain" not in page.evaluate("window.attributionPage.linkHere()")


def test_both_pictures_share_one_scale_and_sign_shows_in_colour_and_in_stripes(page: Page, found: Any) -> None:
    found = found[LAST]
    scale = max(np.abs(found.heat_query).max(), np.abs(found.heat_reference).max())
    page.locator(".all-numbers summary").click()
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


def test_squares_tile_the_picture_as_they_are(page: Page) -> None:
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


def test_pointer_and_arrow_keys_on_a_region_say_what_it_adds_and_another_space_is_another_heat(
    page: Page, desk: Visit, found: Any
) -> None:
    spaces, found, asked = found, found[LAST], len(desk.requests)
    cells(page, "query").nth(int(found.heat_query.argmax())).hover()
    readout = page.locator(".heat-pane[data-of=query] .readout")
    expect(readout).to_contain_text(f"adds {found.heat_query.max():.4f}")
    expect(readout).to_contain_text(f"instead of {found.similarity:.4f}")
    cells(page, "reference").nth(int(found.heat_reference.argmin())).hover()
    expect(cells(page, "reference").nth(int(found.heat_reference.argmin()))).to_have_class("cell is-active")
    expect(page.locator(".heat-pane[data-of=reference] .readout")).to_contain_text("away")
    assert page.locator(".heat-pane[data-of=query] [role=gridcell][tabindex='0']").count() == 1
    cells(page, "query").first.focus()
    expect(readout).to_contain_text("row 1, column 1")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(readout).to_contain_text("row 1, column 2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.heat-pane')?.dataset.of") == "reference"
    expect(readout).to_contain_text("Point at a region")
    switch = page.get_by_role("group", name="Choose a space").locator("button[data-space=aligned]:visible")
    switch.focus()
    page.keyboard.press("Enter")
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.activeElement.dataset.space") == "aligned", "the focus stays on the switch"
    assert_warmest(page, spaces["aligned"])
    assert len(desk.requests) == asked, "none of it asks the server"
    assert "explain=7.aligned" in page.evaluate("window.attributionPage.linkHere()")


def test_a_fault_is_told_and_can_be_tried_again(page: Page, monkeypatch: Any) -> None:
    def fault(*_: Any) -> None:
        raise ExplanationError("the cat is on the keyboard")

    with monkeypatch.context() as patch:
        patch.setattr(explain, "packed", fault)
        page.locator(".explain-offer button").click()
        expect(body(page)).to_have_attribute("data-state", "error")
        expect(page.locator(".explain-invite")).to_contain_text("The cat is on the keyboard")
        assert page.locator(".cover .heat").count() == 0
    page.locator(".explain-invite .primary", has_text="Try again").click()
    expect(body(page)).to_have_attribute("data-state", "shown")


def test_a_late_answer_is_dropped_and_waiting_is_told(
    visit: Visit, attributor: FakeAttributor, monkeypatch: Any
) -> None:
    page, pack, gates = visit.page, explain.packed, [threading.Event(), threading.Event()]
    held = iter(gates)
    monkeypatch.setattr(explain, "packed", lambda found: next(held).wait(20) and pack(found))
    page.evaluate("window.attributionPage.explainMatch(7) && null")
    expect(page.locator(".explain-sentence")).to_contain_text("first time takes some seconds")
    expect(body(page)).to_have_attribute("aria-busy", "true")
    places = (
        "() => [...document.querySelectorAll('.heat-pane')].map(one => Math.round(one.getBoundingClientRect().left))"
    )
    waiting = page.evaluate(places)
    page.evaluate("window.attributionPage.explainMatch(20, {scroll: false}) && null")
    with page.expect_response("**/component_server**"):
        gates[0].set()
    rest(page)
    expect(body(page)).to_have_attribute("data-state", "busy")
    gates[1].set()
    expect(body(page)).to_have_attribute("data-state", "shown")
    rest(page)
    assert page.evaluate(places) == waiting, "waiting moves nothing"
    expect(page.locator(".explain-body h3")).to_have_text(attributor.references[20].title)
    assert_warmest(page, attributor.explain(attributor.examples[0], 20)[LAST])


def test_an_upload_and_a_picture_searched_again_are_explained(page: Page, tmp_path: Path, monkeypatch: Any) -> None:
    seen, ask = list[Any](), explain.asked
    monkeypatch.setattr(explain, "asked", lambda *given: seen.append(ask(*given)) or seen[-1])
    mine = ask_own(page, tmp_path / "mine, 50 %.png")
    explained(page, 5)
    assert isinstance(seen[-1][0], Path) and seen[-1][0].read_bytes() == mine.read_bytes()
    page.evaluate("window.attributionPage.askReference(9)")
    expect(page.locator(".query-caption")).to_contain_text("A picture of the collection")
    explained(page, 5)
    assert seen[-1][0].reference_id == 9
    expect(page.locator(".heat-pane figcaption").first).to_have_text("The picture searched with")
