"""The compare view in a real browser: rank changes, near-copies, searching again and filters."""

import itertools
import re
from typing import Any

from playwright.sync_api import Page, expect

from aad.spaces import SPACES
from interface import handlers
from interface.words import SPACE_WORDS
from tests.browser.visits import Visit, ask, choose_k, options, orders, unfold
from tests.fakes import FakeAttributor


def shown(page: Page, space: str) -> dict[int, str]:
    """Reference id -> the mark of its move, as a column shows it, folded rows included."""
    rows = page.locator(f".lane[data-space={space}] .match")
    script = "rows => rows.map(r => [+r.dataset.ref, r.querySelector('.move [aria-hidden]')?.textContent ?? ''])"
    return {row[0]: row[1] for row in rows.evaluate_all(script)}


def answered(page: Page) -> Any:
    """What identifies an answer, without its serial number."""
    return page.evaluate("""() => { const { serial, ready, ...rest } = window.attributionPage.state.answer;
        return [rest, document.querySelector('#answer .lanes').innerText]; }""")


def test_arrows_and_overlap_follow_from_the_ranks(page: Page) -> None:
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
            n_same = len(set(ranked[before]) & set(ranked[now]))
            expect(page.locator(".slopes-shared").nth(SPACES.index(before))).to_have_text(f"{n_same} of 8 the same")
    assert {"new", "▲", "▼"} <= kinds


def test_slopes_draw_every_rank_and_say_it_in_words(page: Page, attributor: FakeAttributor) -> None:
    ask(page, 1)
    ranked = orders(page)
    everyone = {reference for order in ranked.values() for reference in order}
    lines = page.locator(".slope")
    assert lines.count() == len(everyone)
    script = """lines => lines.map(g => [+g.dataset.ref, g.ariaLabel, [...g.querySelectorAll('.slope-node')].map(node =>
        [node.dataset.space, +node.querySelector('text').textContent, +node.querySelector('circle').getAttribute('cy')])])"""
    heights = set()
    for reference, told, nodes in lines.evaluate_all(script):
        drawn = {space: rank for space, rank, _ in nodes}
        assert drawn == {s: ranked[s].index(reference) + 1 for s in SPACES if reference in ranked[s]}
        heights |= {(y, rank) for _, rank, y in nodes}
        for space in SPACES:
            place = f"rank {drawn[space]}" if space in drawn else "not among the first 8"
            assert f"{SPACE_WORDS[space]['name']} {place}" in told
    assert [rank for _, rank in sorted(heights)] == list(range(1, 9)), "one height per rank, in their order"
    (truth,) = attributor.queries[1].exemplar_ids
    assert page.locator(f".slope.is-truth[data-ref='{truth}']").count() == (truth in everyone)


def test_a_slope_lights_up_with_its_row_and_by_the_keyboard(page: Page, attributor: FakeAttributor) -> None:
    row = page.locator(".lane[data-space=aligned] .hit").first
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


def test_near_copies_fold_under_the_better_one_and_keep_their_rank(page: Page) -> None:
    ask(page, 1)
    unfold(page)
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


def test_the_verdict_stands_first_and_numbers_unfold_in_all_columns(page: Page, attributor: FakeAttributor) -> None:
    ask(page, 1)
    told, verdict = page.evaluate("window.attributionPage.state.answer.verdict"), page.locator(".verdict")
    expect(verdict.locator("h2")).to_have_text(f"{told['title']}.")
    expect(verdict.locator(".judged")).to_have_text(told["standing"])
    expect(verdict.locator(f"[data-ref='{told['about']}'] img")).to_be_visible()
    assert [page.locator(f".lane[data-space={space}] .hit").count() for space in SPACES] == [5, 5, 5]
    expect(page.locator(".similarity").first).to_be_hidden()
    page.locator(".numbers summary").first.click()
    for space in SPACES:
        expect(page.locator(f".lane[data-space={space}] .similarity").first).to_be_visible()
    verdict.locator("button").click()
    expect(page.locator(".details h2")).to_have_text(attributor.references[told["about"]].title)


def test_the_true_source_is_always_shown_with_its_rank_in_each_space(page: Page, attributor: FakeAttributor) -> None:
    ranks = {query_id: attributor.true_ranks(query_id) for query_id in range(90)}
    far = max(ranks, key=lambda query_id: ranks[query_id][SPACES[0]])
    assert ranks[far][SPACES[0]][0] > 8
    ask(page, far)
    source = page.locator(".source")
    expect(source.locator("button")).to_have_attribute("data-ref", str(attributor.queries[far].exemplar_ids[0]))
    for space in SPACES:
        expect(source.locator(f"[data-space={space}] b")).to_have_text(f"#{ranks[far][space][0]}")


def test_the_first_window_has_few_stops_and_few_words(page: Page) -> None:
    first, n_stops, n_words = page.evaluate("""() => {
        const seen = e => { const box = e.getBoundingClientRect(); return e.checkVisibility({ checkVisibilityCSS: true })
          && box.width > 1 && box.top < innerHeight && box.bottom > 0 && box.right > 0; };
        const stops = [...document.querySelectorAll("a[href], button, input, summary, select, [tabindex]")]
          .filter(e => e.tabIndex >= 0 && !e.disabled && (seen(e) || e.matches(".skip")));
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), words = [];
        while (walk.nextNode()) { const e = walk.currentNode.parentElement;
          if (seen(e) && !e.closest("h1, h2, h3, .title, script, style"))
            words.push(...walk.currentNode.data.split(/\\s+/).filter(Boolean)); }
        return [stops[0].textContent, stops.length, words.length]; }""")
    assert n_stops <= 20 and n_words <= 120, (n_stops, n_words)
    assert first == "Skip to the answer"
    page.locator(".skip").press("Enter")
    expect(page.locator(".hit").first).to_be_focused()


