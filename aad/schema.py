"""What the JSON of a bundle must say before anything is made of it: types, ranges and names.

Every check returns nothing, or raises a ValueError that says what was required and what came. Who read the file adds its name and
the remedy: see ``Bundle.refusal``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from aad.spaces import SPACES

_FILE = re.compile(r"\w[\w.-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOP = 1e9  # far beyond any inverse temperature or logit; what is larger overflows in float64 sums
_OWN = {"format", "files", "steps"}  # of the manifest; no step may drop them
_NEEDED = ("title", "source", "licence")
_TEXTS = (*_NEEDED, "author", "url", "concept", "group", "split")
_ASKED = ("generator", "split", "concept")


def parse_json(data: bytes) -> Any:
    """JSON, where all that is wrong with it is a ValueError."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """The manifest's own entries and those of the first step; what later steps write is checked where it is used.

    So a bundle whose calibration is damaged still opens for the step that calibrates it again.
    """
    require(isinstance(manifest.get("files"), dict), "an object as 'files'", manifest.get("files"))
    for name, entry in manifest["files"].items():
        require(_FILE.fullmatch(name), "the name of a file without a folder in 'files'", name)
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        require(isinstance(sha256, str) and _SHA256.fullmatch(sha256), f"a sha256 for {name} in 'files'", sha256)
    steps = manifest.get("steps")
    require(isinstance(steps, dict), "an object as 'steps'", steps)
    for name, told in manifest["steps"].items():
        require(isinstance(told, dict), f"an object for {name!r} in 'steps'", told)
        sections = told.get("sections", [])
        fits = isinstance(sections, list) and all(isinstance(one, str) and one not in _OWN for one in sections)
        require(fits, f"names of sections for {name!r} in 'steps'", sections)
        versions = told.get("versions", {})
        require(isinstance(versions, dict), f"an object as 'versions' of {name!r} in 'steps'", versions)
    for name in ("name", "images", "backbone", "examples"):
        if name in manifest:
            check_section(name, manifest[name])


def check_section(name: str, value: Any) -> None:
    """One section of the manifest, as the step that writes it writes it; one that nobody reads may be anything."""
    if name == "name":
        require(isinstance(value, str), "a text as 'name'", value)
    elif name == "images":
        # It may lead out of the bundle: pictures lie where they lay when the bundle was made. One from the hub may not, see hub.py.
        fits = isinstance(value, str) and value and not set("\0\\") & set(value) and not value.startswith("/")
        require(fits, "a relative path without backslashes as 'images'", value)
    elif name == "backbone":
        require(isinstance(value, dict), "an object as 'backbone'", value)
        for key in ("name", "dim"):
            require(key in value, f"a {key!r} in 'backbone'", value)
        for key in {"name", "sha256", "engine", "weights", "licence"} & set(value):
            require(isinstance(value[key], str), f"a text as {key!r} of 'backbone'", value[key])
        require(
            is_whole(value["dim"]) and 1 <= value["dim"] <= 1 << 20,
            "a whole number as 'dim' of 'backbone'",
            value["dim"],
        )
    elif name == "examples":
        require(isinstance(value, list) and all(map(is_whole, value)), "a list of whole numbers as 'examples'", value)
    elif name == "calibration":
        for space, fitted in by_space(name, value).items():
            keys = {"inverse_temperature", "null_logit"}
            fits = isinstance(fitted, dict) and set(fitted) == keys and all(map(is_number, fitted.values()))
            require(fits, f"the numbers {' and '.join(sorted(keys))} for {space!r} in {name!r}", fitted)
            beta = fitted["inverse_temperature"]
            require(beta > 0, f"an 'inverse_temperature' above 0 for {space!r} in {name!r}", beta)
    elif name == "neighbour_preservation":
        for space, share in by_space(name, value).items():
            require(is_number(share) and 0 <= share <= 1, f"a share, 0 to 1, for {space!r} in {name!r}", share)
    elif name == "retrieval":
        for space, settings in by_space(name, value).items():
            require(isinstance(settings, dict), f"an object for {space!r} in {name!r}", settings)


def check_examples(examples: list[int], m: int) -> None:
    """That all examples are queries, of which there are m."""
    for one in examples:
        require(0 <= one < m, f"queries, 0 to {m - 1}, as 'examples'", one)


def check_references(entries: Any) -> None:
    """The entries of references.json: each an object of texts. Their paths are checked where they are joined to a folder."""
    require(isinstance(entries, list), "a list of references", entries)
    plain = (str, int, float, type(None))
    for i, one in enumerate(entries):
        if not isinstance(one, dict) or not isinstance(one.get("path"), str):
            raise ValueError(f"it must hold an object with a 'path' for reference {i}, got {_short(one)}")
        for key in _TEXTS:
            if not isinstance(one.get(key), plain) or (key in _NEEDED and key not in one):
                raise ValueError(f"it must hold a text as {key!r} of reference {i}, got {_short(one.get(key))}")


def check_queries(entries: Any, n: int) -> None:
    """The entries of queries.json: each an object of texts, and its exemplars different ones of n references."""
    require(isinstance(entries, list), "a list of queries", entries)
    for i, one in enumerate(entries):
        require(isinstance(one, dict), f"an object for query {i}", one)
        for key in ("path", "type"):
            require(isinstance(one.get(key), str), f"a text as {key!r} of query {i}", one.get(key))
        for key in _ASKED:
            require(isinstance(one.get(key, ""), str), f"a text as {key!r} of query {i}", one.get(key))
        require(isinstance(one.get("recipe"), dict | None), f"an object as 'recipe' of query {i}", one.get("recipe"))
        ids = one.get("exemplar_ids")
        fits = (
            isinstance(ids, list) and all(is_whole(id_) and 0 <= id_ < n for id_ in ids) and len(set(ids)) == len(ids)
        )
        require(fits, f"different ids, 0 to {n - 1}, as 'exemplar_ids' of query {i}", ids)


def is_whole(value: Any) -> bool:
    """Whether a value of JSON is a whole number; ``true`` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number that sums cannot overflow with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _TOP  # NaN is not


def by_space(name: str, value: Any) -> dict[str, Any]:
    """The entries of the three spaces, which must all be there."""
    require(isinstance(value, dict), f"an object as {name!r}", value)
    for space in SPACES:
        require(space in value, f"an entry for {str(space)!r} in {name!r}", value)
    return {str(space): value[space] for space in SPACES}


def require(fits: Any, what: str, got: Any) -> None:
    """A ValueError unless it fits."""
    if not fits:
        raise ValueError(f"it must hold {what}, got {_short(got)}")


def _short(value: Any) -> str:
    """A value for an error text, on one line; what holds others may be of any size and depth, and is only named."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return f"{value!r:.80}"
