"""What anybody may ask of the server, checked in one place: a number, a word, a filter, an upload; and what is said of a fault."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from aad import Attributor
from aad.backbones import BackboneError
from aad.images import ImageError
from interface.heat import ExplanationError

MAX_K = 100
MAX_FILES = 100  # in one go
SERVED = "gradio_api/file="
LONGEST = 4096  # characters of a file's address
MISFIT = "This cannot be asked here"  # heads an error about a question, not about a picture

FILTER_FIELDS = ("group", "source", "licence")
#: field -> values of which a reference must have one; a field that is not named, or names none, allows all
Filter = Mapping[str, Sequence[str]]
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Refused(ValueError):
    """A request that cannot be answered; its text says what was required and what came, its title heads it on the page."""

    def __init__(self, text: str, title: str = MISFIT) -> None:
        super().__init__(text)
        self.title = title


#: What is told in words. Anything else is a fault of this program.
FAULTS = (Refused, ExplanationError, ImageError, BackboneError, ConnectionError)


def told(work: Answer, turn: contextlib.AbstractContextManager[Any] | None = None) -> Callable[[Any], dict[str, Any]]:
    """``work`` as the page may call it: with one JSON object, whatever came, and a fault of it answered ``{"error": text}``.

    Args:
        work: What answers.
        turn: A lock, where only one may be answered at a time.
    """

    @functools.wraps(work)
    def answer(request: Any = None) -> dict[str, Any]:
        try:
            with turn or contextlib.nullcontext():
                return work(request if isinstance(request, dict) else {})
        except FAULTS as error:
            text = str(error)
            return {"error": text[:1].upper() + text[1:]}

    return answer


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds, both included; 8.0 is one, as JSON knows no other.

    >>> whole("k", 8.0, 1, 100)
    8

    Raises:
        Refused: Anything else.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # the range first: an integer may pass any float
    if not is_number or not low <= value <= high or value != int(value):
        raise Refused(f"{name} must be a whole number from {low} to {high}, got {value!r:.80}.")
    return int(value)


def row(name: str, value: Any, rows: Sequence[Any]) -> int:
    """The number of one of the rows, from 0."""
    return whole(name, value, 0, len(rows) - 1)


def subject(attributor: Attributor, asked: Any) -> tuple[str, int | Path]:
    """What a question is about: a bundled "query" or a "reference" by its number, or an "upload" by its file.

    Args:
        attributor: An `aad.Attributor`.
        asked: ``kind``, with the ``id`` of a query or a reference, or the ``path`` of an upload, as the answer carries it.

    Raises:
        Refused: It names none of these, or one that is not there.
    """
    kind = asked.get("kind") if isinstance(asked, Mapping) else None
    if kind == "upload":
        return kind, uploaded(asked.get("path"))
    known = {"query": attributor.queries, "reference": attributor.references}
    if not isinstance(kind, str) or kind not in known:
        raise Refused(f"a question is about a query, a reference or an upload of this page, got {asked!r:.80}.")
    return kind, row(kind, asked.get("id"), known[kind])


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise Refused(f"{name} must be one of {', '.join(allowed)}, got {value!r:.80}.")
    return value


def filtered(attributor: Attributor, wanted: Filter | None) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """What a filter leaves, at least one reference.

    Returns:
        What the page is told of it, `{"filter": {field: values}, "n": references}`, and the (n,) bool of the references that pass;
        both None where it leaves everything.

    Raises:
        Refused: No filter, one by other fields or by values that are no texts, or one that lets nothing through.
    """
    if not isinstance(wanted, Mapping | None):
        raise Refused(f"a filter names fields and values, got {wanted!r:.80}.")
    passes, asked = np.ones(len(attributor.references), bool), {}
    for field, values in (wanted or {}).items():
        if field not in FILTER_FIELDS:
            raise Refused(f"a filter is by {', '.join(FILTER_FIELDS)}, got {field!r:.80}")
        if not isinstance(values, list | tuple | set) or not all(isinstance(value, str) for value in values):
            raise Refused(f"the filter's {field} must be a list of texts, got {values!r:.80}")
        if values:
            asked[field], let_through = sorted(values), set(values)
            passes &= np.array([word in let_through for word in attributor.references.words(field)], bool)
    if not passes.any() and asked:
        text = "No picture of the collection passes this filter. Take something out of it, or clear it."
        raise Refused(text, "Nothing to search in")
    return ({"filter": asked, "n": int(passes.sum())}, passes) if asked else (None, None)


def uploaded(address: Any) -> Path:
    """The file that a visitor uploaded, by its path or by the address that an answer carries; no other file is ever opened.

    Raises:
        Refused: Anything else, links followed: what lies outside the folder of uploads is not for visitors, and not even
            whether it exists.
    """
    from gradio.utils import get_upload_folder

    if isinstance(address, str) and len(address) <= LONGEST:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # not there, a NUL in it, links in a circle
            text = unquote(address.rpartition(SERVED)[2]) if SERVED in address else address
            path = Path(text).resolve(strict=True)
            if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file():
                return path
    raise Refused("This file is not, or no longer, on the server: upload it again, or choose it once more.")
