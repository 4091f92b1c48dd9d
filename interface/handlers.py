"""What the page's events do: plain functions of an `Attributor`, with answers as `interface.present` makes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad import Attributor
from aad.answers import Attribution
from interface import present
from interface.decoder import decoded
from interface.pictures import file_url
from interface.requests import FAULTS, MAX_K, Filter, Refused, filtered, row, told, whole

MAX_CARDS = 1000  # in one go
LOST = "The collection is out of reach"  # heads an error of the server that holds it


def answer(attributor: Attributor, kind: str, which: Any, k: Any, wanted: Filter | None = None) -> dict[str, Any]:
    """Answer to whatever is asked about.

    Args:
        attributor: An `aad.Attributor`.
        kind: A bundled "query", answered at once, since its features are stored; a "reference", searched again and not listed among
            its own answers; or an "upload".
        which: Its number, or the path of the file; None is no file yet.
        k: Matches per space.
        wanted: A filter of the gallery; None searches everything.

    Returns:
        What the page draws: ``query`` is described by `present.example` or `present.reference`, or by its ``url``; ``gallery`` is
        what a filter left, see `filtered`; ``copies`` are, for each match, the place of the match that it is a near-copy of;
        ``cards`` as `present.further` has them. An error message for what cannot be answered, and the app goes on.
    """
    if kind == "upload" and which is None:
        return present.message("empty")
    try:
        if kind != "upload":
            which = row(kind, which, attributor.queries if kind == "query" else attributor.references)
        k = whole("k", k, 1, MAX_K)
        gallery, among = filtered(attributor, wanted)
        result = search(attributor, kind, which, k, among)
        query = _described(attributor, kind, which)
        spaces = {
            str(space): present.space_answer(part)
            | {"copies": attributor.near_copies([match.reference_id for match in part.matches])}
            for space, part in result.spaces.items()
        }
    except FAULTS as error:
        title = LOST if isinstance(error, ConnectionError) else getattr(error, "title", None)
        return present.message("error", str(error), title=title)
    if gallery is not None and "ranks" in query:
        query = {**query, "ranks": {}}  # a rank in the whole collection would contradict the column beside it
    verdict = present.verdict(attributor, result, query.get("truth", ()))
    about = {query.get("reference"), (verdict or {}).get("about"), *query.get("truth", ())} - {None}
    shown = {"k": k, "ready": attributor.ready, "query": query, "verdict": verdict, "gallery": gallery}
    cards = present.further(attributor, present.matched(result) | about)
    return present.reply("answer", **shown, spaces=spaces, cards=cards)


def functions(attributor: Attributor) -> Sequence[Callable[..., Any]]:
    """What all parts of the page may ask the server for; a fault is answered with ``{"error": text}``."""

    def reference_cards(request: dict[str, Any]) -> dict[str, Any]:
        ids = request.get("ids")
        if not isinstance(ids, list) or len(ids) > MAX_CARDS:
            raise Refused(f"ids must be a list of at most {MAX_CARDS} numbers of references, got {ids!r:.80}.")
        return present.cards(attributor, [row("reference", one, attributor.references) for one in ids])

    return (told(reference_cards),)


def search(attributor: Attributor, kind: str, which: Any, k: int, among: np.ndarray | None = None) -> Attribution:
    """Attribute a bundled "query" or a "reference" by its number, or an "upload" by its path; ``among`` None is everything."""
    known = {"query": attributor.attribute_query, "reference": attributor.attribute_reference}
    attribute, which = (known[kind], which) if kind in known else (attributor.attribute, decoded(which))
    return attribute(which, k) if among is None else attribute(which, k, among=among)


def _described(attributor: Attributor, kind: str, which: int | str | Path) -> dict[str, Any]:
    if isinstance(which, int):
        return (present.example if kind == "query" else present.reference)(attributor, which)
    return {"url": file_url(which)}
