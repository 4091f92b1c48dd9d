"""Why it works: the theory as it was measured on this collection, and whether it holds for generators that training never saw.

Every sentence is written from the figures it stands beside: where a figure does not rise from space to space, the sentence says so.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from aad import Attributor
from aad.bundle import Bundle
from aad.schema import EVERY, NUMBER, TEXT, Kind, by_space, check, require, whole
from aad.spaces import SPACES
from interface.words import GENERATOR_WORDS, SPACE_WORDS, TYPE_WORDS

#: Where figures are missing, the command that makes them; the folder stays a word, as the page names no path of the server.
COMMANDS = {
    "theory": "python -m precompute.measure_theory --bundle FOLDER",
    "families": "python -m precompute.leave_out --bundle FOLDER",
}
ORACLE = {"id": "oracle", "name": "Shown the pairs"}
#: Visitor's words for families of synthetic images that are no query type.
FAMILY_WORDS = {
    "multistyle26, all": "In another style or scene",
    "filters": "Painterly filters",
    "composite": "Set into another picture",
    "photometric": "Photo-like",
    "near_copy": "Cropped and compressed",
    "all families": "All of them",
}
POOL = "all families"
_ROW = Kind(
    "1 to 1000 numbers", lambda row: isinstance(row, list) and 0 < len(row) <= 1000 and all(map(NUMBER.fits, row))
)
_COUNTS = {"train": whole(0), "test": whole(2), EVERY: whole(0)}
_COLUMN = {"recall@1": NUMBER, "spectrum": _ROW, "closeness": {EVERY: {EVERY: NUMBER}}, "canonical_correlations": _ROW}
#: What is drawn of a table: finite everywhere, as a browser reads no NaN.
FORMS: dict[str, dict[str, Any]] = {
    "theory.json": {
        **{"n_pairs": _COUNTS, "n_sources": _COUNTS, "settings": {"subspace": whole(0)}},
        **{"chance": {EVERY: {EVERY: NUMBER}}, "oracle": _COLUMN, "spaces": by_space(_COLUMN)},
    },
    "generalisation.json": {EVERY: {EVERY: {  # split, family
        "left_out": TEXT,
        "n_queries": whole(0),
        "spaces": by_space({"recall@1": dict.fromkeys(("mean", "low", "high"), NUMBER)}),
    }}},
}  # fmt: skip
CEILING = 0.98  # of recall: above it there is nothing left to gain


def value(attributor: Attributor) -> dict[str, Any]:
    """What the part is given when the page opens.

    Returns:
        `{"how": [...], "theory": theory_of(...) or None, "families": families_of(...) or None, "commands": COMMANDS}`; None where
        the bundle has no such file, as bundles of one's own have none.

    Raises:
        BundleError: such a file is damaged, or holds what cannot be drawn.
    """
    theory, families = (table(attributor.bundle, name) for name in FORMS)
    return {
        "how": [{"id": str(space), **SPACE_WORDS[str(space)]} for space in SPACES],
        "theory": theory_of(theory) if theory else None,
        "families": families_of(families) if families else None,
        "commands": COMMANDS,
    }


def table(bundle: Bundle, name: str) -> Any:
    """One of ``FORMS`` as the bundle has it, checked; None where it has none, and empty where nothing was measured."""
    if not (told := bundle.read_json(name) if bundle.has(name) else None):
        return told
    with bundle.telling(name):
        check(FORMS[name], told, "the table")
        columns = [told["oracle"], *(told["spaces"][space] for space in SPACES)] if name == "theory.json" else []
        ways = [{k: sorted(v) for k, v in column["closeness"].items()} for column in columns]  # drawn side by side
        require(ways == ways[:1] * len(ways), "the same ways of 'closeness' for each space and the oracle", ways)
    return told


def theory_of(theory: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle's theory.json as the page draws it.

    Returns:
        JSON-ready dict: `columns`, the three spaces and the oracle with entries as in theory.json, and per chart two `sentences`,
        the finding last, and what it `supports`.
    """
    columns = [
        {"id": str(space), "name": SPACE_WORDS[str(space)]["name"]} | theory["spaces"][space] for space in SPACES
    ]
    columns.append(ORACLE | theory["oracle"])
    told = _told(theory)
    return {
        "columns": [{key: column[key] for key in (*_COLUMN, "id", "name")} for column in columns],
        **{key: theory[key] for key in ("n_pairs", "n_sources", "chance")},
        "sentences": {chart: sentences for chart, (*sentences, _) in told.items()},
        "supports": {chart: supports for chart, (*_, supports) in told.items()},
    }


def support(share: float) -> str:
    """How a chart stands to the theory, from the share of its courses that go as the theory has it.

    >>> support(True), support(0.5), support(0)
    ('supports it', 'supports it in part', 'does not support it')
    """
    return "supports it in part" if 0 < share < 1 else "supports it" if share else "does not support it"


