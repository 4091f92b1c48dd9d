"""Export, and many pictures, in a real browser: what is saved is what is shown, opens by itself, and nothing leaves the machine."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from aad.spaces import SPACES
from tests.browser.visits import Visit, ask, ask_own, panel, show, take
from tests.fakes import HOSTILE_TITLE, FakeAttributor


def give(page: Page, files: list[Path]) -> Any:
    """Many files at once; what is told of them."""
    page.locator(".batch-view input[type=file]").set_input_files(files)
    return page.locator(".batch-view .takeaway-status")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two pictures, a broken one and a letter."""
    paths = [tmp_path / name for name in ("one.png", "two <b>.png", "broken.png", "letter.txt")]
    Image.new("RGB", (64, 48), (30, 120, 200)).save(paths[0])
    Image.new("RGB", (48, 64), (200, 120, 90)).save(paths[1])
    paths[2].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    paths[3].write_text("Dear reader")
    return paths


def test_json_and_csv_are_the_answer_shown_and_formulas_do_no_harm_in_a_table(
    page: Page, attributor: FakeAttributor, tmp_path: Path
) -> None:
    query_id = attributor.examples[3]
    ask(page, query_id)
    panel(page)
    found = json.loads(take(page, "JSON", tmp_path).read_text("utf-8"))
    expected = attributor.attribute_query(query_id, 8)
    assert found["k"] == 8 and found["query"]["id"] == query_id and found["filter"] is None
    assert found["query"]["truth"] == list(attributor.queries[query_id].exemplar_ids)
    assert found["stamp"] == json.loads(json.dumps(attributor.stamp))
    assert "url" not in found["query"], "no path of the server"
    rows = list(csv.DictReader(io.StringIO(take(page, "CSV", tmp_path).read_bytes().decode("utf-8-sig"))))
    for space in SPACES:
        table = [row for row in rows if row["space"] == space]
        assert [row["kind"] for row in table] == ["match"] * 8 + ["elsewhere", "none of these"]
        assert float(table[-1]["weight"]) == pytest.approx(expected[space].remainder)
        for match, row, entry in zip(expected[space].matches, table, found[space]["matches"], strict=False):
            assert entry["reference_id"] == match.reference_id == int(row["reference_id"])
            assert entry["rank"] == match.rank == int(row["rank"])
            assert entry["similarity"] == pytest.approx(match.similarity, abs=1e-5)
            assert float(row["weight"]) == entry["weight"] == pytest.approx(match.weight, abs=1e-5)
            reference = attributor.references[match.reference_id]
            assert found["references"][str(match.reference_id)]["licence"] == reference.licence == row["licence"]
            assert row["title"] == reference.title
            assert row["true_source"] == str(match.reference_id in attributor.queries[query_id].exemplar_ids).lower()
    odd = [["=HYPERLINK(1)", 'a "b", c', -0.5, None, HOSTILE_TITLE, "@x", "line\nbreak"]]
    text = page.evaluate("rows => window.attributionPage.csvText(rows)", odd)
    (read,) = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert read == ["'=HYPERLINK(1)", 'a "b", c', "-0.5", "", HOSTILE_TITLE, "'@x", "line\nbreak"]


def test_the_answer_as_a_picture_shows_its_photographs_and_its_colours(page: Page, tmp_path: Path) -> None:
    panel(page)
    with Image.open(take(page, "Picture (PNG)", tmp_path)) as image:
        picture = image.convert("RGB")
    assert picture.size == (2 * 1280, 2 * 720)
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}
    assert {(179, 84, 10), (0, 122, 90)} <= colours, "the last space's colour, and that of a true source"
    drawn = page.locator(".lane[data-space=backbone] .hit img").first.evaluate(
        """image => { const c = document.createElement('canvas'); c.width = c.height = 3; const d = c.getContext('2d');
        d.drawImage(image, image.naturalWidth / 2 - 1, image.naturalHeight / 2 - 1, 3, 3, 0, 0, 3, 3);
        return [...d.getImageData(1, 1, 1, 1).data].slice(0, 3); }"""
    )
    shown = picture.getpixel((2 * 459, 2 * 304))  # the middle of the first picture of the first column
    assert isinstance(shown, tuple) and max(abs(a - b) for a, b in zip(shown, drawn, strict=True)) < 30


