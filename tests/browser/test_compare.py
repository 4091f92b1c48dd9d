"""The compare view in a real browser: rank changes, near-copies, searching again, filters and addresses."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from aad.spaces import SPACES
from interface import handlers
from interface.requests import MISFIT
from tests.browser.visits import PATIENCE, Visit, upload
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")


def orders(page: Page) -> dict[str, list[int]]:
    """Ids as each space's answer ranks them."""
    spaces = page.evaluate("window.attributionPage.state.answer.spaces")
    return {space: [match["id"] for match in spaces[space]["matches"]] for space in SPACES}


def shown(page: Page, space: str) -> dict[int, str]:
    """Reference id -> the mark of its move, as a column shows it, folded rows included."""
    rows = page.locator(f".lane[data-space={space}] .match")
    script = "rows => rows.map(r => [+r.dataset.ref, r.querySelector('.move [aria-hidden]')?.textContent ?? ''])"
    return {row[0]: row[1] for row in rows.evaluate_all(script)}


def ask(page: Page, query_id: int) -> None:
    page.evaluate("id => window.attributionPage.askQuery(id)", query_id)
    page.wait_for_function("id => window.attributionPage.state.answer?.query?.id === id", arg=query_id)


def answered(page: Page) -> Any:
    """What identifies an answer, without its serial number."""
    return page.evaluate("""() => { const { serial, ready, ...rest } = window.attributionPage.state.answer;
        return [rest, document.querySelector('#answer .lanes').innerText]; }""")


def test_arrows_departures_and_overlap_follow_from_the_ranks(visit: Visit) -> None:
    page = visit.page
    kinds = set()
    for query_id in (1, 6):
        ask(page, query_id)
        ranked = orders(page)
        assert set(shown(page, "backbone").values()) == {""}
        for before, now in itertools.pairwise(SPACES):
            was = {reference: place for place, reference in enumerate(ranked[before], start=1)}
            expected = {}
            for rank, reference in enumerate(ranked[now], start=1):
                gain = was.get(reference, 0) - rank
                kind = "new" if reference not in was else "=" if gain == 0 else "▲" if gain > 0 else "▼"
                expected[reference] = kind if kind in ("new", "=") else f"{kind}{abs(gain)}"
                kinds.add(kind)
            assert shown(page, now) == expected
            lane = page.locator(f".lane[data-space={now}]")
            gone = lane.locator(".gone").evaluate_all("buttons => buttons.map(b => +b.dataset.ref)")
            assert gone == [reference for reference in ranked[before] if reference not in ranked[now]]
            n_same = len(set(ranked[before]) & set(ranked[now]))
            expect(lane.locator(".shared")).to_contain_text(f"{n_same} of 8 the same")
    assert {"new", "▲", "▼"} <= kinds


