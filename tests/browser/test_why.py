"""Why it works in a real browser: its figures are the bundle's, and the toy is at the minimum it speaks of."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from aad.spaces import SPACES
from interface.why import table
from tests.browser.visits import show
from tests.fakes import FakeAttributor

SHEET = Path(__file__).resolve().parents[2] / "docs" / "exercise.md"


@pytest.fixture
def theory(attributor: FakeAttributor) -> dict[str, Any]:
    return table(attributor.bundle, "theory.json")


@pytest.fixture
def why(page: Page) -> Page:
    show(page, "Why it works")
    page.get_by_role("button", name="Reset", exact=True).click()
    return page


def exhibit(page: Page, title: str) -> Any:
    found = page.locator(".exhibit", has=page.locator("h3", has_text=title))
    found.evaluate("one => { one.open = true; }")
    return found


def test_a_charts_words_hold_the_figures_of_the_bundle(why: Page, theory: dict[str, Any]) -> None:
    def words(title: str) -> str:
        labels = exhibit(why, title).locator("[role=img]").evaluate_all("all => all.map(one => one.ariaLabel)")
        return " ".join(labels)

    for name, stored in {**theory["spaces"], "oracle": theory["oracle"]}.items():
        assert f"{name} {np.mean(stored['canonical_correlations']):.2f}" in words("How much does one tell")
        strong = sum(value >= stored["spectrum"][0] / 2 for value in stored["spectrum"])
        assert f"{name} {strong}" in words("Is one trait louder")
        for figures in (*stored["closeness"].values(), {"recall@1": stored["recall@1"]}):
            assert all(f"{value:.4f} {name}" in words("Does it become what pairs") for value in figures.values())


def test_charts_are_read_by_keyboard_and_pointer(why: Page, theory: dict[str, Any]) -> None:
    dots = exhibit(why, "Does it become what pairs")
    dots.locator(".dot-chart").focus()
    why.keyboard.press("ArrowDown")
    expect(dots.locator(".readout")).to_contain_text("recall@1: ")
    why.keyboard.press("Escape")
    expect(dots.locator(".readout")).to_contain_text("Grey mark: chance")
    lines = exhibit(why, "How much does one tell")
    lines.locator(".panels").focus()
    why.keyboard.press("End")
    expect(lines.locator(".readout")).to_contain_text("Mix 32")
    last = theory["spaces"]["aligned"]["canonical_correlations"][31]
    expect(lines.locator(".readout")).to_contain_text(f"{last:.2f} aligned")
    expect(lines.locator(".guide").first).to_be_visible()
    box = lines.locator(".lines").nth(2)
    size = box.bounding_box()
    assert size is not None
    box.hover(position={"x": size["width"] * 4.5 / 32, "y": size["height"] / 2})
    fifth = theory["spaces"]["disentangled"]["canonical_correlations"][4]
    expect(lines.locator(".readout")).to_contain_text("Mix 5:")
    expect(lines.locator(".readout")).to_contain_text(f"{fifth:.2f} disentangled")


def test_families_are_drawn_where_their_figures_are(why: Page, attributor: FakeAttributor) -> None:
    chart = exhibit(why, "Does it hold for generators")
    families = table(attributor.bundle, "generalisation.json")["test"]
    rows = [row for name, row in families.items() if name != "arbitrary_style, all"]
    drawn = chart.locator(".dot-row:not(.dot-axis)")
    assert drawn.count() == len(rows)
    places = drawn.evaluate_all(
        """rows => rows.map(row => [...row.querySelectorAll('.dots .dot')].map((dot, i) => {
        const reach = row.querySelectorAll('.whisker')[i].style;
        return [parseFloat(dot.style.left), parseFloat(reach.left), parseFloat(reach.left) + parseFloat(reach.width)]; }))"""
    )
    for place, row in zip(places, rows, strict=True):
        for shown, space in zip(place, SPACES, strict=True):
            interval = row["spaces"][space]["recall@1"]
            assert shown == pytest.approx([100 * interval[part] for part in ("mean", "low", "high")], abs=1e-3)
    drawn.nth(0).hover()
    expect(chart.locator(".readout")).to_contain_text("465 pictures: 0.22 (0.17 to 0.27) backbone")


def measured(state: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The map shown, the (2, 2) covariances within and over the points it is given, and the share that it matches."""
    domains = [np.array(state["data"][name]) for name in ("real", "synthetic")]  # (n, v, 2) each
    within = np.mean([np.cov(views.T) for images in domains for views in images], axis=0)
    centred = [images - images.mean((0, 1)) for images in domains]
    everything = np.concatenate(centred).reshape(-1, 2)
    a, b, c = state["map"]
    shown = np.array([[a, b], [b, c]])
    real, synthetic = ([shown @ views[0] for views in images] for images in centred)
    right = sum(
        min(range(len(real)), key=lambda i: float(np.sum((real[i] - point) ** 2))) == j
        for j, point in enumerate(synthetic)
    )
    return shown, within, everything.T @ everything / len(everything), right / len(real)


