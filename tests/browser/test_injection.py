"""A stranger's bundle and a visitor's files whose every word is a script: in no view does one run, and none becomes a link."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from aad.bundle import Bundle
from aad.spaces import SPACES
from interface.page import DEFAULT_K
from interface.requests import MISFIT
from tests.browser.visits import (
    Visit,
    ask_own,
    canvas_of,
    options,
    panel,
    pixels,
    point_at,
    show,
    show_maps,
    take,
    talk,
)
from tests.fakes import FakeAttributor, in_columns
from tests.spoilt_bundles import signed, small_bundle
from tests.test_hostile_tables import GOOD

NAME = "\"'><img src=x onerror=window.__x=1>"  # of files as well: without a slash
EVIL = NAME + "</script><script>window.__x=1</script><svg onload=window.__x=1>${window.__x=1}{{window.__x=1}}"
LINK = "javascript:window.__x=1//https://example.org"
RAN = """() => [window.__x, ...[...document.querySelectorAll('img[src="x"], svg[onload], [onerror], a[href^="javascript"]')]
    .map(one => one.outerHTML.slice(0, 200))].filter(one => one !== undefined)"""


def strange(one: Any, *texts: str, **more: str) -> Any:
    """A reference or query with a script in each of these texts, and in the name of its picture."""
    path = one.path.rename(one.path.with_name(NAME + one.path.name))
    return replace(one, path=path, **{text: f"{EVIL} {getattr(one, text)}" for text in texts}, **more)


class Stranger(FakeAttributor):
    """Every text that a bundle may bring, and the names of its pictures."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, n_per_group=3)
        urls = (LINK, f"https://example.org/{EVIL}", EVIL)
        texts = ("title", "source", "licence", "author", "concept", "group", "split")
        renamed = [strange(one, *texts, url=urls[one.reference_id % 3]) for one in self.references]
        self.references = in_columns(renamed, folder)
        self.queries = tuple(
            strange(one, "type", "generator", "concept", split="test" if one.query_id % 3 else EVIL)
            for one in self.queries
        )
        self.stamp = {"name": EVIL, "backbone": EVIL, "references": 39, "bundle": EVIL, "versions": {EVIL: EVIL}}
        self.metrics = {"held_out_generators": [f"{EVIL} multistyle26"]}
        row = GOOD["generalisation.json"]["test"]["photo"] | {"left_out": EVIL}
        theory = copy.deepcopy(GOOD["theory.json"])
        theory["settings"][EVIL] = theory["chance"][EVIL] = {}
        for column in (*theory["spaces"].values(), theory["oracle"]):
            column["closeness"] = {EVIL: {EVIL: 0.5}}
        families = {"test": {EVIL: row, f"{EVIL}, all": row | {"n_queries": 9}}}
        bundle = small_bundle(folder / "of a stranger")
        for name, table in (("theory.json", theory), ("generalisation.json", families)):
            signed(bundle, name, json.dumps(table).encode())
        self.bundle = Bundle.open(bundle)


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return Stranger(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def _nothing_ran(page: Page, desk: Visit) -> Iterator[None]:
    yield
    nothing_ran(page)
    assert not [url for url in desk.requests if url.endswith("/x")], "a picture that only a script's markup names"


def nothing_ran(page: Page) -> None:
    assert page.evaluate(RAN) == []


def test_compare_its_details_tooltips_filters_tables_and_explanations(page: Page, attributor: FakeAttributor) -> None:
    expect(page.locator("#answer")).to_contain_text(NAME)
    nothing_ran(page)
    for reference_id in range(3):  # one with each kind of address
        page.evaluate("id => window.attributionPage.set('selected', {id})", reference_id)
        expect(page.locator(".details h2")).to_have_text(attributor.references[reference_id].title)
        links = page.locator(".details a").evaluate_all("all => all.map(one => one.protocol)")
        assert links == ["https:"] * (reference_id == 1)
        nothing_ran(page)
    page.evaluate("window.attributionPage.set('selected', null)")  # the card lies over the button
    for which in range(page.locator(".filter > summary").count()):
        options(page).locator(".filter > summary").nth(which).click()
        expect(page.locator(".filter[open] li").first).to_contain_text(NAME)
        page.keyboard.press("Escape")
    page.evaluate("document.querySelector('.options').open = false")  # it lies over the maps
    show_maps(page)
    point_at(page, pixels(page, attributor.coordinates["aligned"], canvas_of("aligned"))[5])
    expect(page.locator(".map[data-space=aligned] .tip")).to_contain_text(NAME)
    nothing_ran(page)
    for field in ("source", "licence", "concept", "split", "group"):
        for button in page.locator(f"#maps .toolbar [data-value={field}]").all():
            button.click()
            nothing_ran(page)
    page.evaluate("window.attributionPage.set('selection', new Set([0, 1]))")
    expect(page.locator(".gathered button").first).to_have_attribute("title", attributor.references[0].title)
    nothing_ran(page)
    page.evaluate("window.attributionPage.explainMatch(2, {scroll: false})")
    expect(page.locator(".explain-body h3")).to_contain_text(NAME)


def test_inspect_why_and_talk(page: Page) -> None:
    show(page, "Inspect")
    for name in ("queries", "recall", "confusions", "hubs"):
        page.locator(f".inspect-tabs [data-value={name}]").click()
        if name == "confusions":
            page.locator(f"#inspect-panel-{name}").get_by_role("button", name="First glance").click()
        expect(page.locator(f"#inspect-panel-{name}")).to_contain_text(NAME)
        nothing_ran(page)
    show(page, "Why it works")
    expect(page.locator("#view-why")).to_contain_text(NAME)
    nothing_ran(page)
    talk(page)
    for _ in range(25):
        nothing_ran(page)
        page.keyboard.press("ArrowRight")


def test_files_of_a_visitor_the_batch_and_both_reports_which_open_by_themselves_with_every_picture(
    page: Page, profile: BrowserContext, tmp_path: Path
) -> None:
    mine = ask_own(page, tmp_path / f"{NAME}.png")
    nothing_ran(page)
    show(page, "Many pictures")
    view = page.locator(".batch-view")
    broken = tmp_path / f"{NAME} broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    view.locator("input[type=file]").set_input_files([mine, broken])
    expect(view.locator(".takeaway-status")).to_contain_text("1 of 2")
    expect(view.locator(".batch tbody th").first).to_have_text(mine.name)
    nothing_ran(page)
    report, asked = profile.new_page(), list[str]()
    report.on("request", lambda request: asked.append(request.url))
    one = take(page, "One report (HTML)", tmp_path, view)
    show(page, "Compare")
    panel(page)
    for saved in (one, take(page, "Report (HTML)", tmp_path)):
        address = saved.as_uri()
        report.goto(address)
        expect(report.locator("body")).to_contain_text(NAME)
        nothing_ran(report)
        assert report.locator("script, link, iframe").count() == 0
        shown = report.locator("img").evaluate_all("all => all.map(image => image.naturalWidth)")
        assert len(shown) >= 1 + len(SPACES) * DEFAULT_K and all(shown), "the query, and three columns"
        assert report.evaluate("document.documentElement.scrollWidth <= innerWidth")
        links = report.locator("a").evaluate_all("all => all.map(one => one.href)")
        assert all(link.startswith(("https://example.org/", address + "#")) for link in links), links
        assert {url for url in asked if not url.startswith("data:")} == {address}
        asked.clear()
    report.close()


def test_an_address_that_leads_to_the_page(profile: BrowserContext, address: str) -> None:
    wanted = quote(json.dumps({"group": [EVIL], EVIL: [EVIL]}))
    names = ("view", "query", "reference", "k", "filter", "explain", "selected", "inspect", EVIL)
    given = "&".join(f"{quote(name)}={wanted if name == 'filter' else quote(EVIL)}" for name in names)
    page = profile.new_page()
    page.goto(f"{address}?{given}")
    expect(page.locator("#examples")).to_contain_text(NAME)
    expect(page.locator("#answer .notice h2")).to_have_text(MISFIT)
    nothing_ran(page)
    page.close()
