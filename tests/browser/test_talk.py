"""Talk mode in a real browser: by keyboard alone, readable from the back, and with the network gone."""

from pathlib import Path

from playwright.sync_api import Page, expect

from aad.spaces import SPACES
from interface.talk import N_WALL, story
from tests.browser.visits import ANSWERED, Visit, options, panel, picture, rest, talk, upload
from tests.fakes import FakeAttributor

MAP = "document.querySelector('.talk .plot canvas').toDataURL()"


def step_of(page: Page) -> str:
    return page.locator(".talk").get_attribute("data-step") or ""


def walk_to(page: Page, kind: str) -> None:
    for _ in range(30):
        if page.locator(".talk-stage").get_attribute("data-kind") == kind:
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"no step of kind {kind}")


SMALL = """least => [...document.querySelectorAll('.talk > header *, .talk-stage *')].filter(one => one.offsetParent
    && [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
    && parseFloat(getComputedStyle(one).fontSize) < least).map(one => one.className + ': ' + one.textContent)"""
FITS = """() => [...document.querySelectorAll('.talk-stage img, .talk-stage canvas, .talk-stage p')].every(one => {
    const box = one.getBoundingClientRect();
    return !box.width || (box.left >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1); })"""


def test_whole_story_goes_by_keyboard_with_the_network_gone_and_fits_every_window(
    visit: Visit, attributor: FakeAttributor
) -> None:
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("() => { Element.prototype.requestFullscreen = () => Promise.reject(new TypeError('refused')); }")
    steps = story(attributor)["steps"]
    talk(page)
    visit.context.set_offline(True)
    page.route("**/*", lambda route: route.abort())
    asked = len([url for url in visit.requests if not url.startswith("data:")])
    seen = []
    for _ in range(40):
        if not seen or seen[-1] != step_of(page):
            seen.append(step_of(page))
        expect(page.locator(".talk-title")).to_have_text(steps[int(step_of(page)) - 1]["title"])
        pictures = page.locator(".talk-stage img").evaluate_all(
            "all => Promise.all(all.map(image => image.decode().then(() => image.naturalWidth)))"
        )
        assert all(pictures)
        assert page.evaluate("document.querySelector('.talk').scrollHeight <= innerHeight + 1"), "no slide scrolls"
        if step_of(page) == str(len(steps)):
            break
        page.keyboard.press("ArrowRight")
    assert seen == [str(i + 1) for i in range(len(steps))]
    page.keyboard.press("ArrowRight")
    assert step_of(page) == str(len(steps)), "the last step stays"
    assert len([url for url in visit.requests if not url.startswith("data:")]) == asked, "nothing was fetched"
    page.unroute_all()  # in another window the page behind has other pictures
    visit.context.set_offline(False)
    for step in reversed(seen):
        assert step_of(page) == step
        for width, height, least in ((1920, 1080, 28), (390, 844, 15), (1280, 720, 18)):  # of the window and its type
            page.set_viewport_size({"width": width, "height": height})
            rest(page)
            assert page.locator(".talk").bounding_box() == {"x": 0, "y": 0, "width": width, "height": height}
            assert page.evaluate(SMALL, least) == [], "it reads from the back"
            assert page.evaluate(FITS), f"step {step} at {width} x {height}"
        page.keyboard.press("ArrowLeft")
    assert step_of(page) == "1"
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    assert page.evaluate("window.attributionPage.state.talk") is False


def test_source_is_hidden_until_the_last_space(page: Page, attributor: FakeAttributor) -> None:
    case = story(attributor)["cases"]["turn"]
    title = attributor.references[case["query"]["truth"][0]].title
    talk(page)
    walk_to(page, "wall")
    expect(page.locator(".talk-hidden")).to_have_text("?")
    assert page.locator(".talk-wall img").count() == N_WALL
    assert page.locator(f".talk-wall img[alt='{title}']").count() == 1
    for i, space in enumerate(SPACES):
        page.keyboard.press("ArrowRight")
        assert page.locator(".talk-column:not(.is-closed)").count() == i + 1
        rank = attributor.true_ranks(case["query"]["id"])[space][0]
        column = page.locator(f".talk-column[data-space={space}]")
        expect(column.locator(".talk-standing")).to_have_text(f"True source: rank {rank}")
        expect(page.locator(".talk-title")).to_contain_text("stands first" if rank == 1 else f"number {rank}")
        assert (page.locator(".talk-hidden").count() == 0) == (i == 2)
        assert (page.locator(".talk .is-truth").count() > 0) == (i == 2)
    page.get_by_role("button", name="Open in the page").click()
    expect(page.locator(".talk")).to_be_hidden()
    page.wait_for_function(ANSWERED, arg=case["query"]["id"])


