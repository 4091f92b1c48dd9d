"""Explain a match: which regions of the two pictures carry their similarity, in each space."""

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from aad.backbones import BackboneError
from aad.explain import Explanation, ExplanationError, explain, why_not
from aad.images import ImageError

if TYPE_CHECKING:
    from aad.attribution import Attributor

UNIT = 1e-5  # of similarity: what heat is rounded to on its way to the page, a hundredth of the least that is seen
PREFIX = "gradio_api/file="
LONGEST = 4096  # characters of a picture's address


class Refused(ValueError):
    """A request of the page that cannot be answered; its text says what was required and what came."""


def value(attributor: "Attributor") -> dict[str, Any]:
    """What the part is given when the page opens: the reason why matches cannot be explained, or None."""
    return {"reason": None if hasattr(attributor, "explain") else why_not(attributor)}


def functions(attributor: "Attributor") -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for; a fault is answered with ``{"error": text}``.

    An attributor may explain by a method of its own, as stand-ins do.
    """
    explained: Callable[..., Explanation] = getattr(attributor, "explain", functools.partial(explain, attributor))
    working = threading.Lock()  # anybody may ask: one run of the network at a time

    def explain_match(request: Any = None) -> dict[str, Any]:
        try:
            query, reference_id = asked(attributor, request if isinstance(request, dict) else {})
            with working:
                return packed(explained(query, reference_id))
        except (Refused, ExplanationError, ImageError, BackboneError, ConnectionError) as error:
            text = str(error)
            return {"error": text[:1].upper() + text[1:]}

    return (explain_match,)


def asked(attributor: "Attributor", request: dict[str, Any]) -> tuple[Any, int]:
    """The query and the reference that a request means.

    Args:
        attributor: An `aad.Attributor`.
        request: ``reference``, and one of ``query`` (id of a bundled query), ``searched`` (id of the reference that is searched
            again) or ``picture`` (address of an uploaded picture, as the answer carries it).

    Raises:
        Refused: An id out of range, or an address that is not of an upload.
    """
    reference_id = _row(request, "reference", len(attributor.references))
    if "query" in request:
        return _row(request, "query", len(attributor.queries)), reference_id
    if "searched" in request:
        return attributor.references[_row(request, "searched", len(attributor.references))], reference_id
    return uploaded(request.get("picture")), reference_id


def uploaded(address: Any) -> Path:
    """The file behind the address of an uploaded picture; no other file is ever opened.

    Raises:
        Refused: Anything but the address of a file in gradio's folder of uploads, links followed.
    """
    from gradio.utils import get_upload_folder

    if isinstance(address, str) and len(address) <= LONGEST and address.startswith(PREFIX):
        try:
            path = Path(unquote(address.removeprefix(PREFIX))).resolve(strict=True)
            if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # not there, a NUL in it, links in a circle
            pass
    raise Refused("The picture must be one that was uploaded here, and it is not or no longer; upload it again.")


def packed(explanation: Explanation) -> dict[str, Any]:
    """An explanation as the page draws it: heat as whole numbers of ``unit``, in reading order.

    >>> packed(Explanation({}, 7))
    {'side': 7, 'unit': 1e-05, 'spaces': {}}
    """

    def whole(heat: np.ndarray) -> list[int]:
        return np.rint(heat / UNIT).astype(int).ravel().tolist()

    return {
        "side": explanation.side,
        "unit": UNIT,
        "spaces": {
            str(space): {
                "similarity": round(one.similarity, 5),
                "query": whole(one.heat_query),
                "reference": whole(one.heat_reference),
            }
            for space, one in explanation.spaces.items()
        },
    }


def _row(request: dict[str, Any], name: str, n: int) -> int:
    number = request.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < n:
        raise Refused(f"{name} must be a whole number from 0 to {n - 1}, got {number!r:.80}.")
    return number
