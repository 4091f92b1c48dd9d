"""Explain a match: which regions of the two pictures carry their similarity, in each space."""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aad import Attributor
from aad.spaces import Space
from interface.heat import Explanation, explain, why_not
from interface.requests import row, subject, told

UNIT = 1e-5  # of similarity: what heat is rounded to on its way to the page, a hundredth of the least that is seen


def value(attributor: Attributor) -> dict[str, Any]:
    """What the part is given when the page opens: the reason why matches cannot be explained, or None."""
    return {"reason": None if hasattr(attributor, "explain") else why_not(attributor)}


def functions(attributor: Attributor) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for; a fault is answered with ``{"error": text}``.

    An attributor may explain by a method of its own, as stand-ins do.
    """
    explained: Callable[..., Explanation] = getattr(attributor, "explain", functools.partial(explain, attributor))

    def explain_match(request: dict[str, Any]) -> dict[str, Any]:
        return packed(explained(*asked(attributor, request)))

    return (told(explain_match, threading.Lock()),)  # anybody may ask: one run of the network at a time


def asked(attributor: Attributor, request: dict[str, Any]) -> tuple[Any, int]:
    """The query, or the picture that is searched with, and the reference that a request means, see `interface.requests.subject`."""
    reference_id = row("reference", request.get("reference"), attributor.references)
    kind, which = subject(attributor, request)
    return attributor.references[which] if kind == "reference" else which, reference_id


def packed(explanation: Explanation) -> dict[str, Any]:
    """An explanation as the page draws it: heat as whole numbers of ``unit``, in reading order."""

    def whole(heat: np.ndarray) -> list[int]:
        return np.rint(heat / UNIT).astype(int).ravel().tolist()

    spaces = {
        str(space): {
            "similarity": round(one.similarity, 5),
            "query": whole(one.heat_query),
            "reference": whole(one.heat_reference),
        }
        for space, one in explanation.items()
    }
    return {"side": len(explanation[Space.BACKBONE].heat_query), "unit": UNIT, "spaces": spaces}
