"""The maps in a real browser: moved together, linked, lassoed, coloured, morphed; quick at 50,000 references."""

import itertools
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from playwright.sync_api import Browser, Page, expect

from aad.search import ExactIndex
from aad.spaces import SPACES
from aad.vectors import l2_normalise
from interface import present
from tests.browser.visits import Visit, canvas_of, pixels, point_at, rest, show, show_maps
from tests.fakes import FakeAttributor, in_columns

DRAWN = "[...document.querySelectorAll('.map .plot canvas')].map(canvas => canvas.toDataURL())"
HOVERED = "window.attributionPage.state.hover"
CAMERAS = "window.attributionPage.everyMap.all.map(({ camera }) => [camera.x, camera.y, camera.zoom])"
MOVED = "[...window.attributionPage.movingMap.map.view.geometry.points]"
SELECTED = "[...(window.attributionPage.state.selection ?? [])].sort((a, b) => a - b)"

HOVER_MS = 50  # that a hover over 50,000 references may take
FIRST_BYTES = 3_000_000  # that their page may send until it is there, pictures included
# Times some hovers, each from the change until a pixel of all three maps can be read back. The maps are drawn at once, so that the
# browser's own pace of 60 frames a second is not in the figure.
HOVERS = """() => {
  const page = window.attributionPage, maps = page.everyMap.all.slice(0, 3), { geometry } = maps[0].view;
  const times = Array.from({ length: 30 }, (_, i) => {
    const [x, y] = geometry.points.slice(2 * 1613 * i), began = performance.now();
    page.set("hover", geometry.nearest(x, y, 16 * maps[0].perPixel(), page.passingNow()));
    maps.forEach((map) => { map.draw(); map.canvas.getContext("2d").getImageData(0, 0, 1, 1); });
    return performance.now() - began;
  });
  page.set("hover", null);
  return times.slice(5);
}"""


def loneliest(coordinates: np.ndarray, low: float = 0.2, high: float = 0.8) -> int:
    """The reference farthest from its nearest neighbour, among those well inside the frame."""
    gaps = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=2) + 9 * np.eye(len(coordinates))
    inner = ((coordinates > low) & (coordinates < high)).all(axis=1)
    return int(np.where(inner, gaps.min(axis=1), -1).argmax())


@pytest.fixture
def maps(page: Page) -> Page:
    show_maps(page)
    return page


def drag(page: Page, line: np.ndarray) -> None:
    point_at(page, line[0])
    page.mouse.down()
    for x, y in line[1:]:
        page.mouse.move(float(x), float(y), steps=3)
    page.mouse.up()


def test_wheel_and_drag_move_the_three_maps_together(maps: Page, attributor: FakeAttributor) -> None:
    places = attributor.coordinates[SPACES[1]]
    chosen = loneliest(places)
    x, y = pixels(maps, places, canvas_of("aligned"))[chosen]
    point_at(maps, np.array([x, y]))
    assert maps.evaluate(HOVERED) == chosen
    maps.mouse.wheel(0, -400)
    maps.wait_for_function("window.attributionPage.everyMap.all[1].camera.zoom > 1.5")
    assert maps.evaluate(HOVERED) == chosen, "what lies under the pointer stays there"
    cameras = maps.evaluate(CAMERAS)
    assert all(camera == cameras[0] for camera in cameras)
    drag(maps, np.array([[x, y + 30], [x + 20, y + 45], [x + 40, y + 60]]))
    point_at(maps, np.array([x + 40, y + 30]))
    assert maps.evaluate(HOVERED) == chosen, "the map follows the hand"
    moved = maps.evaluate(CAMERAS)
    assert moved[0] != cameras[0] and all(camera == moved[0] for camera in moved)
    assert maps.locator(".details").is_hidden(), "a drag is no click"
    there = pixels(maps, attributor.coordinates[SPACES[0]], canvas_of("backbone"), tuple(moved[0]))
    middle = pixels(maps, np.array([moved[0][:2]]), canvas_of("backbone"), tuple(moved[0]))[0]
    nearest = int(np.linalg.norm(there - middle, axis=1).argmin())
    point_at(maps, there[nearest])
    assert maps.evaluate(HOVERED) == nearest, "the other maps show the same part of the frame"
    maps.get_by_role("button", name="Show the whole map").click()
    assert maps.evaluate(CAMERAS)[0] == [0.5, 0.5, 1]