def test_searching_again_and_the_way_back(page: Page, attributor: FakeAttributor) -> None:
    ask(page, 2)
    before = answered(page)
    row = page.locator(".lane[data-space=aligned] .hit").nth(1)
    reference = int(row.get_attribute("data-ref") or -1)
    row.click()
    page.locator(".details .search-again").click()
    expect(page.locator(".query-caption")).to_contain_text("searched again")
    expect(page.locator(".query-caption")).to_contain_text(attributor.references[reference].title)
    assert page.locator(f".match[data-ref='{reference}']").count() == 0
    expected = handlers.answer(attributor, "reference", reference, 8)["spaces"]
    assert orders(page) == {space: [match["id"] for match in expected[space]["matches"]] for space in SPACES}
    assert f"reference={reference}" in page.url and "query=" not in page.url
    name = re.escape(attributor.references[reference].path.name.replace(" ", "%20"))
    expect(page.locator("#query-picture img")).to_have_attribute("src", re.compile(name))
    page.locator(".lane[data-space=backbone] .hit").first.click()
    page.locator(".details .search-again").click()
    page.wait_for_function("id => window.attributionPage.state.answer.query.reference !== id", arg=reference)
    expect(page.locator(".details")).to_be_hidden()
    page.locator(".back").click()
    page.wait_for_function("id => window.attributionPage.state.answer.query.reference === id", arg=reference)
    page.locator(".back").click()
    page.wait_for_function("window.attributionPage.state.answer.query.id === 2")
    assert answered(page) == before


def test_a_filter_by_the_keyboard_changes_every_column(page: Page, attributor: FakeAttributor) -> None:
    ask(page, 4)
    before = answered(page)
    options(page).locator(".filter summary").first.focus()
    for key in ("Enter", "Tab", "b", "i", "r", "d", "Tab", "Space"):
        page.keyboard.press(key)
    page.wait_for_function("window.attributionPage.state.answer.gallery?.n === 9")
    assert page.evaluate("document.activeElement.type") == "checkbox", "the focus stays in the list"
    page.keyboard.press("Escape")
    expect(page.locator(".options > summary")).to_be_focused()
    allowed = {reference.reference_id for reference in attributor.references if reference.group == "birds"}
    for order in orders(page).values():
        assert set(order) <= allowed and len(order) == 8
    assert page.evaluate("window.attributionPage.state.answer.query.ranks") == {}, "they are among everything"
    expect(page.locator(".filter-total")).to_contain_text("9 of 117 pictures; weights as in the whole collection")
    assert "filter=group%3Abirds" in page.url
    assert page.evaluate("[...window.attributionPage.state.filter.group]") == ["birds"]
    choose_k(page, 5)
    for space, order in orders(page).items():
        assert set(order) <= allowed and len(order) == 5, "k keeps the filter"
        expect(page.locator(f".lane[data-space={space}] .match")).to_have_count(5)
    choose_k(page, 8)
    page.locator(".filter-clear").click()
    page.wait_for_function(
        "window.attributionPage.state.answer.gallery === null && window.attributionPage.state.answer.k === 8"
    )
    assert answered(page) == before and "filter=" not in page.url


def test_counts_of_a_filter_are_those_that_remain(page: Page, attributor: FakeAttributor) -> None:
    page.evaluate("window.attributionPage.setFilter({group: new Set(['birds'])})")
    options(page).locator(".filter summary", has_text="Licence").click()
    told = page.locator(".filter[open] label").all_inner_texts()
    assert sorted(" ".join(line.split()) for line in told) == ["CC0-1.0 0", "GPL-2.0-or-later 9"]
    expect(page.locator(".filter[open] input").last).to_be_disabled()
    page.evaluate("window.attributionPage.setFilter({group: new Set(['birds']), licence: new Set(['CC0-1.0'])})")
    page.evaluate("window.attributionPage.refresh()")
    expect(page.locator("#answer .notice h2")).to_have_text("Nothing to search in")
    assert page.locator(".match").count() == 0


def test_ten_thousand_values_are_found_by_typing(visit: Visit) -> None:
    page = visit.page
    page.evaluate("""() => { const p = window.attributionPage; const words = p.catalogue.words.source;
        while (words.values.length < 10000) words.values.push(`invented source ${words.values.length}`);
        words.index[5] = 9876; }""")
    page.evaluate("window.attributionPage.mountOptions(document.querySelector('#options'))")
    options(page).locator(".filter summary", has_text="Source").click()
    expect(page.locator(".filter[open]")).to_contain_text("and 9,900 more: type to narrow")
    assert page.locator(".filter[open] li").count() == 100
    page.locator(".filter[open] input[type=search]").fill("9876")
    expect(page.locator(".filter[open] li")).to_have_count(1)
    expect(page.locator(".filter[open] li")).to_contain_text("invented source 9876")
