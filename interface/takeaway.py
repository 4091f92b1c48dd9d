"""Export: files, reports and links of what is shown; and many pictures at once.

JSON, CSV and a picture of the answer are made in the browser from what it already has. Here is what needs the collection: the
report, and the answer to one of many files. Only one of them is answered at a time, so that nobody waits for another's hundred.
"""

import functools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aad import Attributor
from aad.answers import Attribution, SpaceAttribution
from aad.images import ACCEPT, ImageError
from interface import present
from interface.handlers import search
from interface.report import Case, report
from interface.requests import MAX_FILES, MAX_K, Filter, Refused, filtered, subject, told, whole

N_KEPT = 2 * MAX_FILES  # answers kept, so that a report does not compute them again
PATIENCE = 120  # seconds that a file waits for its turn
AGAIN = "A picture of the collection, searched again; it is not listed among its own answers."


def value(attributor: Attributor) -> dict[str, Any]:
    """What the part is given when the page opens."""
    return {"max_files": MAX_FILES, "accept": ACCEPT, "stamp": dict(attributor.stamp)}


def functions(attributor: Attributor) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for. Each takes one JSON object and answers a fault of it with ``{"error": text}``."""
    turn = threading.Lock()

    @functools.lru_cache(maxsize=N_KEPT)
    def answered(kind: str, which: int | Path, k: int, wanted: str) -> Attribution:
        return search(attributor, kind, which, k, filtered(attributor, json.loads(wanted))[1])

    def answer(kind: str, which: int | Path, k: int, wanted: Filter) -> Attribution:
        if not turn.acquire(timeout=PATIENCE):
            raise Refused("Too many pictures are waiting on this server. Please try again in a while.")
        try:
            return answered(kind, which, k, json.dumps(wanted, sort_keys=True))
        finally:
            turn.release()

    def takeaway_answer(request: dict[str, Any]) -> dict[str, Any]:
        """What a file or a query amounts to: `{"verdict", "spaces": {space: {"best", "remainder", "estimated"}}, "cards"}`."""
        kind, which = subject(attributor, {"kind": "upload", **request})
        found = answer(kind, which, *settings(attributor, request))
        spaces = {str(space): best_of(part) for space, part in found.spaces.items()}
        truth = attributor.queries[which].exemplar_ids if kind == "query" and isinstance(which, int) else ()
        cards = present.further(attributor, present.matched(found))
        return {"verdict": present.verdict(attributor, found, truth), "spaces": spaces, "cards": cards}

    def takeaway_report(request: dict[str, Any]) -> dict[str, Any]:
        """The report of the cases that a request names, as `{"html": text}`."""
        k, wanted = settings(attributor, request)
        cases, refused = [], []
        for kind, which, fields in named(attributor, request.get("cases")):
            try:
                cases.append(Case(attribution=answer(kind, which, k, wanted), filter=wanted, **fields))
            except ImageError as error:
                refused.append((fields["name"], str(error)))
        refused += failures(request.get("refused", []))
        if not cases and not refused:
            raise Refused("A report needs at least one picture, got none.")
        return {"html": report(attributor, cases, refused)}

    return told(takeaway_answer), told(takeaway_report)


def settings(attributor: Attributor, request: Mapping[str, Any]) -> tuple[int, dict[str, list[str]]]:
    """k and the filter of a request.

    Raises:
        Refused: k is no whole number from 1 to 100, or the filter is none, or lets nothing through.
    """
    k, (gallery, _) = whole("k", request.get("k"), 1, MAX_K), filtered(attributor, request.get("filter") or {})
    return k, gallery["filter"] if gallery else {}


def named(attributor: Attributor, cases: Any) -> list[tuple[str, int | Path, dict[str, Any]]]:
    """Kind, number or path, and fields of the `Case` of each that a request for a report lists.

    Raises:
        Refused: no list, too long a list, or an entry that names nothing.
    """
    if not isinstance(cases, list) or len(cases) > MAX_FILES:
        size = len(cases) if isinstance(cases, list) else type(cases).__name__
        raise Refused(f"cases must be a list of at most {MAX_FILES}, got {size}.")
    found: list[tuple[str, int | Path, dict[str, Any]]] = []
    for entry in cases:
        kind, which = subject(attributor, entry)
        if isinstance(which, Path):
            fields = {"name": str(entry.get("name") or which.name)[:200], "picture": which}
        elif kind == "query":
            path = attributor.queries[which].path
            fields = {"name": path.name, "picture": path, "query_id": which}
        else:
            reference = attributor.references[which]
            fields = {"name": reference.title, "picture": reference.path, "note": AGAIN}
        found.append((kind, which, fields))
    return found


def failures(refused: Any) -> list[tuple[str, str]]:
    """Name and reason of the files that the browser itself could not send."""
    rows = refused if isinstance(refused, list) else []
    pairs = (row for row in rows[:MAX_FILES] if isinstance(row, list) and len(row) == 2)
    return [(str(name)[:200], str(reason)[:500]) for name, reason in pairs]


def best_of(part: SpaceAttribution) -> dict[str, Any]:
    """The first match of a space, or None, and what outweighs it."""
    told = present.space_answer(part)
    return {"best": next(iter(told["matches"]), None)} | {key: told[key] for key in ("remainder", "estimated")}