def test_own_picture_has_files_and_it_is_said_why_it_has_no_link_or_no_report(
    page: Page, desk: Visit, tmp_path: Path
) -> None:
    ask_own(page, tmp_path / "mine.png")
    assert "query=" not in page.url
    dialog = panel(page)
    expect(dialog).to_contain_text("has no link")
    assert dialog.get_by_role("button", name="Copy link").count() == 0
    report = take(page, "Report (HTML)", tmp_path).read_text("utf-8")
    assert "Its true source is not known." in report
    expect(page.locator("dialog.takeaway > .takeaway-status")).to_contain_text("saved")
    found = json.loads(take(page, "JSON", tmp_path).read_text("utf-8"))
    assert found["link"] is None and "url" not in json.dumps(found["query"])
    page.route("**/component_server**", lambda route: route.abort())
    dialog.get_by_role("button", name="Report (HTML)", exact=True).click()
    expect(page.locator("dialog.takeaway > .takeaway-status")).to_contain_text("could not be made")
    desk.complaints[:] = [line for line in desk.complaints if not re.search("ERR_FAILED|Failed to fetch", line)]


def test_many_files_become_rows_that_open_a_table_and_one_report(
    page: Page, attributor: FakeAttributor, files: list[Path], tmp_path: Path
) -> None:
    show(page, "Many pictures")
    expect(give(page, files)).to_have_text("2 of 4 pictures compared; 2 could not be.")
    rows, view = page.locator(".batch tbody tr"), page.locator(".batch-view")
    assert rows.locator("th").all_inner_texts() == [path.name for path in files]
    assert rows.nth(0).locator("th img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    expected = attributor.attribute(files[0], 8)
    for i, space in enumerate(SPACES):
        best = expected[space].matches[0]
        expect(rows.nth(0).locator("td").nth(i + 1)).to_contain_text(attributor.references[best.reference_id].title)
    expect(rows.nth(2)).to_contain_text("complete")
    expect(rows.nth(3)).to_contain_text("picture file is needed")
    table = list(
        csv.DictReader(io.StringIO(take(page, "Table (CSV)", tmp_path, view).read_bytes().decode("utf-8-sig")))
    )
    assert [row["file"] for row in table] == [path.name for path in files]
    assert table[0]["verdict"] in rows.nth(0).inner_text() and table[0]["verdict"]
    assert int(table[0]["aligned_best_id"]) == expected["aligned"].matches[0].reference_id
    assert float(table[0]["aligned_weight"]) == pytest.approx(expected["aligned"].matches[0].weight, abs=1e-5)
    assert table[2]["error"] and not table[2]["aligned_best_id"]
    report = take(page, "One report (HTML)", tmp_path, view).read_text("utf-8")
    assert report.count('class="case"') == 2 and "letter.txt" in report and "two &lt;b&gt;.png" in report
    assert page.evaluate("window.attributionPage.state.answer.query.id") == attributor.examples[0], "shown as before"
    rows.nth(0).get_by_role("button").click()
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    page.go_back()
    expect(rows.nth(0)).to_be_visible()


def test_several_files_dropped_on_the_page_go_to_the_table(page: Page, attributor: FakeAttributor) -> None:
    page.evaluate(
        """async () => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 40;
        const blob = await new Promise(done => canvas.toBlob(done)); const transfer = new DataTransfer();
        for (const name of ['a.png', 'b.png']) transfer.items.add(new File([blob], name, {type: 'image/png'}));
        const drop = new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.querySelector('#answer').dispatchEvent(drop); }"""
    )
    expect(page.locator(".batch-view .takeaway-status")).to_contain_text("2 of 2")
    expect(page.locator(".batch tbody tr")).to_have_count(2)
    assert page.evaluate("window.attributionPage.state.answer.query.id") == attributor.examples[0]


@pytest.mark.parametrize("place", ["#query-picture button", "#answer"])
def test_an_address_that_is_dropped_changes_nothing_and_is_told(
    page: Page, attributor: FakeAttributor, place: str
) -> None:
    stopped = page.evaluate(
        """place => { const transfer = new DataTransfer(); transfer.setData('text/uri-list', 'https://example.org/a.png');
        const drop = new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.querySelector(place).dispatchEvent(drop); return drop.defaultPrevented; }""",
        place,
    )
    expect(page.locator(".query-caption")).to_contain_text("save the picture first, then drop or choose the file")
    assert stopped and page.evaluate("window.attributionPage.state.answer.query.id") == attributor.examples[0]


def test_many_files_are_bounded_and_can_be_stopped(page: Page, files: list[Path]) -> None:
    show(page, "Many pictures")
    status = give(page, [files[3]] * 130)
    expect(status).to_contain_text("at most 100 are taken at a time")
    rows = page.locator(".batch tbody tr")
    assert rows.count() == 100
    held: list[Any] = []
    page.route("**/component_server**", lambda route: held.append(route))
    with page.expect_request("**/component_server**"):
        give(page, [files[0], files[1], files[0]])
    expect(status).to_have_text("Comparing 1 of 3\u2026")
    page.get_by_role("button", name="Stop").click()
    held[0].continue_()
    expect(status).to_have_text("1 of 3 pictures compared; stopped.")
    assert len(held) == 1 and rows.count() == 1
