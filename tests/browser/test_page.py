"""The page in a real browser: what a visitor does, and that nothing leaves, breaks or overflows."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from aad.spaces import SPACES
from interface import present
from interface.page import DEFAULT_K
from tests.browser.visits import PATIENCE, Visit, ink, points_of, rest, upload
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_first_page_answers_an_example_in_three_columns_and_three_maps(visit: Visit) -> None:
    page = visit.page
    assert page.locator(".lane").count() == page.locator(".map .plot canvas").count() == 3
    for index, space in enumerate(SPACES):
        lane = page.locator(f".lane[data-space={space}]")
        assert lane.locator(".match").count() == DEFAULT_K
        expect(lane).to_contain_text(str(space))
        expect(lane.locator(".rest")).to_contain_text("None of these")
        expect(lane.locator(".truth")).to_contain_text("True source: rank")
        assert ink(page, index) > 500
    boxes = [page.locator(".lane").nth(i).bounding_box() for i in range(3)]
    assert len({round(box["y"]) for box in boxes if box}) == 1, "three columns stand side by side"


def test_upload_answers_and_result_opens_its_details(visit: Visit, attributor: FakeAttributor, tmp_path: Path) -> None:
    page = visit.page
    Image.new("RGB", (300, 200), (200, 80, 40)).save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    expect(page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)
    assert page.locator(".flag").count() == 0
    match = page.locator(".lane[data-space=aligned] .match").nth(1)
    reference = attributor.references[int(match.get_attribute("data-ref") or -1)]
    match.click()
    panel = page.locator(".details")
    for words in (reference.title, reference.source, reference.licence):
        expect(panel).to_contain_text(words)
    picture = panel.locator("figure img").last
    assert picture.get_attribute("alt") == reference.title
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert match.evaluate("element => element === document.activeElement"), "closing gives the focus back"


def test_enter_on_a_result_opens_its_details(visit: Visit) -> None:
    page = visit.page
    page.locator(".match").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".details")).to_be_visible()


def test_example_is_answered_and_marks_its_true_source(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    page.locator(".example").nth(4).click()
    expect(page.locator(".example").nth(4)).to_have_attribute("aria-pressed", "true", timeout=PATIENCE)
    (truth,) = attributor.queries[attributor.examples[4]].exemplar_ids
    ranks = attributor.true_ranks(attributor.examples[4])
    for space in SPACES:
        lane = page.locator(f".lane[data-space={space}]")
        expect(lane.locator(".truth")).to_have_text(f"True source: rank {ranks[space][0]}")
        flagged = lane.locator(f".match[data-ref='{truth}'] .flag")
        assert flagged.count() == (1 if ranks[space][0] <= DEFAULT_K else 0)


def test_k_changes_every_column(visit: Visit) -> None:
    visit.page.locator("#k-choice label", has_text=re.compile("^5$|^ ?5 ?$")).click()
    for space in SPACES:
        expect(visit.page.locator(f".lane[data-space={space}] .match")).to_have_count(5, timeout=PATIENCE)


def test_hovering_a_result_lights_it_everywhere_without_the_server(visit: Visit) -> None:
    page = visit.page
    first = page.locator(".lane[data-space=backbone] .match").first
    reference_id = first.get_attribute("data-ref")
    rest(page)
    asked = len(visit.requests)
    drawn = "[...document.querySelectorAll('.map .plot canvas')].map(canvas => canvas.toDataURL())"
    before = page.evaluate(drawn)
    first.hover()
    rest(page)
    linked = page.locator(".match.is-linked")
    assert {linked.nth(i).get_attribute("data-ref") for i in range(linked.count())} == {reference_id}
    assert page.evaluate("window.attributionPage.state.hover") == int(reference_id or -1)
    after = page.evaluate(drawn)
    assert all(old != new for old, new in zip(before, after, strict=True)), "each map draws a ring around it"
    assert len(visit.requests) == asked


def test_point_on_a_map_shows_a_tip_and_opens(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    canvas = page.locator(".map[data-space=disentangled] .plot canvas")
    canvas.scroll_into_view_if_needed()
    x, y = points_of(page, attributor, "disentangled", 40)
    canvas.hover(position={"x": x, "y": y})
    expect(page.locator(".map[data-space=disentangled] .tip")).to_be_visible()
    chosen = page.evaluate("window.attributionPage.state.hover")
    canvas.click(position={"x": x, "y": y})
    expect(page.locator(".details h2")).to_have_text(attributor.references[chosen].title)


def test_arrow_keys_walk_a_map(visit: Visit) -> None:
    page = visit.page
    canvas = page.locator(".map[data-space=aligned] .plot canvas")
    assert canvas.get_attribute("role") == "img"
    assert "aligned" in (canvas.get_attribute("aria-label") or "")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    start = page.evaluate("window.attributionPage.state.hover")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("window.attributionPage.state.hover") != start
    page.keyboard.press("Enter")
    expect(page.locator(".details")).to_be_visible()


def test_unreadable_file_is_refused_in_words_and_the_page_goes_on(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    upload(page, tmp_path / "broken.png")
    expect(page.locator(".notice")).to_contain_text("could not be read", timeout=PATIENCE)
    expect(page.locator("#answer .slot")).not_to_have_attribute("data-busy", "")
    page.locator(".example").nth(1).click()
    expect(page.locator(".match").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".notice")).to_be_hidden()


def test_files_that_are_never_sent_are_refused_in_words(visit: Visit, tmp_path: Path) -> None:
    for name, n_bytes, words in (("letter.txt", 9, "picture file is needed"), ("big.bmp", 20_000_001, "at most 20 MB")):
        (tmp_path / name).write_bytes(bytes(n_bytes))
        upload(visit.page, tmp_path / name)
        expect(visit.page.locator(".notice")).to_contain_text(words)
    assert not [url for url in visit.requests if "/upload" in url]


def test_picture_and_answer_belong_together_when_an_example_overtakes_an_upload(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    Image.new("RGB", (300, 200), (200, 80, 40)).save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    page.locator(".example").nth(3).click()
    page.wait_for_timeout(1500)
    shown = page.locator("#query-picture img").get_attribute("src") or "nothing"
    assert shown.endswith(page.evaluate("window.attributionPage.state.answer.query.url"))


def test_of_two_questions_in_a_row_the_last_is_answered(
    visit: Visit, attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, at_once = visit.page, attributor.attribute_query
    first, second = (query.query_id for query in attributor.queries[2:4])

    def slowly(query_id: int, *more: Any, **rest: Any) -> Any:
        time.sleep(1.0 if query_id == first else 0.0)
        return at_once(query_id, *more, **rest)

    monkeypatch.setattr(attributor, "attribute_query", slowly)
    page.evaluate("([a, b]) => { attributionPage.askQuery(a); attributionPage.askQuery(b); }", [first, second])
    for wait in (800, 1200):  # before the slower answer has come, and after
        page.wait_for_timeout(wait)
        assert page.evaluate("attributionPage.state.answer.query.id") == second
    assert (
        page.locator("#query-picture img").get_attribute("src").endswith(present.file_url(attributor.queries[3].path))
    )


def test_a_picture_chosen_while_another_is_looked_up_takes_its_place(
    visit: Visit, attributor: FakeAttributor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, at_once = visit.page, attributor.attribute

    def slowly(image: Any, *more: Any, **rest: Any) -> Any:
        time.sleep(1.5 if "first" in str(image) else 0.0)
        return at_once(image, *more, **rest)

    monkeypatch.setattr(attributor, "attribute", slowly)
    for name in ("first", "second"):
        Image.new("RGB", (300, 200), (200, 80, 40)).save(tmp_path / f"{name}.png")
        upload(page, tmp_path / f"{name}.png")
        page.wait_for_timeout(500)
    page.wait_for_function("attributionPage.state.answer.query.url.endsWith('second.png')")
    for wait in (0, 1500):  # before the slower answer has come, and after
        page.wait_for_timeout(wait)
        assert page.evaluate("attributionPage.state.answer.query.url").endswith("second.png")
        assert (page.locator("#query-picture img").get_attribute("src") or "").endswith("second.png")
    expect(page.locator("#answer .slot")).not_to_have_attribute("data-busy", "")


def test_a_fault_of_the_server_is_told_and_the_page_goes_on(
    visit: Visit, attributor: FakeAttributor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret path /srv/x")

    page = visit.page
    Image.new("RGB", (30, 20)).save(tmp_path / "mine.png")
    with monkeypatch.context() as patch:
        patch.setattr(attributor, "attribute", fault)
        upload(page, tmp_path / "mine.png")
        expect(page.locator(".notice")).to_contain_text("went wrong", timeout=PATIENCE)
    assert "secret" not in page.content()
    page.locator(".example").nth(2).click()
    expect(page.locator(".match").first).to_be_visible(timeout=PATIENCE)


def test_taking_the_picture_away_invites_again(visit: Visit) -> None:
    page = visit.page
    page.locator("#query-picture button[aria-label='Remove Image']").click()
    expect(page.locator(".notice")).to_be_visible(timeout=PATIENCE)
    assert page.locator(".match").count() == 0
    page.locator(".example").first.click()
    expect(page.locator(".match").first).to_be_visible(timeout=PATIENCE)


def test_pasted_picture_is_answered(visit: Visit, attributor: FakeAttributor) -> None:
    visit.page.evaluate(
        """async url => { const blob = await (await fetch(url)).blob(); const transfer = new DataTransfer();
        transfer.items.add(new File([blob], 'pasted.webp', {type: 'image/webp'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true})); }""",
        present.file_url(attributor.queries[5].path),
    )
    expect(visit.page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)


def test_phone_has_no_sideways_scroll(browser: Browser, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    visit = Visit(browser, address, **phone)
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".tabs button").nth(2).tap()
    expect(page.locator(".tabs button").nth(2)).to_have_attribute("aria-pressed", "true")
    page.locator(".lane[data-space=disentangled] .match").first.tap()
    expect(page.locator(".details")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not visit.complaints, visit.complaints
    visit.context.close()
