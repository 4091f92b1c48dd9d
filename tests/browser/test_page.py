"""The page in a real browser: what is asked is answered, in the right order, and every fault is told in words."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from interface import present
from interface.page import DEFAULT_K
from tests.browser.visits import ANSWERED, ask, ask_own, picture, upload
from tests.fakes import FakeAttributor

# How much is drawn on each map: pixels that are not empty.
INK = """[...document.querySelectorAll('.map .plot canvas')].filter(one => one.closest('.trio')).map(one =>
    one.getContext('2d').getImageData(0, 0, one.width, one.height).data.filter((part, i) => i % 4 === 3 && part).length)"""
# From now on, the address of the picture of every answer that is shown.
LISTEN = """() => { const { state } = window.attributionPage;
    let now = state.answer;
    const get = () => now, set = (answer) => { now = answer; window.answers.push(answer.query?.url); };
    Object.defineProperty(state, "answer", { get, set, configurable: true, enumerable: true });
    window.answers = []; }"""
SHOWN = """() => { const { answer, busy } = window.attributionPage.state;
    return !busy && document.querySelector("#query-picture img")?.src.endsWith(answer.query.url); }"""


class Held:
    """Answers, but the one that is held only after it is let go."""

    def __init__(self, answer: Callable[..., Any], is_held: Callable[[Any], bool]) -> None:
        self.answer, self.is_held = answer, is_held
        self.came, self.goes, self.gone = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, asked: Any, *more: Any, **named: Any) -> Any:
        if not self.is_held(asked):
            return self.answer(asked, *more, **named)
        self.came.set()
        assert self.goes.wait(20)
        found = self.answer(asked, *more, **named)
        self.gone.set()
        return found

    def let_go(self) -> None:
        self.goes.set()
        assert self.gone.wait(20)


def test_an_example_is_answered_in_three_columns_and_three_maps(page: Page, attributor: FakeAttributor) -> None:
    boxes = [page.locator(".lane").nth(i).bounding_box() for i in range(3)]
    assert page.locator(".lane").count() == 3 and len({round(box["y"]) for box in boxes if box}) == 1, "side by side"
    drawn = page.evaluate(INK)
    assert len(drawn) == 3 and min(drawn) > 500
    for query_id in (attributor.examples[0], attributor.examples[4]):
        example = page.get_by_role("group", name="Bundled examples").get_by_role("button").nth(query_id)
        example.click()
        expect(example).to_have_attribute("aria-pressed", "true")
        (truth,) = attributor.queries[query_id].exemplar_ids
        for space, ranks in attributor.true_ranks(query_id).items():
            lane = page.locator(f".lane[data-space={space}]")
            assert lane.locator(".match").count() == DEFAULT_K
            expect(lane).to_contain_text(str(space))
            expect(lane.locator(".rest")).to_contain_text("None of these")
            assert lane.locator(f".match[data-ref='{truth}'] .flag").count() == (ranks[0] <= DEFAULT_K)


def test_the_last_example_goes_the_way_of_an_upload_and_is_told_to_have_no_source_here(
    page: Page, tmp_path: Path
) -> None:
    absent = page.get_by_role("group", name="Bundled examples").get_by_role("button", name="Not here")
    absent.click()
    expect(page.locator(".query-caption")).to_have_text("An example whose source is not in the collection.")
    expect(absent).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".flag")).to_have_count(0)
    assert page.evaluate("window.attributionPage.state.answer.query.id") is None
    ask_own(page, tmp_path / "mine.png")
    expect(absent).to_have_attribute("aria-pressed", "false")


def test_a_sheet_of_four_is_noticed_and_each_of_its_pictures_can_be_asked(page: Page, tmp_path: Path) -> None:
    tiles = page.get_by_role("group", name="Pictures of this sheet")
    ask_own(page, tmp_path / "single.png")
    expect(tiles).to_be_hidden()
    sheet, noise = Image.new("RGB", (256, 256)), np.random.default_rng(0)
    for i, shade in enumerate((40, 200, 220, 60)):
        pixels = (shade + noise.integers(-20, 20, (128, 128, 3))).astype(np.uint8)
        sheet.paste(Image.fromarray(pixels), (i % 2 * 128, i // 2 * 128))
    sheet.save(tmp_path / "sheet.png")
    upload(page, tmp_path / "sheet.png")
    expect(tiles.get_by_role("button")).to_have_count(4)
    expect(page.locator(".query-caption")).to_have_text("Four pictures on one sheet? Choose the one to look up.")
    tiles.get_by_role("button", name="Picture 2").click()
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    expect(tiles).to_be_hidden()
    page.wait_for_function("document.querySelector('#query-picture img').naturalWidth === 128")  # the picture alone


def test_a_pasted_picture_is_answered_and_a_result_opens_its_details(page: Page, attributor: FakeAttributor) -> None:
    page.evaluate(
        """async url => { const blob = await (await fetch(url)).blob(); const transfer = new DataTransfer();
        transfer.items.add(new File([blob], 'pasted.webp', {type: 'image/webp'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true})); }""",
        present.file_url(attributor.queries[5].path),
    )
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    assert page.locator(".flag").count() == 0
    match = page.locator(".lane[data-space=aligned] .hit").nth(1)
    reference = attributor.references[int(match.get_attribute("data-ref") or -1)]
    match.click()
    panel = page.get_by_role("dialog", name="Details of the chosen picture")
    for words in (reference.title, reference.source, reference.licence):
        expect(panel).to_contain_text(words)
    shown = panel.get_by_role("img", name=reference.title)
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(match).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel).to_be_visible()


def test_no_picture_and_a_fault_of_the_server_are_told_in_words_and_the_page_goes_on_and_invites_again(
    page: Page, attributor: FakeAttributor, tmp_path: Path, monkeypatch: Any
) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret path /srv/x")

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name, content, words in (
        ("letter.txt", bytes(9), "picture file is needed"),
        ("big.bmp", bytes(20_000_001), "at most 20 MB"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "could not be read"),
    ):
        (tmp_path / name).write_bytes(content)
        assert not [url for url in asked if "/upload" in url], "what cannot be taken is never sent"
        upload(page, tmp_path / name)
        expect(page.locator("#answer .notice")).to_contain_text(words)
    with monkeypatch.context() as patch:
        patch.setattr(attributor, "attribute", fault)
        upload(page, picture(tmp_path / "mine.png"))
        expect(page.locator("#answer .notice")).to_contain_text("went wrong")
    assert "secret" not in page.content()
    expect(page.locator("#answer .slot")).not_to_have_attribute("data-busy", "")
    ask(page, 1)
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.locator("#answer .notice")).to_be_hidden()
    page.locator("#query-picture").get_by_role("button", name="Remove Image").click()
    expect(page.locator("#answer .notice")).to_contain_text("Drop or paste a synthetic picture")
    assert page.locator(".match").count() == 0


def test_picture_and_answer_belong_together_when_an_example_overtakes_an_upload(page: Page, tmp_path: Path) -> None:
    with page.expect_response(lambda reply: "/upload" in reply.url):
        upload(page, picture(tmp_path / "mine.png"))
        page.get_by_role("group", name="Bundled examples").get_by_role("button").nth(3).click()
    together = """() => document.querySelector("#answer .slot").dataset.busy === undefined &&
        document.querySelector("#query-picture img")?.src.endsWith(window.attributionPage.state.answer.query.url)"""
    for _ in range(2):  # and so it stays: what is still under way may change both, not one
        page.wait_for_function(together)
        page.wait_for_load_state("networkidle")
    assert page.evaluate(together)


def test_of_two_questions_or_pictures_in_a_row_the_last_is_answered(
    page: Page, attributor: FakeAttributor, tmp_path: Path, monkeypatch: Any
) -> None:
    query = Held(attributor.attribute_query, lambda query_id: query_id == 2)
    is_first = iter([True])
    image = Held(attributor.attribute, lambda _: next(is_first, False))
    monkeypatch.setattr(attributor, "attribute_query", query)
    monkeypatch.setattr(attributor, "attribute", image)
    page.evaluate(LISTEN)
    page.evaluate("() => { attributionPage.askQuery(2); attributionPage.askQuery(3); }")
    page.wait_for_function(ANSWERED, arg=3)
    page.wait_for_function(SHOWN)
    query.let_go()
    upload(page, picture(tmp_path / "first.png"))
    assert image.came.wait(20)
    upload(page, picture(tmp_path / "second.png"))
    page.wait_for_function("attributionPage.state.answer.query.url.endsWith('second.png')")
    page.wait_for_function(SHOWN)
    image.let_go()
    ask(page, 4)
    shown = [url.rpartition("/")[2] for url in page.evaluate("window.answers")]
    assert shown == ["query%203.webp", "second.png", "query%204.webp"]


def test_two_tabs_and_a_reload_are_visitors_of_their_own(
    page: Page, attributor: FakeAttributor, tmp_path: Path, monkeypatch: Any
) -> None:
    is_first = iter([True])
    image = Held(attributor.attribute, lambda _: next(is_first, False))
    monkeypatch.setattr(attributor, "attribute", image)
    other = page.context.new_page()
    caption = other.locator(".query-caption")
    other.goto(page.url)
    other.wait_for_selector(".map canvas", state="attached")
    upload(other, picture(tmp_path / "first.png"))
    assert image.came.wait(20)
    ask(page, 3)  # meanwhile
    other.reload()
    other.wait_for_selector(".map canvas", state="attached")
    image.let_go()
    first = caption.inner_text()
    other.get_by_role("group", name="Bundled examples").get_by_role("button").nth(2).click()
    expect(caption).not_to_have_text(first)
    asked = caption.inner_text()
    upload(page, picture(tmp_path / "second.png"))
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    other.goto("about:blank")
    other.go_back()
    expect(caption).to_have_text(asked)
    other.close()
