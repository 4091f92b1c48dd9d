"""Take away: files, reports and links of what is shown, and many pictures at once.

JSON, CSV and pictures of panels are made in the browser from what it already has. Here is what needs the collection: the
report, and the answer to one of many files. Only one of them is answered at a time, so that nobody waits for another's hundred.
"""

import functools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aad.answers import Attribution
from aad.backbones import BackboneError
from aad.images import ACCEPT, ImageError
from interface import present
from interface.handlers import MAX_K
from interface.report import Case, is_convincing, report

if TYPE_CHECKING:
    from aad.attribution import Attributor

MAX_FILES = 100  # in one go
N_KEPT = 2 * MAX_FILES  # answers kept, so that a report does not compute them again
PATIENCE = 120  # seconds that a file waits for its turn
SERVED = "gradio_api/file="


class Refused(ValueError):
    """A request that cannot be answered; its text says what was required and what came."""


def value(attributor: "Attributor") -> dict[str, Any]:
    """What the part is given when the page opens."""
    return {"max_files": MAX_FILES, "accept": ACCEPT, "stamp": dict(attributor.stamp)}


def functions(attributor: "Attributor") -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for. Each takes one JSON object and answers a fault of it with ``{"error": text}``."""
    turn = threading.Lock()

    @functools.lru_cache(maxsize=N_KEPT)
    def answered(kind: str, which: int | str, k: int, wanted: str) -> Attribution:
        _, among = present.gallery(attributor, json.loads(wanted))
        ways: dict[str, Callable[..., Attribution]]
        ways = {"query": attributor.attribute_query, "reference": attributor.attribute_reference}
        ask = ways.get(kind, attributor.attribute)
        return ask(which, k) if among is None else ask(which, k, among=among)

    def answer(kind: str, which: int | str, k: int, wanted: Mapping[str, Sequence[str]]) -> Attribution:
        if not turn.acquire(timeout=PATIENCE):
            raise Refused("Too many pictures are waiting on this server. Please try again in a while.")
        try:
            return answered(kind, which, k, json.dumps(wanted, sort_keys=True))
        finally:
            turn.release()

    def careful(work: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        def reply(request: Any = None) -> dict[str, Any]:
            try:
                return work(request if isinstance(request, dict) else {})
            except (Refused, ImageError, BackboneError, ConnectionError) as error:
                text = str(error)
                return {"error": text[:1].upper() + text[1:]}

        reply.__name__ = work.__name__
        return reply

    @careful
    def takeaway_answer(request: dict[str, Any]) -> dict[str, Any]:
        """The closest picture of each space to one uploaded file: `{"spaces": {space: {"best", "remainder", "convincing"}}}`."""
        found = answer("upload", uploaded(request.get("path")), *settings(attributor, request))
        return {"spaces": {str(space): _best(found[space]) for space in found.spaces}}

    @careful
    def takeaway_report(request: dict[str, Any]) -> dict[str, Any]:
        """The report of the cases that a request names, as `{"html": text}`."""
        k, wanted = settings(attributor, request)
        cases, refused = [], []
        for kind, which, name in named(attributor, request.get("cases")):
            try:
                found = answer(kind, which, k, wanted)
                cases.append(_case(attributor, kind, which, name, found, wanted))
            except ImageError as error:
                refused.append((name, str(error)))
        refused += failures(request.get("refused", []))
        if not cases and not refused:
            raise Refused("A report needs at least one picture, got none.")
        return {"html": report(attributor, cases, refused)}

    return takeaway_answer, takeaway_report


def settings(attributor: "Attributor", request: Mapping[str, Any]) -> tuple[int, dict[str, list[str]]]:
    """k and the filter of a request.

    Raises:
        Refused: k is no whole number from 1 to 100, or the filter is none, or lets nothing through.
    """
    k, wanted = request.get("k"), request.get("filter") or {}
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MAX_K:
        raise Refused(f"k must be a whole number from 1 to {MAX_K}, got {k!r:.80}.")
    if not isinstance(wanted, Mapping):
        raise Refused(f"a filter names fields and values, got {wanted!r:.80}.")
    try:
        gallery, _ = present.gallery(attributor, wanted)
    except ValueError as error:
        raise Refused(str(error)) from None
    if gallery is not None and not gallery["n"]:
        raise Refused("No picture of the collection passes this filter. Take something out of it, or clear it.")
    return k, {field: sorted(values) for field, values in wanted.items() if values}


def uploaded(path: Any) -> str:
    """The file that a visitor uploaded, by its path or its address.

    Raises:
        Refused: anything else: what lies outside the folder of uploads is not for visitors, and not even whether it exists.
    """
    from gradio.utils import get_upload_folder

    text = unquote(path.rpartition(SERVED)[2]) if isinstance(path, str) and SERVED in path else path
    folder = Path(get_upload_folder()).resolve()
    try:
        file = Path(text).resolve()
        if file.is_relative_to(folder) and file.is_file():
            return str(file)
    except (TypeError, ValueError, OSError):  # no text, a NUL in it, or too long a name
        pass
    raise Refused("This file is not, or no longer, on the server. Please choose it once more.")


def named(attributor: "Attributor", cases: Any) -> list[tuple[str, int | str, str]]:
    """Kind, number or path, and name of each case that a request for a report lists.

    Raises:
        Refused: no list, too long a list, or an entry that names nothing.
    """
    if not isinstance(cases, list) or len(cases) > MAX_FILES:
        raise Refused(f"cases must be a list of at most {MAX_FILES}, got {_size(cases)}.")
    found: list[tuple[str, int | str, str]] = []
    for entry in cases:
        kind, number = (entry.get("kind"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        tables: dict[Any, Sequence[Any]] = {"query": attributor.queries, "reference": attributor.references}
        rows = tables.get(kind) if isinstance(kind, str) else None
        if rows is not None and isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(rows):
            name = rows[number].path.name if kind == "query" else rows[number].title
            found.append((str(kind), number, name))
        elif kind == "upload":
            path = uploaded(entry.get("path"))
            found.append(("upload", path, str(entry.get("name") or Path(path).name)[:200]))
        else:
            raise Refused(f"a case is a query, a reference or an upload of this page, got {entry!r:.80}.")
    return found


def failures(refused: Any) -> list[tuple[str, str]]:
    """Name and reason of the files that the browser itself could not send."""
    rows = refused if isinstance(refused, list) else []
    return [
        (str(row[0])[:200], str(row[1])[:500]) for row in rows[:MAX_FILES] if isinstance(row, list) and len(row) == 2
    ]


def _case(
    attributor: "Attributor", kind: str, which: Any, name: str, found: Attribution, wanted: Mapping[str, Sequence[str]]
) -> Case:
    if kind == "query":
        return Case(name, attributor.queries[which].path, found, which, wanted)
    if kind == "reference":
        note = "A picture of the collection, searched again; it is not listed among its own answers."
        return Case(name, attributor.references[which].path, found, None, wanted, note)
    return Case(name, which, found, None, wanted)


def _best(part: Any) -> dict[str, Any]:
    best = part.matches[0] if part.matches else None
    return {
        "best": None if best is None else present.match(best),
        "remainder": part.remainder,
        "convincing": is_convincing(part),
        "estimated": part.estimated,
    }


def _size(cases: Any) -> str:
    return f"{len(cases)}" if isinstance(cases, list) else type(cases).__name__
