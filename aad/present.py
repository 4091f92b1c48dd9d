"""What the page is told: plain JSON built from the facade's types, and no user interface in it.

The page receives two things. The *catalogue* (`catalogue`) travels once: every reference's words, the address of its
picture and its place on the three maps, with repeated words factored out and coordinates quantised. The *answer*
(`answer`) travels once per query and holds ids and numbers only. Nothing here is HTML: the browser sets words as text.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np

from aad.words import GENERATOR_WORDS, SPACE_WORDS, TYPE_WORDS

_SERIAL = itertools.count(1)


class SpaceAnswer(Protocol):
    """One space's part of an attribution, as `aad.attribution.SpaceAttribution` has it."""

    matches: Sequence[Any]
    remainder: float
    elsewhere: float
    position: tuple[float, float]


def file_url(path: str | os.PathLike[str]) -> str:
    """Address of a served file, relative to the page so that it holds behind a proxy.

    Args:
        path: Absolute path of a file under one of `served_paths`.

    Returns:
        For example `gradio_api/file=/srv/pictures/a%20b.webp`.
    """
    return "gradio_api/file=" + quote(Path(path).resolve().as_posix(), safe="/:")


def served_paths(paths: Iterable[Path], *, private: Sequence[Path]) -> list[Path]:
    """Smallest set of folders and files to serve so that every picture can be shown.

    A picture's folder is served, unless it holds one of the `private` folders (the working directory, the home
    folder, the code): then only the picture itself is.

    Args:
        paths: Absolute paths of the pictures.
        private: Folders that must not be reachable, nor anything in them but the pictures.

    Returns:
        Sorted folders and files.
    """
    guarded = [folder.resolve() for folder in private]
    served: set[Path] = set()
    for path in paths:
        folder = path.parent.resolve()
        exposes = any(keep == folder or keep.is_relative_to(folder) for keep in guarded)
        served.add(path.resolve() if exposes else folder)
    folders = {entry for entry in served if entry.is_dir()}
    return sorted(entry for entry in served if not folders.intersection(entry.parents))


def catalogue(attributor: Any) -> dict[str, Any]:
    """Everything about the collection that the page needs once.

    Args:
        attributor: An `aad.Attributor`, or anything with its attributes.

    Returns:
        JSON-ready dict. Words are `{"values": [...], "index": [...]}` with one index per reference; coordinates are
        base64 of little-endian uint16 pairs (0 is 0.0 and 65535 is 1.0), row by row in the order of reference ids.
    """
    references = attributor.references
    folders = _factor(str(ref.path.parent) for ref in references)
    return {
        "n": len(references),
        "titles": [ref.title for ref in references],
        "files": [quote(ref.path.name) for ref in references],
        "folders": {"values": [file_url(folder) + "/" for folder in folders["values"]], "index": folders["index"]},
        "words": {
            field: _factor(str(getattr(ref, field) or "") for ref in references)
            for field in ("source", "licence", "author", "url", "concept", "group")
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
        "examples": [
            {key: value for key, value in example(attributor, query_id).items() if key in ("id", "url", "label")}
            for query_id in attributor.examples
        ],
    }


def example(attributor: Any, query_id: int) -> dict[str, Any]:
    """One bundled query as the answer's caption shows it, with its true sources and their rank in each space."""
    query = attributor.queries[query_id]
    return {
        "id": int(query_id),
        "url": file_url(query.path),
        "type": query.type,
        "label": TYPE_WORDS.get(query.type, query.type.capitalize()),
        "concept": query.concept,
        "generator": GENERATOR_WORDS.get(query.generator, query.generator),
        "truth": [int(reference_id) for reference_id in query.exemplar_ids],
        "ranks": {str(space): list(ranks) for space, ranks in attributor.true_ranks(query_id).items()},
    }


def answer(result: Any, *, k: int, ready: bool, query: dict[str, Any]) -> dict[str, Any]:
    """One query's attribution as the page draws it.

    Args:
        result: An `aad.attribution.Attribution`.
        k: Matches asked for in each space.
        ready: Whether the backbone is loaded, so that the next upload is fast.
        query: `example(...)` for a bundled query, or `{"url": ...}` for an upload.

    Returns:
        JSON-ready dict; `serial` makes two equal answers differ, so that the page always hears of a new one.
    """
    return {
        "serial": next(_SERIAL),
        "status": "answer",
        "k": k,
        "ready": ready,
        "query": query,
        "spaces": {str(space): _space_answer(result[space]) for space in result.spaces},
    }


def message(status: str, text: str = "", *, ready: bool = True) -> dict[str, Any]:
    """An answer without matches: `status` is "empty", "warming" or "error"; its text starts like a sentence."""
    text = text[:1].upper() + text[1:]
    return {"serial": next(_SERIAL), "status": status, "text": text, "ready": ready}


def api_answer(attributor: Any, result: Any, *, k: int) -> dict[str, Any]:
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


def about(attributor: Any) -> dict[str, Any]:
    """What the page says about itself: how each space works, what was measured, and what computed the answers.

    Returns:
        `{"how": [...], "metrics": metrics_rows(...), "stamp": [[name, value], ...]}`.
    """
    stamp: list[list[str]] = []
    for name, value in attributor.stamp.items():
        parts = value.items() if isinstance(value, dict) else [(name, value)]
        stamp.extend([str(key).replace("_", " "), str(entry)] for key, entry in parts)
    return {
        "how": [{"id": str(space), **SPACE_WORDS[str(space)]} for space in attributor.spaces],
        "metrics": metrics_rows(attributor.metrics),
        "stamp": stamp,
    }


def metrics_rows(metrics: dict[str, Any] | None, *, split: str = "test") -> list[dict[str, Any]]:
    """Rows of the measured results: one per query type, with every space's figures.

    Args:
        metrics: The bundle's metrics, or None.
        split: Which split to show.

    Returns:
        `[{"type", "label", "n_queries", "held_out", "cells": {measure: {space: {"mean", "low", "high"}}}}]`, with the
        measures "R@1", "R@5" and "MRR"; `held_out` says that no generator of these queries was trained on. Empty when
        nothing was measured.
    """
    metrics = metrics or {}
    spaces, generators = metrics.get("spaces", {}), metrics.get("generators", {})
    held_out = set(metrics.get("held_out_generators", ()))
    rows: dict[str, dict[str, Any]] = {}
    for space in SPACE_WORDS:
        for query_type, figures in spaces.get(space, {}).get(split, {}).items():
            row = rows.setdefault(
                query_type,
                {
                    "type": query_type,
                    "label": TYPE_WORDS.get(query_type, query_type.capitalize()),
                    "n_queries": figures.get("n_queries"),
                    "held_out": bool(generators.get(query_type)) and held_out.issuperset(generators[query_type]),
                    "cells": {"R@1": {}, "R@5": {}, "MRR": {}},
                },
            )
            recall = figures.get("recall", {})
            for measure, figure in (("R@1", recall.get("1")), ("R@5", recall.get("5")), ("MRR", figures.get("mrr"))):
                if figure and figure.get("mean") is not None:
                    row["cells"][measure][space] = figure
    return list(rows.values())


def _space_answer(space: SpaceAnswer) -> dict[str, Any]:
    return {
        "matches": [
            [int(m.reference_id), round(float(m.similarity), 5), round(float(m.weight), 5)] for m in space.matches
        ],
        "remainder": float(space.remainder),
        "elsewhere": float(space.elsewhere),
        "position": [float(space.position[0]), float(space.position[1])],
    }


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
