"""A stranger's bundle and a visitor's files whose every word is a script: in no view does one run, and none becomes a link."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import PATIENCE, Visit, points_of, upload
from tests.fakes import FakeAttributor
from tests.test_hostile_tables import GOOD, INTERVAL, SPACES

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

NAME = "\"'><img src=x onerror=window.__x=1>"  # of files as well: without a slash
EVIL = NAME + "</script><script>window.__x=1</script><svg onload=window.__x=1>${window.__x=1}{{window.__x=1}}"
LINK = "javascript:window.__x=1//https://example.org"
RAN = """() => [window.__x, ...[...document.querySelectorAll('img[src="x"], svg[onload], [onerror], a[href^="javascript"]')]
    .map(one => one.outerHTML.slice(0, 200))].filter(one => one !== undefined)"""


class Stranger(FakeAttributor):
    """Every text that a bundle may bring, and the names of its pictures."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, n_per_group=3)
        self.references = tuple(
            replace(
                one,
                path=one.path.rename(one.path.with_name(f"{NAME}{one.reference_id}.webp")),
                title=f"{EVIL} {one.reference_id}",
                source=f"{EVIL} {one.reference_id % 3}",
                licence=f"{EVIL} {one.reference_id % 2}",
                author=EVIL,
                url=(LINK, f"https://example.org/{EVIL}", EVIL)[one.reference_id % 3],
                concept=f"{EVIL} {one.concept}",
                group=f"{EVIL} {one.group}",
                split=EVIL,
            )
            for one in self.references
        )
        self.queries = tuple(
            replace(
                one,
                path=one.path.rename(one.path.with_name(f"{NAME}{one.query_id}.webp")),
                type=f"{EVIL} {one.query_id % 2}",
                generator=f"{EVIL} {one.query_id % 2}",
                concept=f"{EVIL} {one.concept}",
                split="test" if one.query_id % 3 else EVIL,
                recipe={EVIL: EVIL},
            )
            for one in self.queries
        )
        self.stamp = {"name": EVIL, "backbone": EVIL, "references": 39, "bundle": EVIL, "versions": {EVIL: EVIL}}
        kinds = {f"{EVIL} {i}": {"recall": {"1": INTERVAL}, "mrr": INTERVAL, "n_queries": 5} for i in range(2)}
        self.metrics = {
            "generators": {kind: [f"{EVIL} 1"] for kind in kinds},
            "held_out_generators": [f"{EVIL} 1"],
            "spaces": {space: {"test": kinds} for space in SPACES},
        }
        row = GOOD["generalisation.json"]["test"]["photo"] | {"left_out": EVIL}
        self.generalisation = {"test": {EVIL: row, f"{EVIL}, all": row | {"n_queries": 9}}}
        self.theory = copy.deepcopy(GOOD["theory.json"])
        self.theory["settings"][EVIL] = self.theory["chance"][EVIL] = {}
        for column in (*self.theory["spaces"].values(), self.theory["oracle"]):
            column["closeness"] = {EVIL: {EVIL: 0.5}}


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return Stranger(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def desk(browser: Browser, address: str) -> Iterator[Visit]:
    """One visit for all: a page takes seconds to open."""
    visit = Visit(browser, address + "?__theme=light")
    yield visit
    visit.context.close()
    asked = [url for url in visit.requests if not url.startswith((address.rstrip("/"), "data:", "blob:"))]
    assert not asked and not visit.complaints, (asked, visit.complaints)
    assert not [url for url in visit.requests if url.endswith("/x")], "a picture that only a script's markup names"


@pytest.fixture
def page(desk: Visit) -> Iterator[Page]:
    desk.page.locator("#nav button[data-view=compare]").click()
    yield desk.page
    nothing_ran(desk.page)


def nothing_ran(page: Page) -> None:
    assert page.evaluate(RAN) == []


def show(page: Page, view: str) -> None:
    page.locator(f"#nav button[data-view={view}]").click()
    page.wait_for_timeout(200)


def picture(folder: Path, name: str) -> Path:
    Image.new("RGB", (64, 48), (30, 120, 200)).save(folder / name)
    return folder / name


def test_compare_its_details_tooltips_filters_tables_and_explanations(page: Page, attributor: FakeAttributor) -> None:
    expect(page.locator("#answer")).to_contain_text(NAME)
    nothing_ran(page)
    for reference_id in range(3):  # one with each kind of address
        page.evaluate("id => window.attributionPage.set('selected', {id})", reference_id)
        expect(page.locator(".details h2")).to_have_text(attributor.references[reference_id].title)
        links = page.locator(".details a")
        assert [links.nth(i).evaluate("one => one.protocol") for i in range(links.count())] == ["https:"] * (
            reference_id == 1
        )
        nothing_ran(page)
    for which in range(page.locator(".filter-open").count()):
        page.locator(".filter-open").nth(which).click()
        expect(page.locator(".filter-panel:visible li").first).to_contain_text(NAME)
        page.keyboard.press("Escape")
    page.evaluate("window.attributionPage.set('selected', null)")  # the words of one picture lie over the maps
    place = points_of(page, attributor, "aligned", 5)
    page.locator(".map[data-space=aligned] .plot canvas").hover(position={"x": place[0], "y": place[1]})
    expect(page.locator("#maps")).to_contain_text(NAME)  # the tooltip
    nothing_ran(page)
    for field in ("source", "licence", "concept", "split", "group"):
        for button in page.locator(f"#maps .toolbar [data-value={field}]").all():
            button.click()
            nothing_ran(page)
    page.locator("#maps").get_by_role("button", name="Show as a table").first.click()
    expect(page.locator("#maps table")).to_contain_text(NAME)
    nothing_ran(page)
    page.evaluate("window.attributionPage.explainMatch(2, {scroll: false})")
    expect(page.locator(".explain-body h3")).to_contain_text(NAME, timeout=PATIENCE)


def test_inspect_why_and_talk(page: Page) -> None:
    show(page, "inspect")
    expect(page.locator(".case").first).to_be_visible(timeout=PATIENCE)
    for tab in page.locator(".inspect-tabs button").all():
        tab.click()
        page.wait_for_timeout(200)
        nothing_ran(page)
    assert NAME in page.locator("#view-inspect").inner_text()
    show(page, "why")
    expect(page.locator("#view-why")).to_contain_text(NAME)
    nothing_ran(page)
    show(page, "compare")
    page.keyboard.press("f")
    page.wait_for_selector(".talk[data-ready]", timeout=PATIENCE)
    for _ in range(25):
        nothing_ran(page)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")


def test_files_of_a_visitor_the_batch_and_both_reports(page: Page, browser: Browser, tmp_path: Path) -> None:
    mine = picture(tmp_path, f"{NAME}.png")
    upload(page, mine)
    expect(page.locator(".query-caption")).to_contain_text("Your picture", timeout=PATIENCE)
    nothing_ran(page)
    page.get_by_role("button", name="Take away").click()
    broken = tmp_path / f"{NAME} broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    page.locator("dialog.takeaway input[type=file]").set_input_files([mine, broken])
    expect(page.locator(".takeaway-batch .takeaway-status")).to_contain_text("1 of 2", timeout=PATIENCE)
    expect(page.locator(".batch tbody tr").first.locator("th")).to_have_text(mine.name)
    nothing_ran(page)
    context, asked = browser.new_context(), list[str]()
    context.on("request", lambda request: asked.append(request.url))
    for name in ("Report (HTML)", "One report (HTML)"):
        with page.expect_download(timeout=PATIENCE) as download:
            page.locator("dialog.takeaway").get_by_role("button", name=name, exact=True).click()
        path = tmp_path / "report.html"
        download.value.save_as(path)
        report = context.new_page()
        report.goto(path.as_uri())
        expect(report.locator("body")).to_contain_text(NAME)
        nothing_ran(report)
        links = report.locator("a").evaluate_all("all => all.map(one => one.href)")
        assert all(link.startswith(("https://example.org/", path.as_uri() + "#")) for link in links), links
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
    context.close()


def test_an_address_that_leads_to_the_page(browser: Browser, address: str) -> None:
    wanted = quote(json.dumps({"group": [EVIL], EVIL: [EVIL]}))
    names = ("view", "query", "reference", "k", "filter", "explain", "selected", "inspect", EVIL)
    page = browser.new_page()
    given = "&".join(f"{quote(name)}={wanted if name == 'filter' else quote(EVIL)}" for name in names)
    page.goto(f"{address}?{given}")
    expect(page.locator("#examples")).to_contain_text(NAME, timeout=PATIENCE)
    page.wait_for_timeout(500)
    nothing_ran(page)
    page.close()
