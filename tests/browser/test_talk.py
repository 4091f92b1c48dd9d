"""Talk mode in a real browser: by keyboard alone, readable from the back, and with the network gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from aad.spaces import SPACES
from interface import talk
from tests.browser.visits import PATIENCE, Visit, rest, upload
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

WITHOUT_FULL_SCREEN = "() => { Element.prototype.requestFullscreen = () => Promise.reject(new TypeError('refused')); }"


def enter(page: Page) -> None:
    page.keyboard.press("f")
    page.wait_for_selector(".talk[data-ready]", timeout=PATIENCE)


def step_of(page: Page) -> str:
    return page.locator(".talk").get_attribute("data-step") or ""


def kind_of(page: Page) -> str:
    return page.locator(".talk-stage").get_attribute("data-kind") or ""


def walk_to(page: Page, kind: str) -> None:
    for _ in range(30):
        if kind_of(page) == kind:
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"no step of kind {kind}")


def test_whole_story_goes_by_keyboard_with_the_network_gone(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    told = talk.story(attributor)["steps"]
    enter(page)
    visit.context.set_offline(True)
    page.route("**/*", lambda route: route.abort())
    asked = len([url for url in visit.requests if not url.startswith("data:")])
    seen = []
    for _ in range(40):
        if not seen or seen[-1] != step_of(page):
            seen.append(step_of(page))
        expect(page.locator(".talk-title")).to_have_text(told[int(step_of(page)) - 1]["title"])
        pictures = page.locator(".talk-stage img")
        for i in range(pictures.count()):
            assert pictures.nth(i).evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert page.evaluate("document.querySelector('.talk').scrollHeight <= innerHeight + 1"), (
            "a slide does not scroll"
        )
        if step_of(page) == str(len(told)):
            break
        page.keyboard.press("ArrowRight")
    assert seen == [str(i + 1) for i in range(len(told))]
    page.keyboard.press("ArrowRight")
    assert step_of(page) == str(len(told)), "the last step stays"
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert step_of(page) == "1"
    assert len([url for url in visit.requests if not url.startswith("data:")]) == asked, "nothing was fetched"
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    assert page.evaluate("window.attributionPage.state.talk") is False


def test_source_is_hidden_until_the_last_space(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    case = talk.story(attributor)["cases"]["turn"]
    title = attributor.references[case["query"]["truth"][0]].title
    enter(page)
    walk_to(page, "wall")
    expect(page.locator(".talk-hidden")).to_have_text("?")
    assert page.locator(".talk-wall img").count() == talk.N_WALL
    assert page.locator(f".talk-wall img[alt='{title}']").count() == 1
    for i, space in enumerate(SPACES):
        page.keyboard.press("ArrowRight")
        assert page.locator(".talk-column:not(.is-closed)").count() == i + 1
        rank = attributor.true_ranks(case["query"]["id"])[space][0]
        column = page.locator(f".talk-column[data-space={space}]")
        expect(column.locator(".talk-standing")).to_have_text(f"True source: rank {rank}")
        assert (page.locator(".talk-hidden").count() == 0) == (i == 2)
        assert (page.locator(".talk .is-truth").count() > 0) == (i == 2)


def test_numbers_show_one_space_and_then_all_again(visit: Visit) -> None:
    page = visit.page
    enter(page)
    walk_to(page, "case")
    for i, space in enumerate(SPACES):
        page.keyboard.press(str(i + 1))
        assert page.locator(".talk-column").count() == 1
        expect(page.locator(".talk-column")).to_have_attribute("data-space", str(space))
        page.keyboard.press(str(i + 1))
        assert page.locator(".talk-column").count() == len(SPACES)


def test_map_travels_before_the_step_goes_on(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    enter(page)
    walk_to(page, "maps")
    step = step_of(page)
    drawn = [page.evaluate("document.querySelector('.talk-map').toDataURL()")]
    names = [page.locator(".talk-maps li[aria-current=true]").get_attribute("data-space")]
    for _ in range(2):
        page.keyboard.press("PageDown")
        assert step_of(page) == step
        drawn.append(page.evaluate("document.querySelector('.talk-map').toDataURL()"))
        names.append(page.locator(".talk-maps li[aria-current=true]").get_attribute("data-space"))
    assert names == [str(space) for space in SPACES] and len(set(drawn)) == 3
    page.keyboard.press("1")
    assert page.evaluate("document.querySelector('.talk-map').toDataURL()") == drawn[0]
    page.keyboard.press("3")
    page.keyboard.press("PageDown")
    assert step_of(page) != step


def test_map_moves_smoothly_where_motion_is_welcome(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(reduced_motion="no-preference")
    enter(page)
    walk_to(page, "maps")
    page.keyboard.press("ArrowRight")
    between = page.evaluate("document.querySelector('.talk-map').toDataURL()")
    expect(page.locator(".talk-maps li[data-space=aligned]")).to_have_attribute(
        "aria-current", "true", timeout=PATIENCE
    )
    page.wait_for_function("was => document.querySelector('.talk-map').toDataURL() !== was", arg=between)


def test_notes_and_keys_show_when_asked(visit: Visit) -> None:
    page = visit.page
    enter(page)
    for key, part in (("n", ".talk-notes"), ("?", ".talk-keys"), ("h", ".talk-keys")):
        before = page.locator(part).is_visible()
        page.keyboard.press(key)
        assert page.locator(part).is_visible() != before
    assert page.locator(".talk-notes").inner_text()


def test_keys_of_a_talk_are_not_the_pages_and_typing_is_not_talking(visit: Visit) -> None:
    page = visit.page
    before = page.url
    enter(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    assert page.url == before and page.evaluate("document.activeElement.textContent") == "Talk"
    page.get_by_role("button", name="Take away").click()
    page.keyboard.press("f")
    expect(page.locator(".talk")).to_be_hidden()
    page.keyboard.press("Escape")
    page.locator(".filter-open").first.click()
    page.locator(".filter-panel:not([hidden]) input[type=search]").fill("x")
    page.keyboard.press("f")
    expect(page.locator(".talk")).to_be_hidden()


def test_button_enters_full_screen_and_the_arrow_buttons_walk(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Talk", exact=True).click()
    page.wait_for_selector(".talk[data-ready]", timeout=PATIENCE)
    page.wait_for_function("document.fullscreenElement !== null", timeout=PATIENCE)
    page.get_by_role("button", name="Next step").click()
    assert step_of(page) == "2"
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null", timeout=PATIENCE)
    expect(page.locator(".talk")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    expect(page.locator(".talk")).to_be_hidden()


def test_window_is_filled_where_full_screen_is_refused(visit: Visit) -> None:
    page = visit.page
    page.evaluate(WITHOUT_FULL_SCREEN)
    enter(page)
    box = page.locator(".talk").bounding_box()
    assert box and (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1280, 800)


def test_end_of_full_screen_by_escape_ends_the_talk_and_it_can_be_entered_again(visit: Visit) -> None:
    page = visit.page
    for _ in range(2):
        enter(page)
        page.wait_for_function("document.fullscreenElement !== null", timeout=PATIENCE)
        page.evaluate("() => { document.exitFullscreen(); }")  # as the browser does on Escape
        expect(page.locator(".talk")).to_be_hidden()


def test_case_opens_in_the_page(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    query_id = talk.story(attributor)["cases"]["turn"]["query"]["id"]
    enter(page)
    walk_to(page, "wall")
    page.get_by_role("button", name="Open in the page").click()
    expect(page.locator(".talk")).to_be_hidden()
    page.wait_for_function("id => window.attributionPage.state.answer?.query.id === id", arg=query_id, timeout=PATIENCE)


def test_picture_given_while_talking_is_shown_to_the_room(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    Image.new("RGB", (60, 40), (200, 80, 40)).save(tmp_path / "mine.png")
    enter(page)
    page.keyboard.press("ArrowRight")
    upload(page, tmp_path / "mine.png")
    expect(page.locator(".talk-title")).to_have_text("A picture from the room", timeout=PATIENCE)
    assert page.locator(".talk-column:not(.is-closed)").count() == len(SPACES)
    assert page.locator(".talk-asked img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("ArrowRight")
    assert step_of(page) == "2", "back to where the story was"


def test_server_that_is_gone_is_told_and_can_be_left(visit: Visit) -> None:
    page = visit.page
    page.route("**/component_server**", lambda route: route.abort())
    page.keyboard.press("f")
    expect(page.locator(".talk-title")).to_have_text("The story did not arrive", timeout=PATIENCE)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    page.unroute("**/component_server**")
    enter(page)
    visit.complaints[:] = [line for line in visit.complaints if "ERR_FAILED" not in line]


SIZES = ((1920, 1080, 28), (1280, 720, 18), (1024, 768, 15), (390, 844, 15))  # of a window, and of its smallest type


def test_type_reads_from_the_back_and_every_slide_fits(browser: Browser, address: str) -> None:
    visit = Visit(browser, f"{address}?__theme=dark", reduced_motion="reduce")
    page = visit.page
    page.evaluate(WITHOUT_FULL_SCREEN)  # which would have the size of the screen
    enter(page)
    last = page.locator(".talk-count").inner_text().partition("/")[2].strip()
    small = """least => [...document.querySelectorAll('.talk > header *, .talk-stage *')].filter(one => one.offsetParent
        && [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
        && parseFloat(getComputedStyle(one).fontSize) < least).map(one => one.className + ': ' + one.textContent)"""
    fits = """() => [...document.querySelectorAll('.talk-stage img, .talk-stage canvas, .talk-stage p')].every(one => {
        const box = one.getBoundingClientRect();
        return !box.width || (box.left >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1); })"""
    for _ in range(30):
        for width, height, least in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            rest(page)
            assert page.evaluate(small, least) == []
            assert page.evaluate(fits), f"step {step_of(page)} at {width} x {height}"
        if step_of(page) == last:
            break
        page.keyboard.press("ArrowRight")
    assert not visit.complaints, visit.complaints
    visit.context.close()
