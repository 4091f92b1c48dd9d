"""The page in every window: nothing overflows, on a phone, a desk and a wall; and a phone is used with fingers.

Colour moves no box, so one theme stands for both.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import Visit, canvas_of, options, panel, rest, scrolls_sideways, show

PHONE: Any = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def pocket(browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, f"{address}?__theme=dark", **PHONE)
    yield visit
    visit.leave()


@pytest.fixture
def phone(pocket: Visit) -> Iterator[Page]:
    yield pocket.home()
    assert not scrolls_sideways(pocket.page)
    pocket.check()


def test_phone_comes_to_the_answer_with_the_query_on_top_and_three_pictures_abreast(phone: Page) -> None:
    phone.locator(".example").nth(2).tap()
    phone.wait_for_function("window.scrollY > 200")
    strip = phone.locator(".asked").bounding_box()
    boxes = [phone.locator(".lane").nth(i).locator(".hit .frame").first.bounding_box() for i in range(3)]
    assert strip and -1 <= strip["y"] <= 9
    assert len({box["y"] for box in boxes if box}) == 1 and max(box["y"] + box["height"] for box in boxes if box) < 844
    small = phone.evaluate("""() => [...document.querySelectorAll('#stage :is(button, summary), #nav nav > button')]
        .filter(e => e.checkVisibility() && !e.closest('#query-picture'))
        .filter(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 44)
        .map(e => `${e.className} ${e.textContent}`)""")
    assert not small
    phone.locator(".lane[data-space=disentangled] .hit").first.tap()
    expect(phone.get_by_role("dialog", name="Details of the chosen picture")).to_be_visible()


def test_fingers_pinch_and_lasso(phone: Page, pocket: Visit) -> None:
    canvas = phone.locator(canvas_of("backbone"))
    canvas.scroll_into_view_if_needed()
    rest(phone)
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = pocket.context.new_cdp_session(phone)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    phone.get_by_role("button", name="Lasso").tap()
    touch("touchStart", (x - 120, y - 120))
    for px, py in ((x + 120, y - 120), (x + 120, y + 120), (x - 120, y + 120), (x - 120, y - 100)):
        touch("touchMove", (px, py))
    touch("touchEnd")
    assert phone.evaluate("window.attributionPage.state.selection.size") > 10
    touch("touchStart", (x - 20, y), (x + 20, y))
    for reach in (40, 60, 80):
        touch("touchMove", (x - reach, y), (x + reach, y))
    touch("touchEnd")
    assert phone.evaluate("window.attributionPage.everyMap.all[0].camera.zoom") > 2


def test_phone_inspects_with_filters_folded_away_and_shows_all_of_why_it_works(phone: Page) -> None:
    show(phone, "Inspect")
    filters = phone.locator(".facets fieldset").first
    assert filters.is_hidden()
    phone.locator(".facets summary").tap()
    expect(filters).to_be_visible()
    for name in ("queries", "recall", "confusions", "hubs"):
        phone.locator(f".inspect-tabs [data-value={name}]").tap()
        phone.wait_for_selector(f"#inspect-panel-{name} :is(tbody tr, button)")
        assert not scrolls_sideways(phone), name
    show(phone, "Why it works")
    for summary in phone.locator("details.exhibit > summary").all():
        summary.tap()
    assert phone.locator("details.exhibit[open]").count() == 4


@pytest.mark.parametrize("width", [390, 1920])
def test_nothing_overflows_with_a_filter_a_reference_and_the_panel(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(
        """() => { const page = window.attributionPage;
        page.setFilter({ group: new Set(["birds", "tools", "food", "flowers"]) }); page.askReference(8); page.chooseK(30); }"""
    )
    page.wait_for_function("window.attributionPage.state.answer.k === 30")
    rest(page)
    assert not scrolls_sideways(page)
    fits(page, ".slopes-chart svg", width)
    options(page).locator(".filter > summary").first.click()
    fits(page, ".filter[open]", width)
    page.keyboard.press("Escape")
    panel(page)
    rest(page)
    assert fits(page, "dialog.takeaway", width) <= 901
    assert not scrolls_sideways(page)


def fits(page: Page, which: str, width: int) -> float:
    """It lies within the window from side to side; where it ends below."""
    box = page.locator(which).bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, (which, box)
    return box["y"] + box["height"]