def _n_strong(spectrum: Sequence[float]) -> int:
    """Directions at least half as strong as the first."""
    return sum(value >= spectrum[0] / 2 for value in spectrum)


def _told(theory: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Per chart what it shows, its finding, read off the figures, and how it stands to the theory."""
    spaces, oracle = [theory["spaces"][space] for space in SPACES], theory["oracle"]
    means = [float(np.mean(one["canonical_correlations"])) for one in spaces]
    wide = [_n_strong(one["spectrum"]) for one in spaces]
    courses = [
        [one["closeness"][s][name] for one in spaces] for s, found in oracle["closeness"].items() for name in found
    ]
    n_rising, n_first = sum(map(rises, courses)), sum(int(np.argmax(course)) == 0 for course in courses)
    way = "it rises" if rises(means) else "it does not rise"
    return {
        "canonical": (
            "Shown the pairs, which mixes of traits agree best between a synthetic picture and its source? 1 is full agreement, "
            f"0 none. The mixes were chosen within each space\u2019s {theory['settings']['subspace']} loudest directions on "
            "training concepts and are tested on others, where mixes that have nothing in common still read about "
            f"\u00b1{theory['n_sources']['test'] ** -0.5:.2f}.",
            f"Their mean is {_listed(means)}, and {np.mean(oracle['canonical_correlations']):.2f} for the oracle: {way} from "
            "space to space.",
            support(rises(means)),
        ),
        "spectrum": (
            "What pictures and sources share comes in many directions; each line shows how strong they are beside the strongest. "
            "The flatter it is, the more traits have a say when pictures are compared.",
            f"{_listed(wide, '{:d}')} directions are at least half as strong as the first: "
            + ("each step makes it flatter." if rises(wide) else "here not every step makes it flatter."),
            support(rises(wide)),
        ),
        "closeness": (
            "In theory the two steps together approach canonical correlation analysis (CCA), which needs the pairs; here they are "
            "set beside a CCA that was shown them, the oracle. It saw pairs of "
            f"{theory['n_sources']['train']} sources only, so it is itself poorly known.",
            f"In {n_rising} of {len(courses)} ways to measure it closeness rises from space to space, and in {n_first} the "
            "backbone is the nearest.",
            support(n_rising / len(courses)),
        ),
    }


def families_of(generalisation: Mapping[str, Any], split: str = "test") -> dict[str, Any] | None:
    """The bundle's generalisation.json as the page draws it, for one split; None where that split was not measured.

    Returns:
        `{"rows": [{"id", "label", "left_out", "n", "is_sum", "spaces": {space: [mean, low, high] of R@1}}], "sentences": [2],
        "supports"}`, the finding last, and whether it goes from space to space as the theory has it.
        A pooled row that repeats the figures of a kind of its own is left out; `is_sum` marks the pool of all families.
    """
    found = generalisation.get(split)
    if not found:
        return None
    rows = []
    # leave_out never pools that other task
    apart = f", but \u201c{TYPE_WORDS['style']}\u201d" if "style" in found else ""
    for name, row in found.items():
        twins = [other for key, other in found.items() if key != name and other["left_out"] == row["left_out"]]
        if name.endswith(", all") and any(other["spaces"] == row["spaces"] for other in twins):
            continue
        left_out = row["left_out"]
        figures = {s: row["spaces"][s]["recall@1"] for s in map(str, SPACES)}
        rows.append(
            {
                "id": name,
                "label": FAMILY_WORDS.get(name) or TYPE_WORDS.get(name, name.removesuffix(", all").capitalize()),
                "left_out": GENERATOR_WORDS.get(left_out, left_out.replace("_", " ")) + (apart if name == POOL else ""),
                "n": row["n_queries"],
                "is_sum": name == POOL,
                "spaces": {s: [one[part] for part in ("mean", "low", "high")] for s, one in figures.items()},
            }
        )
    courses = [[row["spaces"][str(space)][0] for space in SPACES] for row in rows]
    supports = support(float(np.mean([rises(course) or course[0] > CEILING for course in courses])))
    return {"rows": rows, "sentences": _family_sentences(rows), "supports": supports}


def _family_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    kinds = [row for row in rows if not row["is_sum"] and not row["id"].endswith(", all")]
    ordered = [row["label"] for row in kinds if rises([row["spaces"][str(space)][0] for space in SPACES])]
    return [
        "Each row is a kind of synthetic picture that was left out of training, images and views alike, and tested on new "
        f"concepts. Where the first glance finds more than {CEILING:.0%} of the sources, nothing is left to gain.",
        f"Each step finds more sources first for {len(ordered)} of {len(kinds)} kinds"
        + (f": {_listed(ordered, '{}')}." if 0 < len(ordered) < len(kinds) else "."),
    ]


def rises(figures: Sequence[float]) -> bool:
    """Whether each figure is above the one before."""
    return all(later > earlier for earlier, later in pairwise(figures))


def _listed(figures: Sequence[Any], form: str = "{:.2f}") -> str:
    words = [form.format(figure) for figure in figures]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