TOY = """() => { const { data, weight, solution, embedding, t, rawShare } = window.attributionPage.toyNow;
    return { data, weight, map: solution.map, powers: solution.powers, share: embedding.share, t, rawShare }; }"""


def test_the_toy_is_at_the_minimum(why: Page) -> None:
    """By the conditions of one, with a multiplier that keeps the variance; the problem is convex."""
    for place in (0.0, 0.08, 0.51, 1.0):
        why.evaluate("t => window.attributionPage.toyNow.go(t)", place)
        state = why.evaluate(TOY)
        shown, within, covariance, share = measured(state)
        square = shown @ shown
        multiplier = state["weight"] - np.trace(square @ within) / 2
        slope = within + multiplier * covariance
        np.testing.assert_allclose(square @ slope, state["weight"] * np.eye(2), atol=1e-5)
        assert np.linalg.eigvalsh(slope)[0] > -1e-5 and np.trace(square @ covariance) == pytest.approx(2)
        assert state["share"] == share
        words = why.locator(".toy-side").nth(1).locator(".toy-title b").inner_text()
        assert words == f"{round(share * 16)} of 16 matched"


def test_the_toy_at_its_three_places_is_what_the_exercise_says(why: Page) -> None:
    why.emulate_media(reduced_motion="reduce")
    seen = []
    for name in ("Alignment alone", "In balance", "Infomax alone"):
        why.get_by_role("button", name=name).click()
        expect(why.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
        seen.append(why.evaluate(TOY))
    found = [round(16 * state["share"]) for state in seen]
    sheet = " ".join(SHEET.read_text("utf-8").split())
    assert f"{found[0]} of 16, {found[1]} of 16 and {found[2]} of 16" in sheet
    assert f"Before any step it is {round(16 * seen[0]['rawShare'])} of 16" in sheet
    assert seen[0]["powers"] == [2, 0], "one of two dimensions is given up"
    shown, within, _, _ = measured(seen[1])
    views = shown @ within @ shown
    np.testing.assert_allclose(views, views[0, 0] * np.eye(2), atol=0.02 * views[0, 0])
    shown, _, covariance, _ = measured(seen[2])
    np.testing.assert_allclose(shown @ covariance @ shown, np.eye(2), atol=0.1)
    best = why.evaluate(
        """() => { const path = document.querySelector('.toy-curve .line-other').getAttribute('d');
        const heights = path.slice(1).split('L').map(pair => Number(pair.split(' ')[1]));
        return heights.indexOf(Math.min(...heights)) / (heights.length - 1); }"""
    )
    assert abs(best - seen[1]["t"]) < 0.15, "the mean of other draws has its top near the balance"


def test_the_toy_by_keyboard_and_back(why: Page) -> None:
    start = why.evaluate(TOY)
    slider = why.locator(".toy input[type=range]")
    slider.focus()
    why.keyboard.press("End")
    assert why.evaluate(TOY)["t"] == 1
    assert "Infomax" in (slider.get_attribute("aria-valuetext") or "")
    why.keyboard.press("ArrowLeft")
    assert 0.8 < why.evaluate(TOY)["t"] < 1
    why.get_by_role("button", name="New pictures").click()
    assert why.evaluate(TOY)["data"] != start["data"]
    why.get_by_role("button", name="Reset").click()
    assert why.evaluate(TOY) == start
    plots = why.locator(".toy-plots")
    plots.focus()
    why.keyboard.press("ArrowRight")
    expect(why.locator(".toy .readout")).to_contain_text(re.compile("^Source 1: after the map"))
    assert why.locator(".toy-view").count() == 2 * 2 * 8, "the views of both pictures, in both drawings"
    why.keyboard.press("Escape")
    assert why.locator(".toy-view").count() == 0
    why.get_by_role("button", name="Infomax alone").click()  # it travels there, and arrives
    expect(why.get_by_role("button", name="Infomax alone")).to_have_attribute("aria-pressed", "true")
    why.wait_for_function(f"({TOY})().t === 1")
