"""What the page is told: plain JSON built from the facade's types, and no user interface in it.

The page receives three things. The *catalogue* (`catalogue`) travels once: every reference's place on the three maps, quantised,
and the words by which maps are coloured and galleries filtered. The *answer* (`handlers.answer`) travels once per query and holds
ids and numbers. The *cards* (`cards`) are all else that is shown of a reference: of a small collection they come with the
catalogue, of a large one with the answers that name them, and when they are asked for. Nothing here is HTML: the browser sets words
as text.
"""

from __future__ import annotations

import base64
import itertools
import os
import posixpath
from collections.abc import Container, Iterable
from typing import Any
from urllib.parse import quote

import numpy as np

from aad import Attributor
from aad.answers import Attribution, SpaceAttribution
from interface.pictures import file_url
from interface.words import SPACE_WORDS, made_by, type_words, verdict_words

#: What is told of a reference, in the API.
REFERENCE_FIELDS = ("title", "source", "licence", "author", "url", "concept", "group")
SHARED = ("group", "source", "licence")  # what the catalogue tells of every reference
OWN = ("title", "author", "url", "concept")  # what a card tells, and the address of the picture
AT_ONCE = 2000  # the most references whose cards come with the catalogue, half a megabyte
_SERIAL = itertools.count(1)


def catalogue(attributor: Attributor) -> dict[str, Any]:
    """Everything about the collection that the page needs once.

    Args:
        attributor: An `aad.Attributor`, or anything with its attributes.

    Returns:
        JSON-ready dict. Words are `indexed`, one for each reference; coordinates packed pairs,
        row by row in the order of reference ids (0 is 0.0 and 65535 is 1.0).
    """
    references = attributor.references
    return {
        "n": len(references),
        "words": {field: indexed(references.words(field)) for field in SHARED},
        "cards": cards(attributor, range(len(references))) if len(references) <= AT_ONCE else None,
        "spaces": [
            {
                "id": str(space),
                **{key: SPACE_WORDS[str(space)][key] for key in ("name", "line")},
                "preservation": attributor.neighbour_preservation.get(space),
                "coordinates": packed(np.rint(np.clip(attributor.coordinates[space], 0, 1) * np.float64(65535))),
            }
            for space in attributor.spaces
        ],
        "examples": [_offered(attributor.queries[query_id], query_id) for query_id in attributor.examples],
        "is_borrowed": attributor.stamp.get("calibration", "").startswith("copied"),
        "absent": [file_url(path) for path in attributor.absent if path.is_file()],
    }


def cards(attributor: Attributor, ids: Iterable[int]) -> dict[str, Any]:
    """What is shown of some references and is not in the catalogue: `{"ids": [...], "words": {field: indexed}}`.

    The fields are those of `OWN`, and of `addresses` of the pictures.
    """
    known, ids = attributor.references, list(ids)
    words = {field: indexed(known.words(field)[one] for one in ids) for field in OWN}
    return {"ids": ids, "words": words | addresses(f"{known.folder}/{known.words('path')[one]}" for one in ids)}


