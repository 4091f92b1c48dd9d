"""From counts to figures: the summary per prompt type, one line per query, and the table beside the published figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad.metrics import average_precision, bootstrap_interval, recall_at_k
from precompute.abc.files import TestCase
from precompute.abc.laion import Laion
from precompute.abc.protocol import Tally, Work, ranks_among_all
from precompute.abc.splits import BenchmarkError
from precompute.common.figures import markdown

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
    figures = {str(k): [recall_at_k(np.array(record["ranks"]), k) for record in records] for k in recall_k}
    intervals = {k: bootstrap_interval(np.array(values), models) for k, values in figures.items()}
    precision = bootstrap_interval(np.array([record["average_precision"] for record in records]), models)
    result: dict[str, Any] = {
        "recall": {k: interval.mean for k, interval in intervals.items()},
        "map": precision.mean,
        "n_queries": len(records),
        "n_models": len(set(models)),
        "interval_95": {
            "recall": {k: [interval.low, interval.high] for k, interval in intervals.items()},
            "map": [precision.low, precision.high],
        },
    }
    return result


def table(arguments: Sequence[str]) -> str:
    """Recall@5 of the eight rows as Markdown, beside the published figures; what is not given stays empty.

    Args:
        arguments: results files, or NAME=FILE where NAME (a set or test case of AbC) is to stand for the file's own.

    Raises:
        BenchmarkError: a file is no results file, its test case is not one of the four, or two give the same row.
    """
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    names = {row[key].lower(): row["set"] for row in published["rows"] for key in ("test_case", "set")}
    found: dict[tuple[str, str], float] = {}
    for argument in arguments:
        has_name = "=" in argument and not Path(argument).exists()
        name, path = argument.split("=", 1) if has_name else ("", argument)
        try:
            parts = json.loads(Path(path).read_bytes()).items()
            results = {kind: (name or str(part.get("test_case")), float(part["recall"]["5"])) for kind, part in parts}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError(
                f"results must be a JSON file with a recall at 5 for each prompt type, got {path} ({error!r}); run "
                "precompute.abc_evaluate with 5 among --recall-k"
            ) from None
        for kind, (own, recall) in results.items():
            if own.lower() not in names:
                known = ", ".join(dict.fromkeys(row["test_case"] for row in published["rows"]))
                raise BenchmarkError(f"the test case must be one of {known}, got {own} in {path}; name it: NAME=FILE")
            place = (names[own.lower()], kind)
            if place in found:
                told = " ".join(place)
                raise BenchmarkError(f"a row must have one source, got a second for {told} in {path}; leave one out")
            found[place] = recall
    rows = []
    for row in published["rows"]:
        ours = found.pop((row["set"], row["type"]), None)
        cells = ["" if ours is None else f"{ours:.3f}", *(f"{figure:.3f}" for figure in row["figures"])]
        rows.append([row["set"], row["type"], *cells])
    if found:
        extra = ", ".join(" ".join(place) for place in found)
        raise BenchmarkError(f"prompt types must be those of AbC's table, got {extra}; leave that file out")
    return markdown(["R@5", "prompts", "this run", *published["columns"]], rows)