def test_map_travels_before_the_step_goes_on(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    talk(page)
    walk_to(page, "maps")
    step, shown = step_of(page), page.locator(".talk .stop[aria-current=true]")
    drawn, names = [], []
    for _ in SPACES:
        rest(page)
        drawn.append(page.evaluate(MAP))
        names.append(shown.get_attribute("data-space"))
        assert step_of(page) == step
        if len(names) < len(SPACES):
            page.keyboard.press("PageDown")
    assert names == [str(space) for space in SPACES] and len(set(drawn)) == 3
    page.keyboard.press("1")
    rest(page)
    assert page.evaluate(MAP) == drawn[0]
    page.emulate_media(reduced_motion="no-preference")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".talk .stop[data-space=aligned]")).to_have_attribute("aria-current", "true")
    page.keyboard.press("3")
    page.keyboard.press("PageDown")
    assert step_of(page) != step


def test_notes_have_a_window_of_their_own_and_keys_of_a_talk_are_not_the_pages_and_typing_is_not_talking(
    page: Page,
) -> None:
    before = page.url
    talk(page)
    with page.expect_popup() as opened:
        page.keyboard.press("n")
    notes = opened.value.locator("p").first
    told = notes.inner_text()
    page.keyboard.press("ArrowRight")
    expect(notes).not_to_have_text(told)
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    assert opened.value.is_closed()
    assert page.url == before and page.evaluate("document.activeElement.textContent") == "Present"
    panel(page)
    page.keyboard.press("f")
    expect(page.locator(".talk")).to_be_hidden()
    page.keyboard.press("Escape")
    options(page).locator(".filter > summary").first.click()
    page.locator(".filter[open] input[type=search]").fill("x")
    page.keyboard.press("f")
    expect(page.locator(".talk")).to_be_hidden()


def test_full_screen_by_the_button_and_its_end_by_escape_ends_the_talk(page: Page) -> None:
    for _ in range(2):
        page.get_by_role("button", name="Present", exact=True).click()
        page.wait_for_selector(".talk[data-ready]")
        page.wait_for_function("document.fullscreenElement !== null")
        # as the browser does on Escape; in the next frame, when the page has heard that it fills the screen
        page.evaluate("() => new Promise(requestAnimationFrame).then(() => { document.exitFullscreen(); })")
        expect(page.locator(".talk")).to_be_hidden()
    talk(page)
    page.wait_for_function("document.fullscreenElement !== null")
    page.get_by_role("button", name="Next step (right arrow)").click()
    assert step_of(page) == "2"
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")
    expect(page.locator(".talk")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    expect(page.locator(".talk")).to_be_hidden()


def test_picture_given_while_talking_is_shown_to_the_room(page: Page, tmp_path: Path) -> None:
    talk(page)
    page.keyboard.press("ArrowRight")
    upload(page, picture(tmp_path / "mine.png"))
    expect(page.locator(".talk-title")).to_have_text("A picture from the room")
    assert page.locator(".talk-column:not(.is-closed)").count() == len(SPACES)
    assert page.locator(".talk-asked img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("ArrowRight")
    assert step_of(page) == "2", "back to where the story was"


# In the page itself: where the browser was to intercept the request, it was seen to let it through.
GONE = """() => { const { fetch } = window;
    window.fetch = (to, ...more) => String(to?.url ?? to).includes("component_server")
        ? Promise.reject(new TypeError("the server is gone")) : fetch(to, ...more);
    window.comeBack = () => { window.fetch = fetch; }; }"""


def test_server_that_is_gone_is_told_and_can_be_left(visit: Visit) -> None:
    page = visit.page
    page.evaluate(GONE)
    page.keyboard.press("f")
    expect(page.locator(".talk-title")).to_have_text("The story did not arrive")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_be_hidden()
    page.evaluate("window.comeBack()")
    talk(page)