def addresses(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """Where pictures are served, in three parts, each `indexed`; joined, they are `file_url`."""
    parts = [os.path.split(path) for path in paths]
    # once a folder: resolving each picture takes long
    urls = {folder: f"{file_url(folder)}/" for folder in {folder for folder, _ in parts}}
    root = posixpath.commonpath(urls.values()) if urls else ""
    folders = indexed(urls[folder].removeprefix(root) for folder, _ in parts)
    return {"root": indexed(root for _ in parts), "folder": folders, "file": indexed(quote(name) for _, name in parts)}


def further(attributor: Attributor, ids: Iterable[int]) -> dict[str, Any] | None:
    """The cards of references that an answer names; None where the page has all of them from the catalogue."""
    return cards(attributor, sorted(set(ids))) if len(attributor.references) > AT_ONCE else None


def stamp(attributor: Attributor) -> list[list[str]]:
    """What computed the answers, as `[[name, value], ...]`."""
    told: list[list[str]] = []
    for name, value in attributor.stamp.items():
        parts = value.items() if isinstance(value, dict) else [(name, value)]
        told.extend([str(key).replace("_", " "), str(entry)] for key, entry in parts)
    return told


def example(attributor: Attributor, query_id: int) -> dict[str, Any]:
    """One bundled query as the answer's caption shows it, with its true sources and their rank in each space."""
    query = attributor.queries[query_id]
    return {
        **_offered(query, query_id),
        "type": query.type,
        "kind": type_words(query.type),
        "concept": query.concept,
        "generator": made_by(query.generator),
        "truth": [int(reference_id) for reference_id in query.exemplar_ids],
        "ranks": {str(space): list(ranks) for space, ranks in attributor.true_ranks(query_id).items()},
    }


def _offered(query: Any, query_id: int) -> dict[str, Any]:
    """A bundled query as the strip of examples shows it: by what is seen on it, and in a folder of one's own by its file."""
    seen = query.path.stem if query.type == "upload" else query.concept or type_words(query.type)
    return {"id": int(query_id), "url": file_url(query.path), "label": seen[:1].upper() + seen[1:]}


def own_queries(attributor: Attributor) -> list[dict[str, Any]]:
    """All queries of a folder of one's own, as the strip of examples shows some of them."""
    return [_offered(query, i) for i, query in enumerate(attributor.queries) if query.type == "upload"]


def reference(attributor: Attributor, reference_id: int) -> dict[str, Any]:
    """A reference that is searched again, as a query of its own: no true source, and it is not among its own answers."""
    return {"reference": int(reference_id), "url": file_url(attributor.references[reference_id].path)}


def reply(status: str, **told: Any) -> dict[str, Any]:
    """An answer of the page; `serial` makes two equal ones differ, so that the page always hears of a new one."""
    return {"serial": next(_SERIAL), "status": status, **told}


def message(status: str, text: str = "", *, title: str | None = None) -> dict[str, Any]:
    """An answer without matches: `status` is "empty" or "error"; its text starts like a sentence."""
    text = text[:1].upper() + text[1:]
    return reply(status, text=text, **({"title": title} if title else {}))


def named(attributor: Attributor, result: Attribution) -> dict[str, dict[str, Any]]:
    """What is known of the references that an attribution names: reference id as text -> `REFERENCE_FIELDS`, no path."""
    known = attributor.references
    return {
        str(one): {field: getattr(known[one], field) for field in REFERENCE_FIELDS} for one in sorted(matched(result))
    }


def matched(result: Attribution) -> set[int]:
    """Ids of the references that an attribution names."""
    return {match.reference_id for part in result.spaces.values() for match in part.matches}


def match(one: Any) -> dict[str, Any]:
    """One match as the page has it everywhere; assets/ui/core/match.js says how its numbers are written."""
    return {
        "id": int(one.reference_id),
        "rank": int(one.rank),
        "similarity": round(float(one.similarity), 5),
        "weight": round(float(one.weight), 5),
    }


def verdict(attributor: Attributor, result: Attribution, truth: Container[int] = ()) -> dict[str, Any] | None:
    """What an attribution amounts to, as `verdict_words` tells it; None where nothing could be named."""
    firsts = [part.matches[0].reference_id for part in result.spaces.values() if part.matches]
    if not firsts or len(firsts) < len(result.spaces):
        return None
    judged = getattr(result, "verdict", None)
    if judged and judged.reference_id is not None:
        firsts[-1] = judged.reference_id  # a copy may stand lower there
    titles = [attributor.references[one].title for one in firsts]
    return verdict_words(judged.to_dict() if judged else None, firsts, titles, truth)


def space_answer(part: SpaceAttribution) -> dict[str, Any]:
    """One space's part of an answer; `estimated` says that all its shares are an estimate."""
    return {
        "matches": [match(one) for one in part.matches],
        "remainder": float(part.remainder),
        "elsewhere": float(part.elsewhere),
        "position": [float(part.position[0]), float(part.position[1])],
        "estimated": bool(part.estimated),
    }


def packed(numbers: Any) -> dict[str, Any]:
    """Whole numbers from 0 as base64 of the narrowest little-endian unsigned integers that hold them.

    >>> packed([1, 258])
    {'bits': 16, 'data': 'AQACAQ=='}
    """
    array = np.asarray(numbers).ravel()
    most = int(array.max()) if len(array) else 0
    bits = 8 if most < 1 << 8 else 16 if most < 1 << 16 else 32
    return {"bits": bits, "data": base64.b64encode(array.astype(f"<u{bits // 8}").tobytes()).decode("ascii")}


def indexed(words: Iterable[str]) -> dict[str, Any]:
    """`["b", "a", "b"]` as its `values`, in the order of first sight, and one packed `index` per word."""
    seen: dict[str, int] = {}
    index = [seen.setdefault(word, len(seen)) for word in words]
    return {"values": list(seen), "index": packed(index)}
