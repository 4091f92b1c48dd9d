"""One attributed picture in a report: the query with its true sources, three columns, and its place on the maps."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from aad.answers import Attribution, SpaceAttribution
from interface.markup import make, percent
from interface.thumbnails import MAP_SIDE, data_uri, map_places, map_uri
from interface.words import GENERATOR_WORDS, SPACE_WORDS, TYPE_WORDS

if TYPE_CHECKING:
    from aad.attribution import Attributor

QUERY_SIDE, MATCH_SIDE = 480, 176  # pixels; about twice of what is shown, so that print stays sharp
N_SOURCES = 3  # true sources shown; a painter may have dozens
ESTIMATED = "Weights with \u2248 are estimates: a sample stands for the pictures that were not compared one by one."


class Case(NamedTuple):
    """One attributed picture of a report; a plain tuple of the first three does as well.

    Attributes:
        name: what it is called, such as its file's name.
        picture: path or PIL image.
        attribution: what was found.
        query_id: which bundled query it is; adds its kind, its true sources and their ranks.
        filter: the part of the gallery that was searched, as `interface.filters.chosen` takes it.
        note: what stands under the picture where it is no bundled query.
    """

    name: str
    picture: Image.Image | str | Path
    attribution: Attribution
    query_id: int | None = None
    filter: Mapping[str, Sequence[str]] | None = None
    note: str = "Its true source is not known."


def is_convincing(part: SpaceAttribution) -> bool:
    """Whether the matches shown outweigh the remainder, "none of these"."""
    return part.remainder <= sum(match.weight for match in part.matches)


def thumbnails(attributor: "Attributor") -> Callable[[int], str | None]:
    """Reference id -> data address of its picture, or None where that is missing; each is made once."""

    @cache
    def thumbnail(reference_id: int) -> str | None:
        try:
            return data_uri(attributor.references[reference_id].path, MATCH_SIDE)
        except ValueError:  # ImageError; a report with one empty frame is better than none
            return None

    return thumbnail


def _picture(uri: str | None, words: str) -> ET.Element:
    if uri is None:
        return make("span", {"class": "frame empty"}, "picture not found")
    return make("span", {"class": "frame"}, make("img", {"src": uri, "alt": words}))


def section(attributor: "Attributor", case: Case, number: int, thumbnail: Callable[[int], str | None]) -> ET.Element:
    """The whole part of a report about one picture; the ``number``-th of it."""
    query = None if case.query_id is None else attributor.queries[case.query_id]
    truth = () if query is None else query.exemplar_ids
    ranks = attributor.true_ranks(query.query_id) if query is not None and truth and not case.filter else {}
    asked = [f"{field}: {', '.join(values)}" for field, values in (case.filter or {}).items() if values]
    found = case.attribution
    words = case.note
    if query is not None:
        maker = GENERATOR_WORDS.get(query.generator, query.generator)
        words = TYPE_WORDS.get(query.type, query.type.capitalize()) + (f", by {maker}" if maker else "")
    sources = [
        make(
            "figure",
            {"class": "truth"},
            _picture(thumbnail(reference_id), attributor.references[reference_id].title),
            make("figcaption", {}, make("b", {}, "True source"), f" {attributor.references[reference_id].title}"),
        )
        for reference_id in truth[:N_SOURCES]
    ]
    if len(truth) > N_SOURCES:
        sources.append(make("p", {}, f"and {len(truth) - N_SOURCES} more true sources"))
    return make(
        "section",
        {"class": "case", "id": f"case-{number}"},
        make("h2", {}, case.name),
        make(
            "div",
            {"class": "asked"},
            make("figure", {}, _picture(data_uri(case.picture, QUERY_SIDE), case.name), make("figcaption", {}, words)),
            *sources,
        ),
        make("p", {"class": "caution"}, f"Searched only in {'; '.join(asked)}") if asked else None,
        make("p", {"class": "caution"}, ESTIMATED) if any(part.estimated for part in found.spaces.values()) else None,
        make(
            "div",
            {"class": "columns"},
            *(
                _column(attributor, case.attribution[space], truth, ranks.get(space, ()), thumbnail, bool(asked))
                for space in attributor.spaces
            ),
        ),
    )


def _column(
    attributor: "Attributor",
    part: SpaceAttribution,
    truth: Sequence[int],
    ranks: Sequence[int],
    thumbnail: Callable[[int], str | None],
    is_filtered: bool,
) -> ET.Element:
    space = str(part.space)
    standing = ""
    if ranks:
        standing = (
            f"True source: rank {ranks[0]:,}"
            if len(ranks) == 1
            else f"{len(ranks)} true sources: best at rank {ranks[0]:,}"
        )
    matches = []
    for match in part.matches:
        title = attributor.references[match.reference_id].title
        matches.append(
            make(
                "li",
                {"class": "true"} if match.reference_id in truth else {},
                make("span", {"class": "rank"}, str(match.rank)),
                _picture(thumbnail(match.reference_id), title),
                make(
                    "span",
                    {"class": "words"},
                    make("b", {}, title),
                    make("span", {}, f"similarity {match.similarity:.3f}".replace("-", "\u2212")),
                    make("i", {}, "True source") if match.reference_id in truth else None,
                ),
                _bar(match.weight, part.estimated),
            )
        )
    elsewhere = "Not shown" if is_filtered else "Further down the list"
    return make(
        "section",
        {"class": f"column {space}"},
        make("h3", {}, SPACE_WORDS[space]["name"], " ", make("small", {}, space)),
        make("p", {"class": "line"}, SPACE_WORDS[space]["line"]),
        make("p", {"class": "standing"}, standing),
        make("p", {"class": "verdict"}, "" if is_convincing(part) else "No convincing source"),
        make("ol", {}, *matches),
        make("p", {"class": "rest"}, make("span", {}, elsewhere), _bar(part.elsewhere, part.estimated)),
        make("p", {"class": "rest"}, make("span", {}, "None of these"), _bar(part.remainder, part.estimated)),
        _map(attributor, part, truth),
    )


def _bar(share: float, is_estimate: bool) -> ET.Element:
    filled = make("span", {"style": f"width:{100 * min(1.0, max(0.0, share)):.1f}%"})
    return make(
        "span",
        {"class": "measure"},
        ("\u2248\u00a0" if is_estimate else "") + percent(share),
        make("span", {"class": "bar"}, filled),
    )


def map_grounds(attributor: "Attributor") -> ET.Element:
    """Each space's map, drawn once; every case lays its own query over it."""
    side = str(MAP_SIDE)
    symbols = [
        make(
            "symbol",
            {"id": f"map-{space}", "viewBox": f"0 0 {side} {side}"},
            make(
                "image",
                {"href": map_uri(attributor.coordinates[space], (120, 116, 108)), "width": side, "height": side},
            ),
        )
        for space in attributor.spaces
    ]
    return make("svg", {"class": "grounds", "width": "0", "height": "0", "aria-hidden": "true"}, *symbols)


