"""What anybody may ask of the server, checked in one place: a number, a word, a filter, an upload; and what is said of a fault."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from aad import Attributor
from aad.backbones import BackboneError
from aad.explain import ExplanationError
from aad.images import ImageError
from interface import present

MAX_K = 100
SERVED = "gradio_api/file="
LONGEST = 4096  # characters of a file's address
MISFIT = "This cannot be asked here"  # heads an error about a question, not about a picture

#: field -> values allowed there, as `interface.filters.chosen` takes it
Filter = Mapping[str, Sequence[str]]


class Refused(ValueError):
    """A request that cannot be answered; its text says what was required and what came, its title heads it on the page."""

    def __init__(self, text: str, title: str = MISFIT) -> None:
        super().__init__(text)
        self.title = title


#: What is told in words. Anything else is a fault of this program.
FAULTS = (Refused, ExplanationError, ImageError, BackboneError, ConnectionError)


def told(work: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """``work`` as the page may call it: with one JSON object, whatever came, and a fault of it answered ``{"error": text}``."""

    @functools.wraps(work)
    def answer(request: Any = None) -> dict[str, Any]:
        try:
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
    if (
        not is_number or not low <= value <= high or value != int(value)
    ):  # the range first: an integer may pass any float
        raise Refused(f"{name} must be a whole number from {low} to {high}, got {value!r:.80}.")
    return int(value)


def row(name: str, value: Any, rows: Sequence[Any]) -> int:
    """The number of one of the rows, from 0."""
    return whole(name, value, 0, len(rows) - 1)


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise Refused(f"{name} must be one of {', '.join(allowed)}, got {value!r:.80}.")
    return value


def filtered(attributor: Attributor, wanted: Any) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """What a filter leaves, as `interface.present.gallery` says it: at least one reference.

    Raises:
        Refused: No filter, one by other fields, or one that lets nothing through.
    """
    if not isinstance(wanted, Mapping | None):
        raise Refused(f"a filter names fields and values, got {wanted!r:.80}.")
    try:
        gallery, among = present.gallery(attributor, wanted or {})
    except ValueError as error:
        raise Refused(str(error)) from None
    if gallery is not None and not gallery["n"]:
        text = "No picture of the collection passes this filter. Take something out of it, or clear it."
        raise Refused(text, "Nothing to search in")
    return gallery, among


def uploaded(address: Any) -> Path:
    """The file that a visitor uploaded, by its path or by the address that an answer carries; no other file is ever opened.

    Raises:
        Refused: Anything else, links followed: what lies outside the folder of uploads is not for visitors, and not even
            whether it exists.
    """
    from gradio.utils import get_upload_folder

    if isinstance(address, str) and len(address) <= LONGEST:
        try:
            text = unquote(address.rpartition(SERVED)[2]) if SERVED in address else address
            path = Path(text).resolve(strict=True)
            if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # not there, a NUL in it, links in a circle
            pass
    raise Refused("This file is not, or no longer, on the server: upload it again, or choose it once more.")
