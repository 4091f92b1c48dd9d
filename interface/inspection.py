"""Inspect: every evaluated query, what each space made of it, and where a space fails.

The table of outcomes travels once, when the view is first opened, as packed whole numbers; the browser filters and sorts it.
Intervals and hubs of the queries a visitor has chosen are asked for by a bit mask over the table's rows.
"""

import base64
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aad import Attributor
from aad.spaces import SPACES
from interface.outcomes import FACTORS, MEASURES, Outcome, Outcomes, outcomes_of, skewness
from interface.present import addresses, further, indexed, packed
from interface.requests import Refused, one_of, row, told
from interface.words import GENERATOR_WORDS, TYPE_WORDS

AT_MOST = 40  # values of a factor that are measured apart; the rarer ones are counted only
N_HUBS = 8  # listed per space
N_CURVE = 61  # points of the drawn k-occurrence


def value(attributor: Attributor) -> dict[str, int]:
    """What the part is given when the page opens: how many bundled queries there are, and how many with known sources."""
    return {"n": sum(bool(query.exemplar_ids) for query in attributor.queries), "n_queries": len(attributor.queries)}


def functions(attributor: Attributor) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for. Each takes one JSON object and answers a fault of it with ``{"error": text}``."""

    @functools.lru_cache(maxsize=64)
    def recall(rows: bytes, measure: str, factor: str) -> dict[str, Any]:
        return recalls(outcomes_of(attributor), np.frombuffer(rows, bool), measure, factor)

    def inspect_outcomes(request: dict[str, Any]) -> dict[str, Any]:
        return table(attributor)

    def inspect_recall(request: dict[str, Any]) -> dict[str, Any]:
        rows = chosen(request, len(outcomes_of(attributor)))
        measure, factor = one_of("measure", request.get("measure"), MEASURES), one_of("by", request.get("by"), FACTORS)
        return recall(rows.tobytes(), measure, factor)

    def inspect_hubs(request: dict[str, Any]) -> dict[str, Any]:
        found = hubs(outcomes_of(attributor), chosen(request, len(outcomes_of(attributor))))
        return found | {"cards": further(attributor, [one for space in found["spaces"] for one, _, _ in space["top"]])}

    def inspect_retrieving(request: dict[str, Any]) -> dict[str, Any]:
        space = one_of("space", request.get("space"), [str(space) for space in SPACES])
        reference = row("reference", request.get("reference"), attributor.references)
        rows = bit_mask(outcomes_of(attributor).retrieving(space, reference))
        return {"rows": rows, "cards": further(attributor, [reference])}

    turn = threading.Lock()  # anybody may ask: one computation at a time, and the latest are kept
    return [told(work, turn) for work in (inspect_outcomes, inspect_recall, inspect_hubs, inspect_retrieving)]


def table(attributor: Attributor) -> dict[str, Any]:
    """The outcomes as the page keeps them.

    Returns:
        JSON-ready dict over m queries with known sources: `ids`, `truth` (the source named first), `sources` (how many), and, space
        after space, `rank` (of the best-placed source), `found` (sources among the first five), `first` (the first answer),
        `similarity` (65535 is 1, 0 is -1) and `weight` (65535 is 1), each as `packed`; `words` with `values` and packed `index` for
        type, generator, split and concept; of all `references` their concept likewise; the pictures' addresses in parts; and
        `labels`, visitor's words where there are some.
    """
    outcomes = outcomes_of(attributor)
    return {
        "ids": packed(outcomes.query_ids),
        "truth": packed([ids[0] for ids in outcomes.exemplar_ids]),
        "sources": packed([len(ids) for ids in outcomes.exemplar_ids]),
        "rank": packed(outcomes.best_rank),
        "found": packed(outcomes.n_first_five),
        "first": packed(outcomes.neighbours[:, :, 0]),
        "similarity": packed(np.rint((outcomes.similarity.clip(-1, 1) + 1) / 2 * 65535)),
        "weight": packed(np.rint(outcomes.weight.clip(0, 1) * 65535)),
        "words": {key: indexed(outcomes.labels[key].tolist()) for key in ("type", "generator", "split", "concept")},
        "references": {"concept": indexed(attributor.references.words("concept"))},
        "pictures": addresses(attributor.queries[query_id].path for query_id in outcomes.query_ids.tolist()),
        "labels": {"type": TYPE_WORDS, "generator": GENERATOR_WORDS},
        "held_out": list((attributor.metrics or {}).get("held_out_generators", ())),
        "classes": [str(outcome) for outcome in Outcome],
        "measures": list(MEASURES),
    }


def recalls(outcomes: Outcomes, rows: np.ndarray, measure: str, factor: str) -> dict[str, Any]:
    """A measure of the chosen queries with its intervals, for all of them and for each value of a factor.

    Returns:
        `{"all": figure, "by": [{"value", **figure}], "left_out": n}`. A figure is as `Outcomes.recall` has it; `left_out` queries
        have one of the rarer values.
    """
    labels = outcomes.labels[factor]
    names, counts = np.unique(labels[rows], return_counts=True)
    kept = sorted(np.argsort(-counts, kind="stable")[:AT_MOST].tolist())
    return {
        "all": outcomes.recall(rows, measure),
        "by": [{"value": names[i], **outcomes.recall(rows & (labels == names[i]), measure)} for i in kept],
        "left_out": int(counts.sum() - counts[kept].sum()),
    }


def hubs(outcomes: Outcomes, rows: np.ndarray) -> dict[str, Any]:
    """How evenly each space hands out its first ten places to the chosen queries.

    Returns:
        `{"n", "k", "expected", "spaces": [{"skewness", "never", "top", "curve"}]}`: `expected` is the mean N_k; `never` counts
        the references that no query retrieves; `top` is `[[reference id, N_k, of these as a true source]]`; `curve` is N_k from
        the most to the least retrieved reference, at evenly spaced references.
    """
    n, k = len(outcomes.reference_labels["group"]), outcomes.neighbours.shape[2]
    spaces = []
    for space in SPACES:
        counts, deserved = outcomes.occurrence(space, rows)
        falling = np.argsort(-counts, kind="stable")
        top = [[int(i), int(counts[i]), int(deserved[i])] for i in falling[:N_HUBS] if counts[i]]
        at = np.rint(np.linspace(0, n - 1, min(n, N_CURVE))).astype(int)
        told = {"skewness": round(skewness(counts), 3), "never": int((counts == 0).sum())}
        spaces.append(told | {"top": top, "curve": counts[falling][at].tolist()})
    return {"n": int(rows.sum()), "k": k, "expected": k * int(rows.sum()) / n, "spaces": spaces}


def bit_mask(rows: np.ndarray) -> str:
    """(m,) bool as base64 of ceil(m / 8) bytes, the first row in the lowest bit."""
    return base64.b64encode(np.packbits(rows, bitorder="little").tobytes()).decode("ascii")


def chosen(request: dict[str, Any], m: int) -> np.ndarray:
    """The (m,) bool that a request's `rows` means; at least one is set.

    Raises:
        Refused: `rows` is no mask of m rows, or none of them is chosen.
    """
    text, n_bytes = request.get("rows"), (m + 7) // 8
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) and len(text) <= 2 * n_bytes + 4 else b""
    except ValueError:
        data = b""
    if len(data) != n_bytes:
        raise Refused(f"rows must be base64 of {n_bytes} bytes, one bit for each of {m} queries; open the page again.")
    rows = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:m].astype(bool)
    if not rows.any():
        raise Refused("rows must choose at least one query, got none; remove a filter.")
    return rows