def test_keys_zoom_all_maps_and_open_and_select_pictures(maps: Page, attributor: FakeAttributor) -> None:
    canvas, title = maps.locator(canvas_of("aligned")), maps.locator(".details h2")
    assert canvas.get_attribute("role") == "img" and "aligned" in (canvas.get_attribute("aria-label") or "")
    canvas.focus()
    for key, zoomed in (("+", True), ("-", False), ("+", True), ("0", False)):
        maps.keyboard.press(key)
        assert [camera[2] > 1.01 for camera in maps.evaluate(CAMERAS)] == [zoomed] * 4
    chosen = []
    for key in ("ArrowRight", "ArrowDown"):
        maps.keyboard.press(key)
        chosen.append(maps.evaluate(HOVERED))
        maps.keyboard.press(" ")
        assert len(set(chosen)) == len(chosen) and maps.evaluate(SELECTED) == sorted(chosen)
    maps.keyboard.press(" ")
    assert maps.evaluate(SELECTED) == chosen[:1], "once more takes it out again"
    maps.keyboard.press("Enter")
    expect(title).to_have_text(attributor.references[chosen[1]].title)
    maps.keyboard.press("Escape")
    x, y = pixels(maps, attributor.coordinates[SPACES[2]], canvas_of("disentangled"))[40]
    point_at(maps, np.array([x, y]))
    pointed = maps.evaluate(HOVERED)
    maps.mouse.click(float(x), float(y))
    expect(title).to_have_text(attributor.references[pointed].title)


def test_hover_and_rows_are_linked_both_ways(page: Page, desk: Visit, attributor: FakeAttributor) -> None:
    show_maps(page)
    places = attributor.coordinates[SPACES[2]]
    match = page.locator(".lane[data-space=disentangled] .hit")
    matched = [int(reference) for reference in match.evaluate_all("all => all.map(one => one.dataset.ref)")]
    target = pixels(page, places, canvas_of("disentangled"))
    alone = max(matched, key=lambda i: np.sort(np.linalg.norm(places - places[i], axis=1))[1])
    asked, before = len(desk.requests), page.evaluate(DRAWN)
    point_at(page, target[alone])
    rest(page)
    assert page.evaluate(HOVERED) == alone
    expect(page.locator(".map[data-space=disentangled] .tip")).to_be_visible()
    assert page.locator(f".hit.is-linked[data-ref='{alone}']").count() >= 1
    after = page.evaluate(DRAWN)
    assert all(old != new for old, new in zip(before, after, strict=True)), "a ring on every map"
    match.first.hover()
    rest(page)
    linked = page.locator(".hit.is-linked").evaluate_all("all => all.map(one => Number(one.dataset.ref))")
    assert set(linked) == {matched[0]} == {page.evaluate(HOVERED)}
    assert all(old != new for old, new in zip(before, page.evaluate(DRAWN), strict=True)), "and of a match"
    assert not [url for url in desk.requests[asked:] if "/gradio_api/file=" not in url], "only pictures of tips"


def test_lasso_selects_what_it_encloses_everywhere_which_is_shown_and_opened_and_cleared(
    maps: Page, desk: Visit, attributor: FakeAttributor
) -> None:
    places = pixels(maps, attributor.coordinates[SPACES[0]], canvas_of("backbone"))
    middle = np.median(places, axis=0)
    line = middle + np.array([[-110, -70], [20, -25], [95, -90], [70, 80], [0, 20], [-80, 100], [-110, -70]])
    expected = set(np.flatnonzero(Outline(line).contains_points(places)).tolist())
    assert 10 < len(expected) < len(places) - 10
    asked = len(desk.requests)
    maps.keyboard.down("Shift")
    drag(maps, line)
    maps.keyboard.up("Shift")
    assert set(maps.evaluate(SELECTED)) == expected
    maps.get_by_role("button", name="Clear selection").click()
    expect(maps.locator(".gathered")).to_be_hidden()
    maps.get_by_role("button", name="Lasso").click()
    drag(maps, line)
    assert set(maps.evaluate(SELECTED)) == expected
    rest(maps)
    assert all("/gradio_api/file=" in url for url in desk.requests[asked:]), "a lasso asks for its pictures only"
    shown = maps.locator(".gathered button").evaluate_all("all => all.map(one => Number(one.dataset.ref))")
    assert set(shown) == expected, "and shows them"
    shares = Counter(attributor.references[i].group for i in expected)
    for entry in maps.locator(".groups .group").all():
        name = entry.locator("span").first.inner_text()
        assert entry.locator(".number").inner_text() == f"{shares[name]} of 9"
    expect(maps.locator(".chosen")).to_have_text(f"{len(expected)} of {len(places)} pictures selected")
    maps.locator(".gathered button").last.click()
    expect(maps.locator(".details h2")).to_have_text(attributor.references[shown[-1]].title)
    maps.keyboard.press("Escape")
    assert maps.locator(".details").is_hidden() and set(maps.evaluate(SELECTED)) == expected
    maps.keyboard.press("Escape")
    assert maps.evaluate("window.attributionPage.state.selection") is None


