"""What a bundle holds, in one table, and what its JSON must say before anything is made of it: types, ranges and names.

A check raises a ValueError that says what was required and what came; ``Bundle`` adds the file and the remedy.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aad.spaces import SPACES
from aad.verdict import TERMS

_FILE = re.compile(r"\w[\w.-]*", re.ASCII)
_TOP = 1e9  # far beyond any inverse temperature or logit; what is larger overflows in float64 sums
_MOST = 1000  # entries of an object: the page draws each
_OWN = {"format", "files", "steps"}  # of the manifest; no step may drop them
_NEEDED = ("title", "source", "licence")
_TEXTS = (*_NEEDED, "author", "url", "concept", "group", "split")


class Kind(NamedTuple):
    """Values that fit, and what they are called."""

    what: str
    fits: Callable[[Any], Any]


# A form is a kind, or the forms of the entries of an object by name: "name?" need not be there, EVERY stands for all that are not
# named. A list of one form is a list of such values, a tuple of one form such a value or null.
Form = Kind | dict[str, Any] | list[Any] | tuple[Any]
EVERY = "*"


def _is_whole(value: Any) -> bool:
    return type(value) is int  # true is none


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _TOP  # NaN is not


def _is_below(value: Any) -> bool:
    # It may lead out of the bundle: pictures lie where they lay when the bundle was made. One from the hub may not, see hub.py.
    return isinstance(value, str) and value[:1] not in ("", "/") and not set("\0\\") & set(value)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(_is_whole(one) and one >= 0 for one in value) and len({*value}) == len(value)


NOTHING = Kind("nothing", lambda _: False)
TEXT = Kind("a text", lambda value: isinstance(value, str))
SHA256 = Kind("64 hexadecimal digits", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value))
NUMBER = Kind("a finite number", _is_number)
IDS = Kind("different ids from 0", _are_ids)
SHARE = Kind("a share, 0 to 1,", lambda value: _is_number(value) and 0 <= value <= 1)


def whole(least: int, most: int = 10**9) -> Kind:
    """Whole numbers of a range."""
    return Kind(f"a whole number, {least} to {most},", lambda n: _is_whole(n) and least <= n <= most)


def by_space(form: Form) -> Form:
    """An object with an entry for each space."""
    return dict.fromkeys(map(str, SPACES), form)


_BACKBONE: dict[str, Any] = {
    "dim": whole(1, 1 << 20),
    "name": TEXT,
    **dict.fromkeys(("sha256?", "engine?", "weights?", "licence?"), TEXT),
}
_STEP: dict[str, Any] = {
    "sections?": [Kind("the name of a section", lambda name: isinstance(name, str) and name not in _OWN)],
    "versions?": {},
}
_FITTED: dict[str, Any] = {
    "inverse_temperature": Kind("a number above 0", lambda beta: _is_number(beta) and beta > 0),
    "null_logit": NUMBER,
    EVERY: NOTHING,
}
_WEIGHTS: dict[str, Any] = {**dict.fromkeys(TERMS, NUMBER), EVERY: NOTHING}
_JUDGE: dict[str, Any] = {"weights": _WEIGHTS, "bias": NUMBER, EVERY: NOTHING}
_QUERY: dict[str, Any] = {
    **dict.fromkeys(("path", "type", "generator?", "split?", "concept?"), TEXT),
    "recipe?": ({},),
    "exemplar_ids": IDS,
}


def check(form: Form, value: Any, where: str) -> None:
    """That a value is of a form; ``where`` says which value it is."""
    if isinstance(form, Kind):
        require(form.fits(value), f"{form.what} as {where}", value)
    elif isinstance(form, tuple):
        if value is not None:
            check(form[0], value, where)
    elif isinstance(form, list):
        require(isinstance(value, list), f"a list as {where}", value)
        for i, one in enumerate(value):
            check(form[0], one, f"entry {i} of {where}")
    else:
        fits = isinstance(value, dict) and len(value) <= _MOST
        require(fits, f"an object of at most {_MOST} entries as {where}", value)
        for key in form:
            require(key == EVERY or key in value or key.endswith("?"), f"{key!r} in {where}", value)
        named = {key.rstrip("?"): one for key, one in form.items()}
        for key, one in value.items():
            if (wanted := named.get(key, named.get(EVERY))) is not None:
                check(wanted, one, f"{key!r:.80} of {where}")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """The manifest's own entries and those of the first step; what later steps write is checked where it is used.

    So a bundle whose calibration is damaged still opens for the step that calibrates it again.
    """
    check({EVERY: {"sha256": SHA256}}, manifest.get("files"), "'files'")
    for name in manifest["files"]:
        require(_FILE.fullmatch(name), "the name of a file without a folder in 'files'", name)
    check({EVERY: _STEP}, manifest.get("steps"), "'steps'")
    for name in ("name", "images", "backbone", "examples", "absent"):
        if name in manifest:
            check_entry(name, manifest[name])


def _check_references(entries: Any) -> None:
    """Each an object of texts; in plain loops, as there may be a million. Paths are checked where they are joined to a folder."""
    require(isinstance(entries, list), "a list of references", entries)
    plain = (str, int, float, type(None))
    for i, one in enumerate(entries):
        if not isinstance(one, dict) or not isinstance(one.get("path"), str):
            raise ValueError(f"it must hold an object with a 'path' for reference {i}, got {_short(one)}")
        for key in _TEXTS:
            if not isinstance(one.get(key), plain) or (key in _NEEDED and key not in one):
                raise ValueError(f"it must hold a text as {key!r} of reference {i}, got {_short(one.get(key))}")


class Part(NamedTuple):
    """A file, or a section of the manifest: the step that writes it, and the check or the form of its JSON."""

    step: str
    check: Form | Callable[[Any], None] | None = None


#: All that a bundle holds: manifest.json, its sections (the names without an ending) and the other files. Steps in the order in
#: which later ones rest on earlier.
CONTENTS = {
    "references.json": Part("extract_features", _check_references),  # one entry per reference, in index order
    "queries.json": Part("extract_features", [_QUERY]),  # bundled queries, in index order; may be empty
    "references_backbone.npy": Part("extract_features"),  # (n, d) float16 unit rows; half the size, cosine within 1e-4
    "queries_backbone.npy": Part("extract_features"),  # (m, d_feature) float16 features of the bundled queries
    "name": Part("extract_features", TEXT),
    "images": Part("extract_features", Kind("a relative path without backslashes", _is_below)),
    "backbone": Part("extract_features", _BACKBONE),
    "examples": Part("extract_features", [whole(0)]),  # queries that the page offers first
    "absent": Part("extract_features", [TEXT]),  # pictures that it offers after them, whose source is no reference
    "heads.safetensors": Part("train_heads"),  # the aligned and the disentangled head
    "training_pictures.csv": Part("train_heads"),  # what they saw besides the benchmark; only where there was something
    "references_aligned.npy": Part("train_heads"),  # (n, d) float16 unit rows
    "references_disentangled.npy": Part("train_heads"),  # (n, d) float16 unit rows
    "index_backbone.safetensors": Part("build_index"),  # what finds the nearest of very many references
    "index_aligned.safetensors": Part("build_index"),
    "index_disentangled.safetensors": Part("build_index"),
    "retrieval": Part("build_index", by_space({})),
    "calibration": Part("calibrate", by_space(_FITTED)),
    "coordinates.npy": Part("project"),  # (3, n, 2) float32, the maps
    "neighbour_preservation": Part("project", by_space(SHARE)),
    "metrics.json": Part("evaluate", {"held_out_generators?": [TEXT]}),
    "generalisation.json": Part("leave_out", {}),  # what of these two the page draws is checked there
    "theory.json": Part("measure_theory", {}),
    "verdict": Part("fit_verdict", _JUDGE),
}
STEPS = tuple(dict.fromkeys(part.step for part in CONTENTS.values()))
SIDE_STEPS = {"build_index", "fit_verdict"}  # nothing is derived from what they write


def check_entry(name: str, value: Any) -> None:
    """The JSON of a file or a section, as the step that writes it writes it; one that nobody reads may be anything."""
    wanted = CONTENTS[name].check if name in CONTENTS else None
    if callable(wanted):
        wanted(value)
    elif wanted is not None:
        check(wanted, value, repr(name))


def parse_json(data: bytes) -> Any:
    """JSON, where all that is wrong with it is a ValueError."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require(fits: Any, what: str, got: Any) -> None:
    """A ValueError unless it fits."""
    if not fits:
        raise ValueError(f"it must hold {what}, got {_short(got)}")


def _short(value: Any) -> str:
    """A value for an error text, on one line; what holds others may be of any size and depth, and is only named."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return f"{value!r:.80}"
