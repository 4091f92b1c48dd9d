"""Step 7: how often the true sources are found, per space, split and query type, with intervals.

Reads   the bundle: every bundled query whose sources are known
Writes  metrics.json, into the bundle or to --out

Recall@k and average precision follow AbC (see aad/metrics.py); the gallery is all references. Intervals are bootstrap 95 % over
concepts. ``--table`` prints the table that the README shows.

    python -m precompute.evaluate
    python -m precompute.evaluate --bundle BUNDLE --out FILE
    python -m precompute.evaluate --table
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aad.answers import Query
from aad.attribution import Attributor
from aad.bundle import BundleError
from aad.hub import open_bundle
from aad.spaces import SPACES, Space
from precompute.common import figures
from precompute.common.cli import run_step, step_parser
from precompute.common.lock import hold

RECALL_K = (1, 5, 10)
DIGITS = 6
N_CELLS = 40_000_000  # similarities held at a time: 160 MB; a large gallery is read once for each such part
SHOWN = {"R@1": lambda c: c["recall"]["1"], "R@5": lambda c: c["recall"]["5"], "MRR": lambda c: c["mrr"]}


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    figures.add_out(parser)
    parser.add_argument("--table", action="store_true", help="print the README's table from metrics.json and stop")
    arguments = parser.parse_args(argv)
    if not (arguments.out or arguments.table):
        hold(arguments.bundle)
    bundle = open_bundle(arguments.bundle)
    if arguments.table:
        print(table(bundle.read_json("metrics.json")))
        return
    metrics = evaluate(Attributor(bundle), bundle.manifest["steps"]["train_heads"].get("left_out", []))
    figures.write_figures(arguments, argv, "evaluate", "metrics.json", metrics)
    print(table(metrics))


def evaluate(attributor: Attributor, held_out: Sequence[str] = ()) -> dict[str, Any]:
    """All figures as plain JSON: ``["spaces"][space][split][type]`` and, for the test split, ``["differences"][type]``.

    Args:
        attributor: an open bundle.
        held_out: generators that the heads were trained without, only to be named in the result.
    """
    known = [query for query in attributor.queries if query.exemplar_ids]
    if not known:
        raise BundleError("no bundled query has a known source, so there is nothing to measure; a benchmark has them")
    cells = sorted({(query.split, query.type) for query in known})
    result: dict[str, Any] = {
        "n_references": len(attributor.references),
        "held_out_generators": sorted(held_out),
        "generators": {kind: sorted({q.generator for q in known if q.type == kind}) for _, kind in cells},
        "spaces": {str(space): {} for space in SPACES},
        "differences": {},
        "calibration_error": {},
    }
    for split, kind in cells:
        queries = [query for query in known if (query.split, query.type) == (split, kind)]
        concepts, sources = [query.concept for query in queries], [query.exemplar_ids for query in queries]
        scores = {s: figures.score(_similarities(attributor, queries, s), sources, RECALL_K) for s in SPACES}
        for space in SPACES:
            told = {name: figures.interval(values, concepts, DIGITS) for name, values in scores[space].items()}
            result["spaces"][space].setdefault(split, {})[kind] = {
                "recall": {str(k): told[f"recall@{k}"] for k in RECALL_K},
                "map": told["map"],
                "mrr": told["mrr"],
                "n_queries": len(concepts),
                "n_concepts": len(set(concepts)),
            }
        if split == "test":
            result["differences"][kind] = figures.differences(scores, concepts, DIGITS)
    if tested := [query for query in known if query.split == "test"]:
        result["calibration_error"] = {str(s): round(_calibration_error(attributor, tested, s), DIGITS) for s in SPACES}
    return result


def _similarities(attributor: Attributor, queries: Sequence[Query], space: Space) -> Iterator[np.ndarray]:
    """One (n,) row after the other, of which only some are computed ahead."""
    step = max(1, N_CELLS // len(attributor.references))
    for start in range(0, len(queries), step):
        yield from attributor.similarities([query.query_id for query in queries[start : start + step]], space)


def expected_calibration_error(weights: np.ndarray, correct: np.ndarray) -> float:
    """Mean gap between (m,) weights of first matches and how often these are right, over ten equal-count bins; 0 is perfect."""
    bins = [part for part in np.array_split(np.argsort(weights, kind="stable"), 10) if len(part)]
    return float(sum(len(part) * abs(weights[part].mean() - correct[part].mean()) for part in bins) / len(weights))


def _calibration_error(attributor: Attributor, queries: Sequence[Query], space: Space) -> float:
    """Gap between the first match's weight and how often it is right, under the odds that the weights assume.

    Each query counts once with its source in the gallery and once with every reference of its concept taken out.
    """
    concepts = np.unique(attributor.references.words("concept"), return_inverse=True)[1]
    calibration, weights, correct = attributor.calibration[space], [], []
    for query, row in zip(queries, _similarities(attributor, queries, space), strict=True):
        exemplars = list(query.exemplar_ids)
        for gallery in (np.arange(len(row)), np.flatnonzero(~np.isin(concepts, concepts[exemplars]))):
            shares, _ = calibration.shares(row[gallery], calibration.log_mass(row[gallery]))
            weights.append(shares.max())
            correct.append(gallery[shares.argmax()] in exemplars)
    return expected_calibration_error(np.array(weights), np.array(correct, dtype=float))


def table(metrics: dict[str, Any]) -> str:
    """The test split as a Markdown table; a cell is the mean with its 95 % interval."""
    rows = []
    for kind, generators in metrics["generators"].items():
        cells = [metrics["spaces"][space].get("test", {}).get(kind) for space in SPACES]
        if cells[0] is None:
            continue
        held_out = set(generators) <= set(metrics["held_out_generators"])
        told = [f"`{kind}`, {cells[0]['n_queries']}", ", ".join(generators) + (" (held out)" if held_out else "")]
        for name, read in SHOWN.items():
            rows.append([*told, name, *(figures.shown(read(cell)) for cell in cells)])
            told = ["", ""]
    return figures.markdown(["queries", "generator", "measure", *SPACES], rows)


if __name__ == "__main__":
    run_step(main)
