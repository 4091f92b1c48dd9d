"""Under which terms each picture is, told per kind of licence, and in the hub's own identifiers where it has one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

NOT_STATED = "not stated"
MIXED = "several"
FURTHER = "that of the scene or painting its recipe names"
# The hub's identifiers for the licences that pictures usually carry; any other is "other" with a name and a link there.
HUB_IDS = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc-by-2.0": "cc-by-2.0",
    "cc-by-2.5": "cc-by-2.5",
    "cc-by-3.0": "cc-by-3.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-3.0": "cc-by-sa-3.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "gpl-2.0-only": "gpl-2.0",
    "gpl-2.0-or-later": "gpl-2.0",
    "gpl-3.0-only": "gpl-3.0",
    "gpl-3.0-or-later": "gpl-3.0",
}


def stated(licence: str | None) -> str:
    """The licence as given, or ``NOT_STATED`` for the ways of saying nothing."""
    text = (licence or "").strip()
    return NOT_STATED if text.lower() in ("", NOT_STATED, "unknown", "none", "?") else text


def of_query(query: Mapping[str, Any], references: Sequence[Mapping[str, Any]]) -> str:
    """A synthetic picture's own licence; without one those of its exemplars, from which it is derived."""
    own = stated(query.get("licence"))
    if own != NOT_STATED or not query.get("exemplar_ids"):
        return own
    sources = [references[i] for i in query["exemplar_ids"]]
    theirs = sorted({stated(source.get("licence")) for source in sources})
    if NOT_STATED in theirs:
        return NOT_STATED
    used = {part["name"] for part in (query.get("recipe") or {}).values() if isinstance(part, dict) and "name" in part}
    further = used - {PurePosixPath(source["path"]).stem for source in sources}
    return " and ".join([*theirs, FURTHER] if further else theirs)


def table(references: Iterable[str], queries: Iterable[str]) -> str:
    """Licences as a Markdown table with counts, the most frequent first."""
    counts = Counter(references), Counter(queries)
    names = sorted(counts[0] | counts[1], key=lambda name: (-counts[0][name] - counts[1][name], name))
    rows = [f"| {name} | {counts[0][name]} | {counts[1][name]} |" for name in names]
    return "\n".join(["| licence | references | queries |", "|---|---|---|", *rows])


def for_card(licences: Iterable[str]) -> dict[str, str]:
    """The licence entries of a card's front matter: one that the hub knows, or "other" with the place that names them all."""
    kinds = {HUB_IDS.get(licence.lower()) for licence in licences}
    if len(kinds) == 1 and (only := kinds.pop()):
        return {"license": only}
    return {"license": "other", "license_name": MIXED, "license_link": "LICENSE.md"}
