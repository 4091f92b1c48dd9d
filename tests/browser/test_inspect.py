"""Inspect in a real browser: choosing, counting, opening in Compare and coming back."""

import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from aad.spaces import SPACES
from interface.outcomes import Outcomes, outcomes_of, skewness
from tests.browser.visits import ANSWERED, Visit, ask, show
from tests.fakes import FakeAttributor

PER_LEAF = 20


@pytest.fixture(scope="module")
def outcomes(attributor: FakeAttributor) -> Outcomes:
    return outcomes_of(attributor)


@pytest.fixture(scope="module")
def is_test(outcomes: Outcomes) -> np.ndarray:
    return np.asarray(outcomes.labels["split"] == "test")


@pytest.fixture
def inspect(page: Page) -> Page:
    """Inspect as it is when first opened."""
    return follow(page, "?view=inspect")


def follow(page: Page, address: str) -> Page:
    """Go to an address of the page as the browser's Back does, without opening the page again."""
    page.evaluate("to => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }", address)
    page.wait_for_selector("#view-inspect .inspect-tabs")
    return page


def choose(page: Page, facet: str, value: str) -> None:
    page.locator(f".option:has(input[data-facet='{facet}'][data-value='{value}'])").click()


def count(page: Page, facet: str, value: str) -> int:
    return int(page.locator(f".option:has(input[data-facet='{facet}'][data-value='{value}']) > .number").inner_text())


def listed(page: Page) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('.case')].map(one => Number(one.dataset.query))")


def by_gain(outcomes: Outcomes, rows: np.ndarray, before: int = 0, after: int = 2) -> list[int]:
    gain = outcomes.best_rank[before] / outcomes.best_rank[after]
    return [int(outcomes.query_ids[i]) for i in sorted(np.flatnonzero(rows), key=lambda i: (-gain[i], i))]


def tab(page: Page, name: str) -> None:
    page.locator(f".inspect-tabs [data-value={name}]").click()


def test_the_test_split_comes_first_with_its_intervals_and_what_each_space_answered(
    inspect: Page, outcomes: Outcomes, is_test: np.ndarray, attributor: FakeAttributor
) -> None:
    expect(inspect.locator(".count-line .count")).to_have_text(
        f"{is_test.sum()} of {is_test.sum()} pictures of the test split"
    )
    wrong = is_test & ~outcomes.right[0]
    finding = f"{(wrong & outcomes.right[2]).sum()} of {wrong.sum()} wrong first answers right"
    expect(inspect.locator(".finding")).to_contain_text(finding)
    assert inspect.locator("input[data-facet=split][data-value=test]").is_checked()
    expect(inspect.locator(".inspect .notes")).to_contain_text("Test split only")
    recall = outcomes.recall(is_test, "R@1")
    for s, space in enumerate(SPACES):
        row, (mean, low, high) = inspect.locator(f".inspect-summary tr[data-space={space}]"), recall["spaces"][s]
        expect(row.locator("td.figure")).to_have_text(f"{mean:.3f}")
        expect(row).to_contain_text(f"{low:.3f} to {high:.3f}")
        if s:
            step = recall["steps"][s - 1][0]
            expect(row.locator(".step")).to_contain_text(f"{step:+.3f}".replace("-", "\u2212"))
    assert listed(inspect) == by_gain(outcomes, is_test)[:PER_LEAF]
    row = outcomes.query_ids.tolist().index(listed(inspect)[0])
    case = inspect.locator(".case").first
    expect(case).to_contain_text(attributor.references[outcomes.exemplar_ids[row][0]].title)
    for s, space in enumerate(SPACES):
        answer = "Right" if outcomes.right[s, row] else "Wrong"
        expect(case.locator(f".answer[data-space={space}]")).to_contain_text(answer)
        if not outcomes.right[s, row]:
            expect(case.locator(f".answer[data-space={space}]")).to_contain_text(
                f"source at {outcomes.best_rank[s, row]}"
            )
    choose(inspect, "split", "train")
    expect(inspect.locator(".inspect .notes")).to_contain_text("flatter")