def test_slopes_draw_every_rank_and_say_it_as_a_table(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    ask(page, 1)
    ranked = orders(page)
    everyone = {reference for order in ranked.values() for reference in order}
    lines = page.locator(".slope")
    assert lines.count() == len(everyone)
    script = """lines => lines.map(g => [+g.dataset.ref, [...g.querySelectorAll('.slope-node')].map(node =>
        [node.dataset.space, +node.querySelector('text').textContent, +node.querySelector('circle').getAttribute('cy')])])"""
    heights: dict[int, set[float]] = {}
    for reference, nodes in lines.evaluate_all(script):
        drawn = {space: rank for space, rank, _ in nodes}
        assert drawn == {s: ranked[s].index(reference) + 1 for s in SPACES if reference in ranked[s]}
        for _, rank, y in nodes:
            heights.setdefault(rank, set()).add(y)
    assert all(len(ys) == 1 for ys in heights.values()), "one height per rank"
    assert [min(heights[rank]) for rank in sorted(heights)] == sorted(min(ys) for ys in heights.values())
    page.locator(".slopes-twin summary").click()
    told = page.locator(".slopes-table tbody tr").evaluate_all(
        "rows => rows.map(r => [+r.dataset.ref, ...[...r.querySelectorAll('td')].map(d => d.textContent)])"
    )
    for reference, *cells in told:
        assert cells == [str(ranked[s].index(reference) + 1) if reference in ranked[s] else "\u2013" for s in SPACES]
    (truth,) = attributor.queries[1].exemplar_ids
    assert page.locator(f".slope.is-truth[data-ref='{truth}']").count() == (truth in everyone)


def test_a_slope_lights_up_with_its_row_and_by_the_keyboard(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    row = page.locator(".lane[data-space=aligned] .match").first
    reference = int(row.get_attribute("data-ref") or -1)
    row.hover()
    expect(page.locator(".slope.is-linked")).to_have_attribute("data-ref", str(reference))
    expect(page.locator(".slopes-caption")).to_contain_text(attributor.references[reference].title)
    page.mouse.move(2, 2)  # where no line scrolls under it
    page.locator(".slope[tabindex='0']").focus()
    first = page.evaluate("window.attributionPage.state.hover")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("window.attributionPage.state.hover")
    assert second is not None and second != first
    expect(page.locator(".slope.is-linked")).to_have_attribute("data-ref", str(second))
    page.keyboard.press("Enter")
    expect(page.locator(".details h2")).to_have_text(attributor.references[second].title)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.ref") == str(second), "closing gives the focus back"


def test_near_copies_fold_under_the_better_one_and_keep_their_rank(visit: Visit) -> None:
    page = visit.page
    ask(page, 1)
    part = page.evaluate("window.attributionPage.state.answer.spaces.aligned")
    (copy,) = [place for place, head in enumerate(part["copies"]) if head is not None]
    lane = page.locator(".lane[data-space=aligned]")
    folded = lane.locator(f".match[data-ref='{part['matches'][copy]['id']}']")
    head = lane.locator(f".match[data-ref='{part['matches'][part['copies'][copy]]['id']}']")
    expect(folded).to_be_hidden()
    line = lane.locator(".copies summary")
    expect(line).to_contain_text("and 1 near-copy")
    assert line.evaluate("s => +s.closest('li').previousElementSibling.querySelector('.match').dataset.ref") == int(
        head.get_attribute("data-ref") or -1
    )
    line.focus()
    page.keyboard.press("Enter")
    expect(folded).to_be_visible()
    expect(folded.locator(".rank")).to_contain_text(str(copy + 1))
    ranks = lane.locator(".matches > li:not(.copies) .rank").evaluate_all(
        "all => all.map(r => parseInt(r.innerText.match(/\\d+/)[0]))"
    )
    assert ranks == [rank for rank in range(1, 9) if rank != copy + 1]


def test_no_convincing_source_is_said_where_the_weights_say_so(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    said = []
    for query_id in (3, 6):
        ask(page, query_id)
        result = attributor.attribute_query(query_id, 8)
        for space in SPACES:
            outweighed = result[space].remainder > sum(match.weight for match in result[space].matches)
            verdict = page.locator(f".lane[data-space={space}] .verdict")
            if outweighed:
                expect(verdict).to_contain_text("No convincing source")
                verdict.locator(".hint").focus()
                expect(verdict.locator(".hint-text")).to_be_visible()
                expect(verdict.locator(".hint-text")).to_contain_text("outweighs everything shown")
            else:
                assert verdict.inner_text() == ""
            said.append(outweighed)
    assert True in said and False in said


def test_searching_again_from_a_row_and_the_way_back(visit: Visit, attributor: FakeAttributor) -> None:
    page = visit.page
    ask(page, 2)
    before = answered(page)
    row = page.locator(".lane[data-space=aligned] .matches > li").nth(1)
    reference = int(row.locator(".match").get_attribute("data-ref") or -1)
    row.hover()
    row.locator(".again").click()
    expect(page.locator(".query-caption")).to_contain_text("searched again", timeout=PATIENCE)
    expect(page.locator(".query-caption")).to_contain_text(attributor.references[reference].title)
    assert page.locator(f".match[data-ref='{reference}']").count() == 0
    expected = handlers.answer(attributor, "reference", reference, 8)["spaces"]
    assert orders(page) == {space: [match["id"] for match in expected[space]["matches"]] for space in SPACES}
    assert f"reference={reference}" in page.url and "query=" not in page.url
    assert attributor.references[reference].path.name in (
        page.locator("#query-picture img").get_attribute("src") or ""
    ).replace("%20", " ")
    # and once more, from the panel
    page.locator(".lane[data-space=backbone] .match").first.click()
    page.locator(".details .search-again").click()
    page.wait_for_function("id => window.attributionPage.state.answer.query.reference !== id", arg=reference)
    expect(page.locator(".details")).to_be_hidden()
    page.locator(".back").click()
    page.wait_for_function("id => window.attributionPage.state.answer.query.reference === id", arg=reference)
    page.locator(".back").click()
    page.wait_for_function("window.attributionPage.state.answer.query.id === 2")
    assert answered(page) == before


def test_an_upload_is_come_back_to_and_has_no_address(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    Image.new("RGB", (300, 200), (200, 80, 40)).save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    expect(page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)
    assert "query=" not in page.url and "own has no link" in page.evaluate("window.attributionPage.noLink()")
    before = orders(page)
    page.evaluate("window.attributionPage.askReference(50)")
    expect(page.locator(".back")).to_contain_text("Back to your picture", timeout=PATIENCE)
    assert page.evaluate("window.attributionPage.noLink()") is None
    page.locator(".back").click()
    expect(page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)
    assert orders(page) == before


def test_a_filter_by_the_keyboard_changes_every_column_and_is_in_the_address(
    visit: Visit, attributor: FakeAttributor
) -> None:
    page = visit.page
    ask(page, 4)
    before = answered(page)
    page.locator(".filter-open").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("bird")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_function("window.attributionPage.state.answer.gallery?.n === 9")
    assert page.evaluate("document.activeElement.type") == "checkbox", "the focus stays in the list"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className").startswith("filter-open")
    allowed = {reference.reference_id for reference in attributor.references if reference.group == "birds"}
    for order in orders(page).values():
        assert set(order) <= allowed and len(order) == 8
    expect(page.locator(".filter-total")).to_contain_text("9 of 117 pictures; weights as in the whole collection")
    assert "filter=group%3Abirds" in page.url
    assert page.evaluate("[...window.attributionPage.state.filter.group]") == ["birds"]
    page.locator("#k-choice label", has_text=re.compile("^ ?5 ?$")).click()
    page.wait_for_function("window.attributionPage.state.answer.k === 5")
    assert all(set(order) <= allowed for order in orders(page).values()), "k keeps the filter"
    page.locator("#k-choice label", has_text=re.compile("^ ?8 ?$")).click()
    page.locator(".filter-clear").click()
    page.wait_for_function(
        "window.attributionPage.state.answer.gallery === null && window.attributionPage.state.answer.k === 8"
    )
    assert answered(page) == before and "filter=" not in page.url


def test_counts_of_a_filter_are_those_that_remain_and_an_impossible_one_is_told(
    visit: Visit, attributor: FakeAttributor
) -> None:
    page = visit.page
    page.evaluate("window.attributionPage.setFilter({group: new Set(['birds'])})")
    page.locator(".filter-open", has_text="Licence").click()
    told = page.locator(".filter-panel:visible label").all_inner_texts()
    assert sorted(" ".join(line.split()) for line in told) == ["CC0-1.0 0", "GPL-2.0-or-later 9"]
    expect(page.locator(".filter-panel:visible input").last).to_be_disabled()
    page.evaluate("window.attributionPage.setFilter({group: new Set(['birds']), licence: new Set(['CC0-1.0'])})")
    page.evaluate("window.attributionPage.refresh()")
    expect(page.locator(".notice h2")).to_have_text("Nothing to search in", timeout=PATIENCE)
    assert page.locator(".match").count() == 0
    page.keyboard.press("Escape")
    page.locator(".filter-clear").click()
    expect(page.locator(".match").first).to_be_visible(timeout=PATIENCE)


def test_ten_thousand_values_are_found_by_typing(visit: Visit) -> None:
    page = visit.page
    page.evaluate("""() => { const p = window.attributionPage; const words = p.catalogue.words.source;
        while (words.values.length < 10000) words.values.push(`invented source ${words.values.length}`);
        words.index[5] = 9876; }""")
    page.evaluate("window.attributionPage.mountFilters(document.querySelector('#filters'))")
    page.locator(".filter-open", has_text="Source").click()
    expect(page.locator(".filter-panel:visible")).to_contain_text("and 9,900 more: type to narrow")
    assert page.locator(".filter-panel:visible li").count() == 100
    page.keyboard.type("9876")
    expect(page.locator(".filter-panel:visible li")).to_have_count(1)
    expect(page.locator(".filter-panel:visible li")).to_contain_text("invented source 9876")


@pytest.mark.parametrize("asked", ["query", "reference"])
def test_an_address_opens_the_same_page_again(visit: Visit, browser: Browser, asked: str) -> None:
    page = visit.page
    page.evaluate(
        """asked => { const p = window.attributionPage;
        p.setFilter({group: new Set(['birds', 'sea life', 'tools']), licence: new Set(['GPL-2.0-or-later'])});
        asked === 'query' ? p.askQuery(7) : p.askReference(60); }""",
        asked,
    )
    page.wait_for_function("window.attributionPage.state.answer.gallery !== null")
    page.locator("#k-choice label", has_text=re.compile("^ ?15 ?$")).click()
    page.wait_for_function("window.attributionPage.state.answer.k === 15")
    assert page.url == page.evaluate("window.attributionPage.linkHere()")
    again = Visit(browser, page.url)
    assert answered(again.page) == answered(page)
    expect(again.page.locator("#k-choice label.selected")).to_have_text(re.compile("15"))
    expect(again.page.locator(".chip")).to_have_count(4)
    expect(again.page.locator(".query-caption")).to_have_text(
        page.locator(".query-caption").inner_text().split("\u2190")[0].strip()
        if asked == "query"
        else re.compile("searched again")
    )
    assert again.page.url == page.url
    assert not again.complaints, again.complaints
    again.context.close()


def test_an_address_of_a_query_that_is_not_there_is_told(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address + "?query=4000")
    expect(page.locator(".notice h2")).to_have_text(MISFIT, timeout=PATIENCE)
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light"), (1920, "dark")])
def test_nothing_overflows_with_a_filter_and_a_reference(
    browser: Browser, address: str, width: int, theme: str
) -> None:
    visit = Visit(
        browser,
        f"{address}?__theme={theme}&reference=8&k=30&filter=group:birds|group:tools|group:food|group:flowers",
        viewport={"width": width, "height": 900},
    )
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    chart = visit.page.locator(".slopes-chart svg").bounding_box()
    assert chart and chart["x"] >= 0 and chart["x"] + chart["width"] <= width
    visit.page.locator(".filter-open").first.click()
    panel = visit.page.locator(".filter-panel:visible").bounding_box()
    assert panel and panel["x"] >= 0 and panel["x"] + panel["width"] <= width
    assert not visit.complaints, visit.complaints
    visit.context.close()
