"""A report of one or many attributions: one HTML file with its pictures in it, which opens without a network and prints.

html = report(attributor, [("mine.png", "mine.png", attributor.attribute("mine.png"))])

Nothing in it is a script, and every caption is text.
"""

import datetime
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from interface.about import about
from interface.markup import make, percent
from interface.report_case import N_SOURCES, Case, is_convincing, map_grounds, section, thumbnails
from interface.words import SPACE_WORDS

if TYPE_CHECKING:
    from aad.attribution import Attributor

__all__ = ["Case", "is_convincing", "report"]

STYLE = Path(__file__).resolve().parent / "report.css"
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer">'
)
CAVEAT = (
    "This report shows which pictures of one collection lie closest to a picture. Closeness is evidence, not proof: it does "
    "not show that a generator was trained on a picture, nor that it copied it. What is not in the collection cannot be found."
)


def report(
    attributor: "Attributor",
    cases: Sequence[Case | tuple[Any, ...]],
    refused: Sequence[tuple[str, str]] = (),
    *,
    now: datetime.datetime | None = None,
) -> str:
    """The whole HTML file.

    Args:
        attributor: The `aad.Attributor` that answered.
        cases: What it answered, see `Case`.
        refused: Name and reason of each file that could not be answered.
        now: Time of the report; by default the present.

    Returns:
        HTML text. Every picture is scaled down and inside it; links lead only to the addresses that references name.

    Raises:
        ImageError: A query's picture cannot be read. A reference's missing picture leaves an empty frame.
    """
    known = [Case(*case) for case in cases]
    time = (now or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC)
    is_one = len(known) == 1
    n, thumbnail = len(attributor.references), thumbnails(attributor)
    count = "1 picture" if is_one else f"{len(known)} pictures"
    against = f"compared with the {n:,} of the collection {attributor.stamp['name']}, {time.day} {time:%B %Y}"
    heading = "Where did this image come from?" if is_one else "Where did these images come from?"
    body = make(
        "main",
        {},
        make("header", {}, make("h1", {}, heading), make("p", {}, f"{count}, {against}")),
        map_grounds(attributor) if known else None,
        _summary(attributor, known, refused) if len(known) + len(refused) > 1 else _refusals(refused),
        *(section(attributor, case, i, thumbnail) for i, case in enumerate(known, 1)),
        _sources(attributor, known),
        make("section", {"class": "stamp"}, make("h2", {}, "To repeat this"), _stamp(attributor, time)),
        make("p", {"class": "caveat"}, CAVEAT),
    )
    title = escape(f"Attribution of {known[0].name if is_one else count}")
    style, content = STYLE.read_text("utf-8"), ET.tostring(body, encoding="unicode", method="html")
    head = f"<head>{HEAD}<title>{title}</title><style>{style}</style></head>"
    return f'<!doctype html>\n<html lang="en">{head}<body>{content}</body></html>\n'


def _summary(attributor: "Attributor", cases: Sequence[Case], refused: Sequence[tuple[str, str]]) -> ET.Element:
    heads = [make("th", {"scope": "col", "class": str(s)}, SPACE_WORDS[str(s)]["name"]) for s in attributor.spaces]
    rows = []
    for i, case in enumerate(cases, 1):
        cells = []
        for space in attributor.spaces:
            part = case.attribution[space]
            best = part.matches[0] if part.matches else None
            words = "nothing to compare with" if best is None else attributor.references[best.reference_id].title
            about = "\u2248\u00a0" if part.estimated else ""
            weight = percent(best.weight) if best else "0%"
            figures = f"{about}{weight}, none of these {about}{percent(part.remainder)}"
            verdict = None if is_convincing(part) else make("small", {"class": "verdict"}, "No convincing source")
            cells.append(make("td", {}, words, make("small", {}, figures), verdict))
        rows.append(make("tr", {}, make("th", {"scope": "row"}, make("a", {"href": f"#case-{i}"}, case.name)), *cells))
    for name, why in refused:
        span = str(len(attributor.spaces))
        rows.append(
            make("tr", {"class": "refused"}, make("th", {"scope": "row"}, name), make("td", {"colspan": span}, why))
        )
    return make(
        "table",
        {"class": "summary"},
        make("caption", {}, "The closest picture in each space, its attribution weight, and the remainder"),
        make("thead", {}, make("tr", {}, make("th", {"scope": "col"}, "Picture"), *heads)),
        make("tbody", {}, *rows),
    )


def _refusals(refused: Sequence[tuple[str, str]]) -> ET.Element | None:
    return make("p", {"class": "caution"}, ": ".join(refused[0])) if refused else None


def _sources(attributor: "Attributor", cases: Sequence[Case]) -> ET.Element | None:
    shown = {
        match.reference_id for case in cases for part in case.attribution.spaces.values() for match in part.matches
    }
    shown |= {
        i
        for case in cases
        if case.query_id is not None
        for i in attributor.queries[case.query_id].exemplar_ids[:N_SOURCES]
    }
    if not shown:
        return None
    rows = [make("tr", {}, *_credit(attributor.references[reference_id])) for reference_id in sorted(shown)]
    heads = [make("th", {"scope": "col"}, name) for name in ("Picture", "Author", "Source", "Licence", "Link")]
    return make(
        "section",
        {"class": "sources"},
        make("h2", {}, "Sources and licences of the pictures shown"),
        make("table", {}, make("thead", {}, make("tr", {}, *heads)), make("tbody", {}, *rows)),
    )


def _credit(reference: Any) -> Iterator[ET.Element]:
    yield make("th", {"scope": "row"}, reference.title)
    for words in (reference.author, reference.source, reference.licence):
        yield make("td", {}, words or "not stated")
    is_link = urlsplit(reference.url).scheme in ("http", "https")
    yield make(
        "td", {}, make("a", {"href": reference.url, "rel": "noreferrer"}, reference.url) if is_link else reference.url
    )


def _stamp(attributor: "Attributor", time: datetime.datetime) -> ET.Element:
    rows = [*about(attributor)["stamp"], ["date", f"{time:%Y-%m-%dT%H:%M:%SZ}"]]
    return make("dl", {}, *(make("div", {}, make("dt", {}, name), make("dd", {}, value)) for name, value in rows))