def test_colours_follow_a_field_and_the_legend_counts_it(maps: Page, attributor: FakeAttributor) -> None:
    drawn = []
    for name, field in (("Concept group", "group"), ("Source", "source")):
        maps.locator(f".toolbar [data-value={field}]").click()
        rest(maps)
        drawn.append(maps.evaluate(DRAWN)[0])
        counts = Counter(getattr(reference, field) for reference in attributor.references)
        legend = "all => all.map(one => [one.querySelector('span').innerText, one.querySelector('.number').innerText])"
        assert dict(maps.locator(".groups .group").evaluate_all(legend)) == {key: str(n) for key, n in counts.items()}
        assert f"Coloured by {name.lower()}" in (maps.locator(canvas_of("aligned")).get_attribute("aria-label") or "")
    assert drawn[0] != drawn[1]
    maps.locator(".groups .group").nth(1).click()
    maps.mouse.move(5, 5)
    rest(maps)
    assert maps.evaluate(DRAWN)[0] != drawn[1], "a chosen entry stays lit"


def test_filter_dims_and_scopes_the_maps(maps: Page, attributor: FakeAttributor) -> None:
    places = pixels(maps, attributor.coordinates[SPACES[0]], canvas_of("backbone"))
    box = maps.locator(canvas_of("backbone")).bounding_box()
    assert box is not None
    maps.evaluate(
        "window.attributionPage.set('filter', { group: new Set(['birds', 'food']), source: null, licence: null })"
    )
    left, top, right, bottom = box["x"] + 4, box["y"] + 4, box["x"] + box["width"] - 4, box["y"] + box["height"] - 4
    maps.keyboard.down("Shift")
    drag(maps, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
    maps.keyboard.up("Shift")
    wanted = [i for i, reference in enumerate(attributor.references) if reference.group in ("birds", "food")]
    assert maps.evaluate(SELECTED) == wanted
    gaps = np.linalg.norm(places[:, None] - places[wanted], axis=2).min(axis=1)
    assert gaps.max() > 17
    point_at(maps, places[gaps.argmax()])
    assert maps.evaluate(HOVERED) is None, "what is filtered out cannot be hovered"


def test_morph_lies_between_the_spaces(page: Page, desk: Visit, attributor: FakeAttributor) -> None:
    page.get_by_role("button", name="Morph").click()
    show_maps(page)
    asked = len(desk.requests)
    before, after = (attributor.coordinates[space] for space in SPACES[:2])
    spaces = page.evaluate("window.attributionPage.state.answer.spaces")
    positions = [np.array(spaces[space]["position"]) for space in SPACES]
    for t in (0.0, 0.5, 1.0):
        page.evaluate(f"window.attributionPage.movingMap.go({t})")
        expected = (1 - t) * before + t * after
        shown = np.reshape(page.evaluate(MOVED), (-1, 2))
        np.testing.assert_allclose(shown, expected, atol=2 / 65535)
        query = page.evaluate("window.attributionPage.movingMap.map.query()")
        np.testing.assert_allclose(query, (1 - t) * positions[0] + t * positions[1], atol=1e-6)
        chosen = loneliest(expected)
        point_at(page, pixels(page, expected, ".morph .plot canvas")[chosen])
        assert page.evaluate(HOVERED) == chosen, "a point is caught where it is drawn"
    slider = page.get_by_role("slider", name="From one space to the next")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert 1 < page.evaluate("window.attributionPage.movingMap.at()") < 1.2
    assert (slider.get_attribute("aria-valuetext") or "").endswith("% of the way from aligned to disentangled")
    page.keyboard.press("End")
    np.testing.assert_allclose(
        np.reshape(page.evaluate(MOVED), (-1, 2)), attributor.coordinates[SPACES[2]], atol=2 / 65535
    )
    assert not [url for url in desk.requests[asked:] if "/gradio_api/file=" not in url], "only pictures of tips"


def test_morph_plays_unless_motion_is_unwanted(page: Page) -> None:
    at = "window.attributionPage.movingMap.at()"
    for wish in ("reduce", "no-preference"):
        page.emulate_media(reduced_motion=wish)
        page.get_by_role("button", name="Morph").click()
        rest(page)
        assert page.evaluate(at) == 0, "nothing moves unasked"
        page.get_by_role("button", name="Play").click()
        if wish == "reduce":
            assert page.evaluate(at) == 1, "a jump to the next space"
            expect(page.get_by_role("button", name="Play")).to_be_visible()
            page.evaluate("window.attributionPage.movingMap.go(0)")
    page.wait_for_function(f"{at} > 0.1 && {at} < 1")
    page.get_by_role("button", name="Pause").click()
    held = page.evaluate(at)
    rest(page)
    assert page.evaluate(at) == held


LACKING = {  # what reaches an eye without one kind of cone (Machado, Oliveira and Fernandes, 2009, severity 1), in linear RGB
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("is_dark", [True, False])
def test_marks_of_one_shape_differ_for_every_kind_of_eye(page: Page, is_dark: bool) -> None:
    page.evaluate("dark => document.body.classList.toggle('dark', dark)", is_dark)
    marks = page.evaluate("Array.from({ length: 21 }, (_, slot) => window.attributionPage.markAt(slot, 21))")
    assert len({(mark["hue"], mark["shape"]) for mark in marks}) == 21
    hues = [mark["hue"] for mark in marks if mark["shape"] == "circle"]

    def lab(hue: str, lacking: list[list[float]]) -> np.ndarray:
        rgb = np.array([int(hue[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        part = np.cbrt(xyz @ np.clip(np.array(lacking) @ linear, 1e-6, 1) / [0.9505, 1, 1.089])
        return np.array([116 * part[1] - 16, 500 * (part[0] - part[1]), 200 * (part[1] - part[2])])

    for cone, lacking in LACKING.items():
        for one, other in itertools.combinations(hues, 2):
            apart = np.linalg.norm(lab(one, lacking) - lab(other, lacking))
            assert apart > 20, f"{one} and {other} look alike without {cone} cones: {apart:.1f}"


def test_of_a_large_collection_cards_come_when_they_are_looked_at(
    browser: Browser, serve: Callable[[FakeAttributor], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(present, "AT_ONCE", 0)
    attributor = FakeAttributor(tmp_path)
    visit = Visit(browser, f"{serve(attributor)}?__theme=light").open()
    page, places = visit.page, attributor.coordinates[SPACES[1]]
    titles = attributor.references.words("title")
    assert not [url for url in visit.requests if "component_server" in url], "an answer brings its own cards along"
    assert sum(title in page.content() for title in titles) <= 24, "and no other is there"
    show_maps(page)
    point_at(page, pixels(page, places, canvas_of("aligned"))[chosen := loneliest(places)])
    tip = page.locator(".map[data-space=aligned] .tip")
    expect(tip).to_contain_text(titles[chosen])
    assert tip.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.evaluate("window.attributionPage.set('selected', { id: 40 })")
    expect(page.locator(".details h2")).to_have_text(titles[40])
    page.evaluate("window.attributionPage.set('selection', new Set(Array(96).keys()))")
    expect(page.locator(".gathered button").last).to_have_attribute("title", titles[95])
    show(page, "Inspect")
    expect(page.locator(".cases img[src='']")).to_have_count(0)
    visit.leave()


@pytest.mark.slow
def test_the_whole_page_carries_fifty_thousand_references(
    browser: Browser, serve: Callable[[FakeAttributor], str], tmp_path: Path
) -> None:
    attributor = FakeAttributor(tmp_path)
    n, few = 50_000, len(attributor.references)
    rng = np.random.default_rng(0)
    again = np.arange(n) % few
    attributor.references = in_columns((attributor.references[i] for i in again), tmp_path)
    for space, index in attributor._index.items():
        rows = index.embeddings[again]
        attributor._index[space] = ExactIndex(l2_normalise(rows + 0.05 * rng.normal(size=rows.shape)))
    attributor.coordinates = {
        space: np.clip(places[again] + 0.02 * rng.normal(size=(n, 2)), 0, 1).astype(np.float32)
        for space, places in attributor.coordinates.items()
    }
    visit, sent = Visit(browser, f"{serve(attributor)}?__theme=light"), []
    visit.page.on("requestfinished", lambda request: sent.append(request))
    page: Any = visit.open().page
    assert sum(request.sizes()["responseBodySize"] for request in sent) < FIRST_BYTES
    show_maps(page)
    expect(page.locator("#maps .lead")).to_contain_text("50,000 pictures")
    page.evaluate("window.attributionPage.set('selection', new Set(Array(9000).keys()))")
    expect(page.locator(".chosen")).to_have_text("9,000 of 50,000 pictures selected")
    canvas = page.locator(canvas_of("aligned"))
    canvas.hover(position={"x": 190, "y": 190})
    page.mouse.wheel(0, -300)
    page.wait_for_function("window.attributionPage.everyMap.all[1].camera.zoom > 1")
    assert page.evaluate("document.querySelectorAll('*').length") < 4000
    times = page.evaluate(HOVERS)
    assert statistics.median(times) < HOVER_MS, times
    visit.leave()
