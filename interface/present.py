"""What the page is told: plain JSON built from the facade's types, and no user interface in it.

The page receives two things. The *catalogue* (`catalogue`) travels once: every reference's words, the address of its
picture and its place on the three maps, with repeated words factored out and coordinates quantised. The *answer*
(`answer`) travels once per query and holds ids and numbers only. Nothing here is HTML: the browser sets words as text.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np

from aad import Attributor
from aad.references import References, words_of
from interface.about import about, metrics_rows
from interface.filters import chosen
from interface.pictures import file_url
from interface.words import GENERATOR_WORDS, SPACE_WORDS, TYPE_WORDS

__all__ = [
    "about",
    "answer",
    "api_answer",
    "catalogue",
    "example",
    "file_url",
    "gallery",
    "message",
    "metrics_rows",
    "reference",
]

_SERIAL = itertools.count(1)


class SpaceAnswer(Protocol):
    """One space's part of an attribution, as `aad.attribution.SpaceAttribution` has it."""

    matches: Sequence[Any]
    remainder: float
    elsewhere: float
    position: tuple[float, float]
    estimated: bool


def catalogue(attributor: Attributor) -> dict[str, Any]:
    """Everything about the collection that the page needs once.

    Args:
        attributor: An `aad.Attributor`, or anything with its attributes.

    Returns:
        JSON-ready dict. Words are `{"values": [...], "index": [...]}` with one index per reference; coordinates are
        base64 of little-endian uint16 pairs (0 is 0.0 and 65535 is 1.0), row by row in the order of reference ids.
    """
    references = attributor.references
    places = [os.path.split(path) for path in _paths(references)]
    folders = _factor(folder for folder, _ in places)
    return {
        "n": len(references),
        "titles": list(words_of(references, "title")),
        "files": [quote(name) for _, name in places],
        "folders": {"values": [file_url(folder) + "/" for folder in folders["values"]], "index": folders["index"]},
        "words": {
            field: _factor(words_of(references, field))
            for field in ("source", "licence", "author", "url", "concept", "group", "split")
        },
        "spaces": [
            {
                "id": str(space),
                **{key: SPACE_WORDS[str(space)][key] for key in ("name", "line")},
                "preservation": _optional(attributor.neighbour_preservation.get(space)),
                "coordinates": _quantised(attributor.coordinates[space]),
            }
            for space in attributor.spaces
        ],
        "examples": [_offered(attributor.queries[query_id], query_id) for query_id in attributor.examples],
    }


def example(attributor: Attributor, query_id: int) -> dict[str, Any]:
    """One bundled query as the answer's caption shows it, with its true sources and their rank in each space."""
    query = attributor.queries[query_id]
    return {
        **_offered(query, query_id),
        "type": query.type,
        "concept": query.concept,
        "generator": GENERATOR_WORDS.get(query.generator, query.generator),
        "truth": [int(reference_id) for reference_id in query.exemplar_ids],
        "ranks": {str(space): list(ranks) for space, ranks in attributor.true_ranks(query_id).items()},
    }


def _offered(query: Any, query_id: int) -> dict[str, Any]:
    """A bundled query as the strip of examples shows it."""
    label = TYPE_WORDS.get(query.type, query.type.capitalize())
    return {"id": int(query_id), "url": file_url(query.path), "label": label}


def reference(attributor: Attributor, reference_id: int) -> dict[str, Any]:
    """A reference that is searched again, as a query of its own: no true source, and it is not among its own answers."""
    return {"reference": int(reference_id), "url": file_url(attributor.references[reference_id].path)}