def test_filters_count_and_list_what_python_counts(inspect: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    choose(inspect, "outcome", "fixed_by_alignment")
    rows = is_test & outcomes.members("fixed_by_alignment")
    expect(inspect.locator(".count-line .count")).to_have_text(
        f"{rows.sum()} of {is_test.sum()} pictures of the test split"
    )
    expect(inspect.locator(".inspect-summary table")).to_be_hidden()
    assert listed(inspect) == by_gain(outcomes, rows, 0, 1)[:PER_LEAF]
    for split in ("test", "validation", "train"):
        expected = outcomes.members("fixed_by_alignment") & (outcomes.labels["split"] == split)
        assert count(inspect, "split", split) == expected.sum(), split
    for outcome in ("wrong_everywhere", "broken_by_disentangling"):
        assert count(inspect, "outcome", outcome) == (is_test & outcomes.members(outcome)).sum(), outcome
    for kind in ("media", "style"):
        assert count(inspect, "type", kind) == (rows & (outcomes.labels["type"] == kind)).sum(), kind
    choose(inspect, "outcome", "right_everywhere")
    rows |= is_test & outcomes.members("right_everywhere")
    choose(inspect, "type", "media")
    rows &= outcomes.labels["type"] == "media"
    expect(inspect.locator(".count-line b")).to_have_text(str(rows.sum()))
    assert set(listed(inspect)) == set(outcomes.query_ids[rows].tolist())
    expect(inspect.locator(".inspect .notes")).to_contain_text("is not drawn")
    assert inspect.locator(".chosen-word").count() == 4
    inspect.locator(".chosen-words .plain").click()
    expect(inspect.locator(".count-line b")).to_have_text(str(is_test.sum()))


def test_order_follows_the_weight_in_both_directions(inspect: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    inspect.locator(".panel-head select").select_option("weight.backbone")
    levels = np.rint(outcomes.weight[0] * 65535)
    ids = np.flatnonzero(is_test)
    falling = [int(outcomes.query_ids[i]) for i in sorted(ids, key=lambda i: (-levels[i], i))]
    assert listed(inspect) == falling[:PER_LEAF]
    inspect.locator(".panel-head .plain", has_text="Largest first").click()
    rising = [int(outcomes.query_ids[i]) for i in sorted(ids, key=lambda i: (levels[i], i))]
    assert listed(inspect) == rising[:PER_LEAF]


def test_the_walk_goes_on_in_compare_and_back_is_the_same_place(
    inspect: Page, outcomes: Outcomes, is_test: np.ndarray
) -> None:
    choose(inspect, "split", "train")
    inspect.get_by_role("button", name="Next", exact=True).first.click()
    ids = by_gain(outcomes, is_test | (outcomes.labels["split"] == "train"))
    assert listed(inspect) == ids[PER_LEAF : 2 * PER_LEAF]
    inspect.locator(".case").first.focus()
    inspect.keyboard.press("ArrowDown")
    inspect.keyboard.press("ArrowDown")
    place = inspect.evaluate("window.scrollY")
    inspect.keyboard.press("Enter")
    expect(inspect.locator("#view-compare")).to_be_visible()
    asked = ids[PER_LEAF + 2]
    inspect.wait_for_function(ANSWERED, arg=asked)
    expect(inspect.locator(".walk")).to_contain_text(f"{PER_LEAF + 3} of {len(ids)} chosen")
    inspect.go_back()
    expect(inspect.locator("#view-inspect")).to_be_visible()
    assert listed(inspect) == ids[PER_LEAF : 2 * PER_LEAF]
    expect(inspect.locator(f".case[data-query='{asked}']")).to_be_focused()
    assert abs(inspect.evaluate("window.scrollY") - place) < 2
    assert inspect.locator("input[data-facet=split][data-value=train]").is_checked()
    inspect.locator(".case").last.click()
    inspect.locator(".walk").get_by_role("button", name="Next").click()
    inspect.wait_for_function(ANSWERED, arg=ids[2 * PER_LEAF])
    inspect.locator(".walk").get_by_role("button", name="Back to Inspect").click()
    assert listed(inspect) == ids[2 * PER_LEAF : 3 * PER_LEAF], "the leaf turns with the walk"
    expect(inspect.locator(".case").first).to_be_focused()
    inspect.locator(".case").first.click()
    expect(inspect.locator(".walk")).to_be_visible()
    ask(inspect, next(i for i in range(90) if i not in ids))
    expect(inspect.locator(".walk")).to_be_hidden()


def test_address_brings_back_what_was_chosen_and_an_odd_one_the_first_view(
    inspect: Page, outcomes: Outcomes, is_test: np.ndarray
) -> None:
    choose(inspect, "type", "painted")
    inspect.locator(".panel-head select").select_option("gain.disentangling")
    tab(inspect, "recall")
    inspect.get_by_role("button", name="MRR").click()
    inspect.locator(".segment button[data-value=generator]").click()
    link = inspect.evaluate("window.attributionPage.linkHere()")
    page = follow(follow(inspect, "?view=inspect"), link)
    expect(page.locator(".inspect-tabs [data-value=recall]")).to_have_attribute("aria-pressed", "true")
    assert page.locator("input[data-facet=type][data-value=painted]").is_checked()
    expect(page.get_by_role("button", name="MRR")).to_have_attribute("aria-pressed", "true")
    rows = is_test & (outcomes.labels["type"] == "painted")
    for space, (mean, *_) in zip(SPACES, outcomes.recall(rows, "MRR")["spaces"], strict=True):
        figure = page.locator(f".inspect-summary tr[data-space={space}] td.figure")
        expect(figure).to_have_text(f"{mean:.3f}")
    tab(page, "queries")
    assert listed(page) == by_gain(outcomes, rows, 1)[:PER_LEAF]
    odd = "type=%3Cimg%3E&order=x&tab=y&lens=z&leaf=-4&pair=a%7Cb&hub=backbone%7C99999999&measure=q"
    follow(page, f"?view=inspect&inspect={quote(odd)}")
    expect(page.locator(".count-line b")).to_have_text(str(is_test.sum()))


def test_recall_by_kind_is_pythons_and_a_row_filters(inspect: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    tab(inspect, "recall")
    rows = inspect.locator(".recall-by tbody tr")
    expect(rows).to_have_count(5)
    types = outcomes.labels["type"]
    for value in sorted(set(types[is_test])):
        row = rows.filter(has=inspect.locator(f"button[data-value='{value}']"))
        told = outcomes.recall(is_test & (types == value), "R@1")["spaces"]
        for space, (mean, low, high) in zip(SPACES, told, strict=True):
            expect(row.locator(f"td[data-space={space}]")).to_contain_text(f"{mean:.3f}")
            expect(row.locator(f"td[data-space={space}]")).to_contain_text(f"{low:.3f} to {high:.3f}")
    inspect.locator(".recall-by button[data-value=photo]").click()
    expected = is_test & (outcomes.labels["type"] == "photo")
    assert set(listed(inspect)) == set(outcomes.query_ids[expected].tolist())


def test_a_confusion_filters_the_list(inspect: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    choose(inspect, "split", "test")  # all splits
    tab(inspect, "confusions")
    inspect.locator(".panel-head .segment button[data-value=backbone]").click()
    wrong, groups = ~outcomes.right[0], outcomes.reference_labels["group"]
    truth = groups[[ids[0] for ids in outcomes.exemplar_ids]][wrong].tolist()
    counted = Counter(zip(truth, groups[outcomes.neighbours[0, wrong, 0]].tolist(), strict=True))
    pairs = sorted(((*pair, n) for pair, n in counted.items()), key=lambda pair: (-pair[2], *pair[:2]))
    first = inspect.locator(".pairs section").first.locator(".pair").first
    expect(first).to_contain_text(f"{pairs[0][0]} taken for")
    first.click()
    expect(inspect.locator(".count-line b")).to_have_text(str(pairs[0][2]))
    assert len(listed(inspect)) == pairs[0][2]
    expect(inspect.locator(".chosen-words")).to_contain_text("First glance: ")


def test_a_hub_filters_the_list(inspect: Page, outcomes: Outcomes, is_test: np.ndarray) -> None:
    tab(inspect, "hubs")
    column = inspect.locator(".hubs .lane[data-space=backbone]")
    counts, _ = outcomes.occurrence("backbone", is_test)
    expect(column).to_contain_text(f"{skewness(counts):.2f}".replace("-", "\u2212"))
    top = column.locator(".hub").first
    reference = int(top.get_attribute("data-ref") or -1)
    assert counts[reference] == counts.max()
    expect(top.locator(".count")).to_contain_text(str(counts[reference]))
    top.click()
    expected = set(outcomes.query_ids[is_test & outcomes.retrieving("backbone", reference)].tolist())
    expect(inspect.locator(".count-line b")).to_have_text(str(len(expected)))
    assert set(listed(inspect)) <= expected
    link = inspect.evaluate("window.attributionPage.linkHere()")
    inspect.locator(".chosen-words .plain").click()
    expect(inspect.locator(".count-line b")).to_have_text(str(is_test.sum()))
    follow(inspect, link)
    expect(inspect.locator(".count-line b")).to_have_text(str(len(expected)))


def test_a_fault_is_told_and_tried_again_and_outcomes_travel_once_and_pictures_a_leaf_at_a_time(visit: Visit) -> None:
    page, bodies = visit.page, []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    fault = json.dumps({"error": "The disk is on fire."})
    page.route("**/component_server/**", lambda route: route.fulfill(body=fault, content_type="application/json"))
    asked: Any = lambda: sum("inspect_outcomes" in body for body in bodies)  # noqa: E731
    assert asked() == 0, "nothing is fetched before the view is opened"
    page.get_by_role("button", name="Inspect").click()
    expect(page.locator("#view-inspect .notice")).to_contain_text("The disk is on fire.")
    page.unroute("**/component_server/**")
    page.get_by_role("button", name="Try again").click()
    for view in ("Inspect", "Compare", "Inspect", "Why it works", "Inspect"):
        show(page, view)
    assert asked() == 2, "the one that failed, and one"
    synthetic = {url for url in visit.requests if "/synth/" in url}
    assert len(synthetic) <= PER_LEAF + 13, "a leaf, and the strip of examples with the picture shown"


def test_no_query_left_is_said_and_undone(inspect: Page, is_test: np.ndarray) -> None:
    choose(inspect, "outcome", "wrong_everywhere")
    inspect.evaluate(
        "() => { for (const one of document.querySelectorAll('.option input'))"
        " if (one.dataset.facet === 'group' && one.closest('.is-none')) { one.click(); return; } }"
    )
    expect(inspect.locator("#inspect-panel-queries .notice")).to_be_visible()
    for name in ("recall", "confusions", "hubs"):
        tab(inspect, name)
        expect(inspect.locator(f"#inspect-panel-{name}")).to_contain_text("remove a filter")
    tab(inspect, "queries")
    inspect.locator("#inspect-panel-queries .notice button").click()
    expect(inspect.locator(".count-line b")).to_have_text(str(is_test.sum()))
