"""The report: everything is in the one file, every caption is text, and its figures are the attribution's."""

from __future__ import annotations

import base64
import datetime
import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.answers import Attribution
from aad.spaces import SPACES
from interface.report import Case, report
from interface.thumbnails import MAP_SIDE, map_places, map_uri
from tests.fakes import HOSTILE_TITLE, FakeAttributor

NOW = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC)


class Page(HTMLParser):
    """What a reader of the file would meet: tags with attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html.partition("</style>")[2])
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def case_of(attributor: FakeAttributor, query_id: int, k: int = 4, **fields: Any) -> Case:
    query = attributor.queries[query_id]
    return Case(query.path.name, query.path, attributor.attribute_query(query_id, k), query_id, **fields)


def test_pictures_are_inside_and_small(attributor: FakeAttributor, tmp_path: Path) -> None:
    Image.effect_noise((3000, 2000), 90).save(tmp_path / "large.png")
    html = report(attributor, [("large.png", tmp_path / "large.png", attributor.attribute_query(0, 4))], now=NOW)
    sources = [str(image["src"]) for image in Page(html).all("img")]
    assert len(sources) == 1 + len(SPACES) * 4
    for i, source in enumerate(sources):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            assert max(image.size) <= (480 if i == 0 else 176)
    assert len(html) < 1_000_000


def test_figures_are_those_of_the_attribution_and_only_true_sources_are_marked(attributor: FakeAttributor) -> None:
    case = case_of(attributor, 1, 20)
    page = Page(report(attributor, [case], now=NOW))
    words = page.words
    for space in SPACES:
        part = case.attribution[space]
        _, _, column = words.partition(f" {space} ")
        column = column.split("Map of the")[0]
        for match in part.matches:
            title = attributor.references[match.reference_id].title
            near = f"{match.rank} {title} similarity {match.similarity:.3f}".replace("-", "\u2212")
            assert near in column
        assert f"None of these {100 * part.remainder:.0f}%" in column or "None of these <1%" in column
        assert f"True source: rank {attributor.true_ranks(1)[space][0]}" in column
    (truth,) = attributor.queries[1].exemplar_ids
    n = sum(match.reference_id == truth for part in case.attribution.spaces.values() for match in part.matches)
    assert 0 < n == sum(item.get("class") == "true" for item in page.all("li"))
    assert len([ring for ring in page.all("circle") if ring.get("class") == "source"]) == len(SPACES)


def test_every_picture_shown_has_its_source_and_licence_and_the_stamp_says_what_computed_it(
    attributor: FakeAttributor,
) -> None:
    page = Page(report(attributor, [case_of(attributor, 0, 117)], now=NOW))
    words = page.words.partition("Sources and licences")[2]
    for one in attributor.references:  # all are shown
        if one.title != HOSTILE_TITLE:
            assert f"{one.title} {one.author or 'not stated'} {one.source} {one.licence}" in words
    for value in ("invented", attributor.stamp["bundle"], np.__version__, "2026-03-01T12:30:00Z"):
        assert value in words.partition("To repeat this")[2]


def test_many_pictures_have_a_table_with_the_refused_ones(attributor: FakeAttributor) -> None:
    cases = [case_of(attributor, i) for i in range(3)]
    nothing = attributor.attribute_query(0, 3, among=np.zeros(len(attributor.references), bool))
    none = Case("none", attributor.queries[0].path, nothing)
    page = Page(report(attributor, [*cases, none], [("broken.png", "an image must be complete")], now=NOW))
    assert [one.get("class") for one in page.all("p")].count("verdict") == len(cases), "of those with matches"
    table = page.words.partition("and the remainder")[2].partition("Restyled")[0]
    for case in cases:
        best = case.attribution["aligned"].matches[0]
        assert case.name in table and attributor.references[best.reference_id].title in table
    assert "broken.png an image must be complete" in table
    assert [a["href"] for a in page.all("a")][:3] == ["#case-1", "#case-2", "#case-3"]
    assert len(page.all("symbol")) == len(SPACES), "each map is drawn once for all of them"
    assert "a.png: no picture" in Page(report(attributor, [], [("a.png", "no picture")], now=NOW)).words


def test_a_filter_is_told_and_hides_ranks_of_the_whole_gallery(attributor: FakeAttributor) -> None:
    words = Page(report(attributor, [case_of(attributor, 0, filter={"group": ["birds"], "source": []})], now=NOW)).words
    assert "source:" not in words.partition("Sources and licences")[0].lower() and "True source: rank" not in words
    assert "Searched only in group: birds" in words and "Not shown" in words


def test_a_missing_reference_picture_leaves_an_empty_frame(tmp_path: Path) -> None:
    attributor = FakeAttributor(tmp_path, n_per_group=1)
    result = attributor.attribute_query(0, 3)
    attributor.references[result["backbone"].matches[0].reference_id].path.unlink()
    page = Page(report(attributor, [("q", attributor.queries[0].path, result)], now=NOW))
    assert "picture not found" in page.words


def test_a_map_has_a_dot_at_each_place_and_none_elsewhere() -> None:
    coordinates = np.array([[0.0, 0.0], [1.0, 1.0], [0.25, 0.5]], np.float32)
    uri = map_uri(coordinates, (10, 20, 30))
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        alpha = np.array(image.convert("RGBA"))[..., 3]
    places = map_places(coordinates)
    assert places[0, 1] > places[1, 1], "y grows upwards"
    for x, y in np.rint(places).astype(int).tolist():
        assert alpha[y, x] > 0
        alpha[y - 6 : y + 7, x - 6 : x + 7] = 0
    assert alpha.shape == (MAP_SIDE, MAP_SIDE) and not alpha.any()


def test_an_estimate_is_called_so(attributor: FakeAttributor) -> None:
    whole = case_of(attributor, 0)
    assert "\u2248" not in Page(report(attributor, [whole], now=NOW)).words
    spaces = {space: replace(part, estimated=True) for space, part in whole.attribution.spaces.items()}
    words = Page(report(attributor, [whole._replace(attribution=Attribution(spaces))], now=NOW)).words
    assert "Weights with \u2248 are estimates" in words
    assert words.count("\u2248") == 1 + len(SPACES) * (4 + 2)
