"""A report of one or many attributions: one HTML file with its pictures in it, which opens without a network and prints.

html = report(attributor, [("mine.png", "mine.png", attributor.attribute("mine.png"))])

Nothing in it is a script, and every caption is text: report.html, a template, escapes whatever it is given.
"""

import datetime
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from aad import Attributor
from aad.answers import Attribution
from interface import present
from interface.thumbnails import MAP_SIDE, data_uri, map_places, map_uri
from interface.words import SPACE_WORDS, made_by, percent, type_words

HERE = Path(__file__).resolve().parent
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
        filter: the part of the gallery that was searched, as `interface.requests.filtered` takes it.
        note: what stands under the picture where it is no bundled query.
    """

    name: str
    picture: Image.Image | str | Path
    attribution: Attribution
    query_id: int | None = None
    filter: Mapping[str, Sequence[str]] | None = None
    note: str = "Its true source is not known."


def report(
    attributor: Attributor,
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
    time = (now or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC)
    known = [_told(attributor, Case(*case)) for case in cases]
    shown = {match.reference_id for case in known for part in case["found"].spaces.values() for match in part.matches}
    shown |= {reference_id for case in known for reference_id in case["truth"][:N_SOURCES]}

    @cache
    def thumbnail(reference_id: int) -> str | None:
        try:
            return data_uri(attributor.references[reference_id].path, MATCH_SIDE)
        except ValueError:  # ImageError; a report with one empty frame is better than none
            return None

    return _template().render(
        attributor=attributor,
        cases=known,
        refused=refused,
        count="1 picture" if len(known) == 1 else f"{len(known)} pictures",
        date=f"{time.day} {time:%B %Y}",
        stamp=[*present.stamp(attributor), ["date", f"{time:%Y-%m-%dT%H:%M:%SZ}"]],
        words=SPACE_WORDS,
        thumbnail=thumbnail,
        grounds={space: map_uri(attributor.coordinates[space], (120, 116, 108)) for space in attributor.spaces},
        places={space: map_places(attributor.coordinates[space]).tolist() for space in attributor.spaces},
        credited=[attributor.references[reference_id] for reference_id in sorted(shown)],
    )


def _told(attributor: Attributor, case: Case) -> dict[str, Any]:
    """What the template says of one case."""
    query = None if case.query_id is None else attributor.queries[case.query_id]
    truth = () if query is None else query.exemplar_ids
    searched = [f"{field}: {', '.join(values)}" for field, values in (case.filter or {}).items() if values]
    ranks = attributor.true_ranks(query.query_id) if query is not None and truth and not case.filter else {}
    words, found = case.note, case.attribution
    if query is not None:
        words = type_words(query.type) + (f", by {made_by(query.generator)}" if query.generator else "")
    cautions = {
        f"Searched only in {'; '.join(searched)}": searched,
        ESTIMATED: any(part.estimated for part in found.spaces.values()),
    }
    return {
        "name": case.name,
        "uri": data_uri(case.picture, QUERY_SIDE),
        "words": words,
        "found": found,
        "verdict": present.verdict(attributor, found, truth),
        "truth": truth,
        "ranks": {space: ranks.get(space, ()) for space in attributor.spaces},
        "cautions": [text for text, holds in cautions.items() if holds],
        "is_filtered": bool(searched),
        "place": {space: map_places(np.array(found[space].position)).tolist() for space in attributor.spaces},
    }


@cache
def _template() -> jinja2.Template:
    """Its lines joined without what indents them, so that no blank stands where none is meant; captions come later."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"percent": percent, "tenth": "{:.1f}".format}
    environment.globals |= {
        "is_link": lambda url: urlsplit(url).scheme in ("http", "https"),
        "n_sources": N_SOURCES,
        "side": MAP_SIDE,
        "style": Markup((HERE / "report.css").read_text("utf-8")),
    }
    return environment.from_string("".join(map(str.strip, (HERE / "report.html").read_text("utf-8").splitlines())))
