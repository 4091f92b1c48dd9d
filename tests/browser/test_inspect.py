"""Inspect in a real browser: choosing, counting, opening in Compare and coming back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from aad.outcomes import Outcomes, outcomes_of
from aad.spaces import SPACES
from benchmarks.door import open_door
from tests.browser.visits import PATIENCE, Visit
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

PER_LEAF = 20


@pytest.fixture(scope="module")
def outcomes(attributor: FakeAttributor) -> Outcomes:
    return outcomes_of(attributor)


@pytest.fixture(scope="module")
def is_test(outcomes: Outcomes) -> np.ndarray:
    return np.asarray(outcomes.labels["split"] == "test")


@pytest.fixture(scope="module")
def desk(browser: Browser, address: str) -> Iterator[Visit]:
    """One visit for all tests that need no fresh one: a page takes seconds to open."""
    visit = Visit(browser, address + "?__theme=light")
    yield visit
    visit.context.close()
    outside = [url for url in visit.requests if not url.startswith((address.rstrip("/"), "data:", "blob:", "about:"))]
    assert not outside, f"the page must ask nobody else, it asked {outside}"
    assert not visit.complaints, visit.complaints


@pytest.fixture
def page(desk: Visit) -> Page:
    """Inspect as it is when first opened."""
    return follow(desk.page, "?view=inspect")


def follow(page: Page, address: str) -> Page:
    """Go to an address of the page as the browser's Back does, without opening the page again."""
    page.evaluate("to => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }", address)
    page.wait_for_selector("#view-inspect .inspect-tabs", timeout=PATIENCE)
    page.wait_for_timeout(100)
    return page


def choose(page: Page, facet: str, value: str) -> None:
    page.locator(f".option:has(input[data-facet='{facet}'][data-value='{value}'])").click()


def count(page: Page, facet: str, value: str) -> int:
    return int(page.locator(f".option:has(input[data-facet='{facet}'][data-value='{value}']) > .number").inner_text())


def listed(page: Page) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('.case')].map(one => Number(one.dataset.query))")  # type: ignore[no-any-return]


def by_rank(outcomes: Outcomes, rows: np.ndarray, s: int) -> list[int]:
    ids = np.flatnonzero(rows)
    return [int(outcomes.query_ids[i]) for i in sorted(ids, key=lambda i: (-outcomes.best_rank[s, i], i))]


def tab(page: Page, name: str) -> None:
    page.locator(f"#inspect-tab-{name}").click()


def test_the_test_split_comes_first_with_its_figures_and_intervals(
    page: Page, outcomes: Outcomes, is_test: np.ndarray
) -> None:
    expect(page.locator(".count-line .count")).to_have_text(f"{is_test.sum()} of 90 queries with a known source")
    assert page.locator("input[data-facet=split][data-value=test]").is_checked()
    expect(page.locator(".inspect .notes")).to_contain_text("Test split only")
    recall = outcomes.recall(is_test)
    for space in SPACES:
        row, one = page.locator(f".inspect-summary tr[data-space={space}]"), recall.spaces[space]
        expect(row.locator("td.figure")).to_have_text(f"{one.mean:.3f}")
        expect(row).to_contain_text(f"{one.low:.3f} to {one.high:.3f}", timeout=PATIENCE)
    assert listed(page) == by_rank(outcomes, is_test, 2)[:PER_LEAF]
    choose(page, "split", "train")
    expect(page.locator(".inspect .notes")).to_contain_text("flatter")