def gallery(
    attributor: Attributor, wanted: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """What a filter leaves: what the page is told of it, and the (n,) bool mask; both None where it leaves everything.

    Raises:
        ValueError: a field that cannot be filtered, or values that are no texts.
    """
    passes = chosen(attributor.references, wanted)
    asked = {field: sorted(values) for field, values in wanted.items() if values}
    return ({"filter": asked, "n": int(passes.sum())}, passes) if asked else (None, None)


def answer(
    result: Any,
    *,
    k: int,
    ready: bool,
    query: dict[str, Any],
    gallery: dict[str, Any] | None = None,
    copies: Mapping[str, Sequence[int | None]] | None = None,
) -> dict[str, Any]:
    """One query's attribution as the page draws it.

    Args:
        result: An `aad.attribution.Attribution`.
        k: Matches asked for in each space.
        ready: Whether the backbone is loaded, so that the next upload is fast.
        query: `example(...)` for a bundled query, `reference(...)`, or `{"url": ...}` for an upload.
        gallery: What a filter left, see `gallery(...)`; None for everything.
        copies: Per space and match, the place of the match that it is a near-copy of, see `Attributor.near_copies`.

    Returns:
        JSON-ready dict; `serial` makes two equal answers differ, so that the page always hears of a new one. A space's
        `convincing` is False where its remainder outweighs all matches shown together; its `estimated` says that all its
        shares are an estimate.
    """
    return {
        "serial": next(_SERIAL),
        "status": "answer",
        "k": k,
        "ready": ready,
        "query": query,
        "gallery": gallery,
        "spaces": {str(space): _space_answer(result[space], (copies or {}).get(space)) for space in result.spaces},
    }


def message(status: str, text: str = "", *, title: str | None = None, ready: bool = True) -> dict[str, Any]:
    """An answer without matches: `status` is "empty", "warming" or "error"; its text starts like a sentence."""
    text = text[:1].upper() + text[1:]
    return {"serial": next(_SERIAL), "status": status, "text": text, "ready": ready} | (
        {"title": title} if title else {}
    )


def api_answer(attributor: Attributor, result: Any, *, k: int) -> dict[str, Any]:
    """What the `/attribute` endpoint returns: the attribution, and what is known of the references it names.

    Args:
        attributor: The `aad.Attributor` that made `result`.
        result: Its `Attribution`.
        k: Matches asked for in each space.

    Returns:
        `result.to_dict()` with `k`, `references` (reference id as text -> title, source, licence, author, url, concept,
        group; no path of the server) and `stamp` (what computed this) added.
    """
    named = sorted({match.reference_id for space in result.spaces for match in result[space].matches})
    fields = ("title", "source", "licence", "author", "url", "concept", "group")
    return {
        **result.to_dict(),
        "k": k,
        "references": {
            str(reference_id): {field: getattr(attributor.references[reference_id], field) for field in fields}
            for reference_id in named
        },
        "stamp": dict(attributor.stamp),
    }


def match(one: Any) -> dict[str, Any]:
    """One match as the page has it everywhere; assets/ui/core/match.js says how its numbers are written."""
    return {
        "id": int(one.reference_id),
        "rank": int(one.rank),
        "similarity": round(float(one.similarity), 5),
        "weight": round(float(one.weight), 5),
    }


def _space_answer(space: SpaceAnswer, copies: Sequence[int | None] | None) -> dict[str, Any]:
    return {
        "matches": [match(one) for one in space.matches],
        "copies": list(copies) if copies is not None else [None] * len(space.matches),
        "convincing": bool(space.remainder <= sum(m.weight for m in space.matches)),
        "remainder": float(space.remainder),
        "elsewhere": float(space.elsewhere),
        "position": [float(space.position[0]), float(space.position[1])],
        "estimated": bool(space.estimated),
    }


def _paths(references: Sequence[Any]) -> Iterable[str]:
    """Where every reference's picture lies; a `Path` each would take seconds of a large collection."""
    if isinstance(references, References):
        folder = str(references.folder)
        return (f"{folder}/{path}" for path in references.words("path"))
    return (str(one.path) for one in references)


def _factor(words: Iterable[str]) -> dict[str, list[Any]]:
    """`["a", "b", "a"]` as `{"values": ["a", "b"], "index": [0, 1, 0]}`, in the order of first sight."""
    seen: dict[str, int] = {}
    index = [seen.setdefault(word, len(seen)) for word in words]
    return {"values": list(seen), "index": index}


def _quantised(coordinates: Any) -> str:
    levels = np.rint(np.clip(np.asarray(coordinates, dtype=np.float64), 0.0, 1.0) * 65535).astype("<u2")
    return base64.b64encode(levels.tobytes()).decode("ascii")


def _optional(value: Any, convert: Callable[[Any], float] = float) -> float | None:
    return None if value is None else convert(value)