def _map(attributor: "Attributor", part: SpaceAttribution, truth: Sequence[int]) -> ET.Element:
    places = map_places(attributor.coordinates[part.space])
    x, y = map_places(np.array(part.position)).tolist()
    marks = []
    for match in part.matches:
        to_x, to_y = places[match.reference_id].tolist()
        ends = {"x1": f"{x:.1f}", "y1": f"{y:.1f}", "x2": f"{to_x:.1f}", "y2": f"{to_y:.1f}"}
        marks.append(make("line", {**ends, "stroke-width": f"{1.5 + 6 * match.weight**0.5:.1f}"}))
        marks.append(make("circle", {"class": "match", "cx": ends["x2"], "cy": ends["y2"], "r": "6"}))
    for reference_id in truth:
        cx, cy = places[reference_id].tolist()
        marks.append(make("circle", {"class": "source", "cx": f"{cx:.1f}", "cy": f"{cy:.1f}", "r": "14"}))
    marks.append(
        make("rect", {"class": "query", "x": f"{x - 8:.1f}", "y": f"{y - 8:.1f}", "width": "16", "height": "16"})
    )
    words = f"Map of the {part.space} space. Square: the picture. Lines: to its matches"
    words += ". Green ring: true source." if truth else "."
    ground = make("use", {"href": f"#map-{part.space}"})
    frame = {"viewBox": f"0 0 {MAP_SIDE} {MAP_SIDE}", "role": "img", "aria-label": words}
    return make("figure", {"class": "map"}, make("svg", frame, ground, *marks), make("figcaption", {}, words))