def test_filters_count_and_list_what_python_counts(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    choose(page, "outcome", "fixed_by_alignment")
    rows = is_test & outcomes.members("fixed_by_alignment")
    expect(page.locator(".count-line b")).to_have_text(str(rows.sum()))
    assert listed(page) == by_rank(outcomes, rows, 2)[:PER_LEAF]
    for split in ("test", "validation", "train"):
        expected = outcomes.members("fixed_by_alignment") & (outcomes.labels["split"] == split)
        assert count(page, "split", split) == expected.sum(), split
    for outcome in ("wrong_everywhere", "broken_by_disentangling"):
        assert count(page, "outcome", outcome) == (is_test & outcomes.members(outcome)).sum(), outcome
    for kind in ("media", "style"):
        assert count(page, "type", kind) == (rows & (outcomes.labels["type"] == kind)).sum(), kind
    choose(page, "outcome", "right_everywhere")
    rows |= is_test & outcomes.members("right_everywhere")
    choose(page, "type", "media")
    rows &= outcomes.labels["type"] == "media"
    expect(page.locator(".count-line b")).to_have_text(str(rows.sum()))
    assert set(listed(page)) == set(outcomes.query_ids[rows].tolist())
    expect(page.locator(".inspect .notes")).to_contain_text("intervals are left out")
    assert page.locator(".chosen-word").count() == 4
    page.locator(".chosen-words .plain").click()
    expect(page.locator(".count-line b")).to_have_text(str(is_test.sum()))


def test_a_row_says_in_words_what_each_space_answered(
    page: Page, outcomes: Outcomes, attributor: FakeAttributor
) -> None:
    query_id = listed(page)[0]
    row = outcomes.query_ids.tolist().index(query_id)
    case = page.locator(f".case[data-query='{query_id}']")
    expect(case).to_contain_text(attributor.references[outcomes.exemplar_ids[row][0]].title)
    for s, space in enumerate(SPACES):
        answer = case.locator(f".answer[data-space={space}]")
        if outcomes.right[s, row]:
            expect(answer).to_contain_text("Right")
        else:
            expect(answer).to_contain_text("Wrong")
            expect(answer).to_contain_text(f"source at {outcomes.best_rank[s, row]}")


def test_order_follows_the_weight_in_both_directions(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    page.locator(".panel-head select").select_option("weight.backbone")
    levels = np.rint(outcomes.weight[0] * 65535)
    ids = np.flatnonzero(is_test)
    falling = [int(outcomes.query_ids[i]) for i in sorted(ids, key=lambda i: (-levels[i], i))]
    assert listed(page) == falling[:PER_LEAF]
    page.locator(".panel-head .plain", has_text="Largest first").click()
    rising = [int(outcomes.query_ids[i]) for i in sorted(ids, key=lambda i: (levels[i], i))]
    assert listed(page) == rising[:PER_LEAF]


def test_enter_opens_a_query_in_compare_and_back_returns_to_the_same_place(
    page: Page, outcomes: Outcomes, is_test: np.ndarray
) -> None:
    choose(page, "split", "train")
    page.get_by_role("button", name="Next", exact=True).first.click()
    ids = by_rank(outcomes, is_test | (outcomes.labels["split"] == "train"), 2)
    assert listed(page) == ids[PER_LEAF : 2 * PER_LEAF]
    page.locator(".case").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    place = page.evaluate("window.scrollY")
    page.keyboard.press("Enter")
    expect(page.locator("#view-compare")).to_be_visible()
    asked = ids[PER_LEAF + 2]
    page.wait_for_function(f"window.attributionPage.state.answer?.query?.id === {asked}")
    expect(page.locator(".walk")).to_contain_text(f"{PER_LEAF + 3} of {len(ids)} chosen")
    page.go_back()
    expect(page.locator("#view-inspect")).to_be_visible()
    assert listed(page) == ids[PER_LEAF : 2 * PER_LEAF]
    expect(page.locator(f".case[data-query='{asked}']")).to_be_focused()
    assert abs(page.evaluate("window.scrollY") - place) < 2
    assert page.locator("input[data-facet=split][data-value=train]").is_checked()


def test_the_walk_goes_on_in_compare_and_ends_with_another_picture(
    page: Page, outcomes: Outcomes, is_test: np.ndarray
) -> None:
    ids = by_rank(outcomes, is_test, 2)
    page.locator(".case").nth(PER_LEAF - 1).click()
    page.locator(".walk").get_by_role("button", name="Next").click()
    page.wait_for_function(f"window.attributionPage.state.answer?.query?.id === {ids[PER_LEAF]}")
    page.locator(".walk").get_by_role("button", name="Back to Inspect").click()
    assert listed(page) == ids[PER_LEAF : 2 * PER_LEAF], "the leaf turns with the walk"
    expect(page.locator(".case").first).to_be_focused()
    page.locator(".case").first.click()
    expect(page.locator(".walk")).to_be_visible()
    page.evaluate("id => window.attributionPage.askQuery(id)", next(i for i in range(90) if i not in ids))
    expect(page.locator(".walk")).to_be_hidden(timeout=PATIENCE)


def test_address_brings_back_what_was_chosen(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    choose(page, "type", "painted")
    page.locator(".panel-head select").select_option("rank.aligned")
    tab(page, "recall")
    page.locator(".segment button[data-value=MRR]").click()
    page.locator(".segment button[data-value=generator]").click()
    link = page.evaluate("window.attributionPage.linkHere()")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector(".recall-by tbody tr", timeout=PATIENCE)
    open_door(page)
    expect(page.locator("#inspect-tab-recall")).to_have_attribute("aria-selected", "true")
    assert page.locator("input[data-facet=type][data-value=painted]").is_checked()
    expect(page.locator(".segment button[data-value=MRR]")).to_have_attribute("aria-pressed", "true")
    rows = is_test & (outcomes.labels["type"] == "painted")
    recall = outcomes.recall(rows, "MRR")
    for space in SPACES:
        figure = page.locator(f".inspect-summary tr[data-space={space}] td.figure")
        expect(figure).to_have_text(f"{recall.spaces[space].mean:.3f}")
    tab(page, "queries")
    assert listed(page) == by_rank(outcomes, rows, 1)[:PER_LEAF]


def test_an_address_that_asks_for_nothing_known_gives_the_first_view(page: Page, is_test: np.ndarray) -> None:
    odd = "type=%3Cimg%3E&order=x&tab=y&lens=z&leaf=-4&pair=a%7Cb&hub=backbone%7C99999999&measure=q"
    choose(page, "type", "media")
    follow(page, f"?view=inspect&inspect={odd.replace('%', '%25').replace('&', '%26').replace('=', '%3D')}")
    expect(page.locator(".count-line b")).to_have_text(str(is_test.sum()))


def test_recall_by_kind_is_pythons_and_a_row_filters(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    tab(page, "recall")
    rows = page.locator(".recall-by tbody tr")
    expect(rows).to_have_count(5, timeout=PATIENCE)
    for value, recall in outcomes.recall_by("type", is_test).items():
        row = rows.filter(has=page.locator(f"button[data-value='{value}']"))
        for space in SPACES:
            one = recall.spaces[space]
            expect(row.locator(f"td[data-space={space}]")).to_contain_text(f"{one.mean:.3f}")
            expect(row.locator(f"td[data-space={space}]")).to_contain_text(f"{one.low:.3f} to {one.high:.3f}")
    page.locator(".recall-by button[data-value=photo]").click()
    expected = is_test & (outcomes.labels["type"] == "photo")
    assert set(listed(page)) == set(outcomes.query_ids[expected].tolist())


def test_a_confusion_filters_the_list(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    choose(page, "split", "test")  # all splits
    tab(page, "confusions")
    page.locator(".panel-head .segment button[data-value=backbone]").click()
    wrong, groups = ~outcomes.right[0], outcomes.reference_labels["group"]
    truth = groups[[ids[0] for ids in outcomes.exemplar_ids]][wrong].tolist()
    counted = Counter(zip(truth, groups[outcomes.neighbours[0, wrong, 0]].tolist(), strict=True))
    pairs = sorted(((*pair, n) for pair, n in counted.items()), key=lambda pair: (-pair[2], *pair[:2]))
    cells = page.locator(".confusion button")
    assert cells.count() == len(pairs)
    found = {cells.nth(i).get_attribute("aria-label") for i in range(cells.count())}
    others = {f"{n} of {one} taken for {'another of them' if one == other else other}" for one, other, n in pairs}
    assert found == others
    first = page.locator(".pairs section").first.locator(".pair").first
    expect(first).to_contain_text(f"{pairs[0][0]} taken for")
    first.click()
    expect(page.locator(".count-line b")).to_have_text(str(pairs[0][2]))
    assert len(listed(page)) == pairs[0][2]
    expect(page.locator(".chosen-words")).to_contain_text("backbone: ")


def test_arrow_keys_walk_the_confusions_and_enter_filters(page: Page) -> None:
    choose(page, "split", "test")
    tab(page, "confusions")
    page.locator(".panel-head .segment button[data-value=backbone]").click()
    page.locator(".confusion button[tabindex='0']").focus()
    label = "document.activeElement.getAttribute('aria-label')"
    before = page.evaluate(label)
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.closest('.confusion') !== null")
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate(label) != before
    n = page.evaluate(label).split(" ")[0]
    page.keyboard.press("Enter")
    expect(page.locator(".count-line b")).to_have_text(n)


def test_a_hub_filters_the_list(page: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    page.locator("#inspect-tab-queries").focus()
    page.keyboard.press("ArrowLeft")  # round the corner to the last tab
    column = page.locator(".hubs .lane[data-space=backbone]")
    hubness = outcomes.hubness("backbone", is_test)
    expect(column).to_contain_text(f"{hubness.skewness:.2f}".replace("-", "\u2212"), timeout=PATIENCE)
    top = column.locator(".hub").first
    reference = int(top.get_attribute("data-ref") or -1)
    assert hubness.counts[reference] == hubness.counts.max()
    expect(top.locator(".count")).to_contain_text(str(hubness.counts[reference]))
    top.click()
    expected = set(outcomes.query_ids[is_test & outcomes.retrieving("backbone", reference)].tolist())
    expect(page.locator(".count-line b")).to_have_text(str(len(expected)))
    assert set(listed(page)) <= expected
    link = page.evaluate("window.attributionPage.linkHere()")
    page.locator(".chosen-words .plain").click()
    expect(page.locator(".count-line b")).to_have_text(str(is_test.sum()))
    follow(page, link)
    expect(page.locator(".count-line b")).to_have_text(str(len(expected)), timeout=PATIENCE)


def test_outcomes_travel_once_and_pictures_a_leaf_at_a_time(visit: Visit) -> None:
    page, bodies = visit.page, []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    asked: Any = lambda: sum("inspect_outcomes" in body for body in bodies)  # noqa: E731
    assert asked() == 0, "nothing is fetched before the view is opened"
    for view in ("inspect", "compare", "inspect", "why", "inspect"):
        page.locator(f"#nav button[data-view={view}]").click()
        if view == "inspect":
            page.wait_for_selector(".case", timeout=PATIENCE)
    assert asked() == 1
    synthetic = {url for url in visit.requests if "/synth/" in url}
    assert len(synthetic) <= PER_LEAF + 13, "a leaf, and the strip of examples with the picture shown"


def test_a_fault_is_told_and_can_be_tried_again(visit: Visit) -> None:
    page = visit.page
    fault = json.dumps({"error": "The disk is on fire."})
    page.route("**/component_server/**", lambda route: route.fulfill(body=fault, content_type="application/json"))
    page.locator("#nav button[data-view=inspect]").click()
    expect(page.locator("#view-inspect .notice")).to_contain_text("The disk is on fire.")
    page.unroute("**/component_server/**")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".case", timeout=PATIENCE)


def test_no_query_left_is_said_and_undone(page: Page, is_test: np.ndarray) -> None:
    choose(page, "outcome", "wrong_everywhere")
    page.evaluate(
        "() => { for (const one of document.querySelectorAll('.option input'))"
        " if (one.dataset.facet === 'group' && one.closest('.is-none')) { one.click(); return; } }"
    )
    expect(page.locator("#inspect-panel-queries .notice")).to_be_visible()
    for name in ("recall", "confusions", "hubs"):
        tab(page, name)
        expect(page.locator(f"#inspect-panel-{name}")).to_contain_text("remove a filter")
    tab(page, "queries")
    page.locator("#inspect-panel-queries .notice button").click()
    expect(page.locator(".count-line b")).to_have_text(str(is_test.sum()))


def test_phone_has_no_sideways_scroll_on_any_tab(browser: Browser, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1, "is_mobile": True, "has_touch": True}
    visit = Visit(browser, f"{address}?__theme=dark", **phone)
    page = visit.page
    page.locator("#nav button[data-view=inspect]").tap()
    page.wait_for_selector(".case", timeout=PATIENCE)
    assert page.locator(".facets fieldset").first.is_hidden(), "filters are folded away"
    page.locator(".facets summary").tap()
    expect(page.locator(".facets fieldset").first).to_be_visible()
    for name in ("queries", "recall", "confusions", "hubs"):
        page.locator(f"#inspect-tab-{name}").tap()
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    assert not visit.complaints, visit.complaints
    visit.context.close()


def test_collection_without_known_sources_says_what_is_missing(
    browser: Browser, serve: Callable[[FakeAttributor], str], tmp_path: Path
) -> None:
    attributor = FakeAttributor(tmp_path, n_per_group=2)
    attributor.queries = tuple(replace(query, exemplar_ids=()) for query in attributor.queries)
    visit = Visit(browser, serve(attributor))
    visit.page.locator("#nav button[data-view=inspect]").click()
    notice = visit.page.locator("#view-inspect .notice")
    expect(notice).to_contain_text("None of the 12 queries of this collection has one")
    notice.get_by_role("button").click()
    expect(visit.page.locator("#view-compare")).to_be_visible()
    assert not visit.complaints, visit.complaints
    visit.context.close()
