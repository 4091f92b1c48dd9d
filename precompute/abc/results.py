"""From counts to figures: the summary per prompt type, one line per query, and the table beside the published figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad.metrics import bootstrap_interval
from precompute.abc.files import Laion, TestCase
from precompute.abc.protocol import Tally, Work, ranks_among_all
from precompute.abc.splits import BenchmarkError
from precompute.common.figures import average_precision, markdown

PUBLISHED = Path(__file__).with_name("published.json")


def per_query(laion: Laion, case: TestCase, work: Work, tally: Tally) -> dict[str, list[dict[str, Any]]]:
    """One record per query, by prompt type, in the order of the test case.

    A record has `query`, `model` (its index), `average_precision`, `best` (what ranks first), and per exemplar, in the model's
    order, `exemplars` (paths), `ranks` and `similarities`.
    """
    ranks = ranks_among_all(work, tally)
    records: dict[str, list[dict[str, Any]]] = {kind: [] for kind in case.queries}
    asked = [(kind, q, m) for kind, qs in case.queries.items() for q, m in zip(qs.paths, qs.ids.tolist(), strict=True)]
    for i, (kind, path, model) in enumerate(asked):
        own = work.similarities[work.bounds[i] : work.bounds[i + 1]]
        exemplars = case.exemplar_paths[slice(*case.chunks[model])]
        first, is_exemplar = int(ranks[i].argmin()), bool(ranks[i].min() == 1)
        named = exemplars[first] if is_exemplar else laion.paths[tally.best_row[i]]
        similarity = float(own[first] if is_exemplar else tally.best[i])
        record = {
            "query": path,
            "model": model,
            "average_precision": average_precision(np.sort(ranks[i])),
            "best": {"path": named, "similarity": similarity, "is_exemplar": is_exemplar},
            "exemplars": exemplars,
            "ranks": ranks[i].tolist(),
            "similarities": own.tolist(),
        }
        records[kind].append(record)
    return records


def summary(records: Sequence[dict[str, Any]], recall_k: Sequence[int]) -> dict[str, Any]:
    """Means over the queries of one prompt type, each with a bootstrap 95 % interval over models."""
    models = [str(record["model"]) for record in records]
    figures = {str(k): [(np.array(record["ranks"]) <= k).mean() for record in records] for k in recall_k}
    intervals = {k: bootstrap_interval(np.array(values), models) for k, values in figures.items()}
    precision = bootstrap_interval(np.array([record["average_precision"] for record in records]), models)
    return {
        "recall": {k: interval.mean for k, interval in intervals.items()},
        "map": precision.mean,
        "n_queries": len(records),
        "n_models": len(set(models)),
        "interval_95": {
            "recall": {k: [interval.low, interval.high] for k, interval in intervals.items()},
            "map": [precision.low, precision.high],
        },
    }


def table(paths: Sequence[str]) -> str:
    """Recall@5 of the eight rows as Markdown, beside the published figures; what is not given stays empty.

    Args:
        paths: results files of AbC's test cases, which are named as the feature files were.

    Raises:
        BenchmarkError: a file is no results file, or of none of the four test cases.
    """
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    sets = {row["test_case"]: row["set"] for row in published["rows"]}
    found: dict[tuple[str, str], float] = {}
    for path in paths:
        try:
            for kind, part in json.loads(Path(path).read_bytes()).items():
                found[sets[part["test_case"]], kind] = float(part["recall"]["5"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError(
                f"results must be a JSON file with a recall at 5 for each prompt type of {', '.join(sets)}, got {path} "
                f"({error!r}); run precompute.abc_evaluate on features of such a name, with 5 among --recall-k"
            ) from None
    rows = []
    for row in published["rows"]:
        ours = found.get((row["set"], row["type"]))
        cells = ["" if ours is None else f"{ours:.3f}", *(f"{figure:.3f}" for figure in row["figures"])]
        rows.append([row["set"], row["type"], *cells])
    return markdown(["R@5", "prompts", "this run", *published["columns"]], rows)
