"""From counts to figures: the summary per prompt type, one line per query, and the table beside the published figures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad.metrics import average_precision, bootstrap_interval, recall_at_k
from precompute.abc.checkpoints import Calibrator
from precompute.abc.features import Laion, TestCase
from precompute.abc.protocol import Tally, Work, exemplar_weights, ranks_among_all
from precompute.abc.splits import BenchmarkError

PUBLISHED = Path(__file__).with_name("published.json")


def per_query(
    laion: Laion, case: TestCase, work: Work, tally: Tally, calibrator: Calibrator | None
) -> dict[str, list[dict[str, Any]]]:
    """One record per query, by prompt type, in the order of the test case.

    A record has `query`, `model` (its index), `average_precision`, `best` (what ranks first), and per exemplar, in the model's
    order, `exemplars` (paths), `ranks` and `similarities`; with a calibrator also `weights` and their sum, `exemplar_share`.
    """
    ranks = ranks_among_all(work, tally)
    weights = exemplar_weights(work, tally, calibrator) if calibrator else None
    records: dict[str, list[dict[str, Any]]] = {}
    paths, i = laion.paths, 0
    for kind, queries in case.queries.items():
        records[kind] = []
        for path, model in zip(queries.paths, queries.ids.tolist(), strict=True):
            own = work.similarities[work.bounds[i] : work.bounds[i + 1]]
            exemplars = case.exemplar_paths[slice(*case.chunks[model])]
            if ranks[i].min() == 1:
                first = int(ranks[i].argmin())
                best = {"path": exemplars[first], "similarity": float(own[first]), "is_exemplar": True}
            else:
                best = {"path": paths[tally.best_row[i]], "similarity": float(tally.best[i]), "is_exemplar": False}
            record = {
                "query": path,
                "model": model,
                "average_precision": average_precision(np.sort(ranks[i])),
                "best": best,
                "exemplars": exemplars,
                "ranks": ranks[i].tolist(),
                "similarities": own.tolist(),
            }
            if weights is not None:
                record |= {"weights": weights[i].tolist(), "exemplar_share": float(weights[i].sum())}
            records[kind].append(record)
            i += 1
    return records


def summary(records: Sequence[dict[str, Any]], recall_k: Sequence[int]) -> dict[str, Any]:
    """Means over the queries of one prompt type, each with a bootstrap 95 % interval over models."""
    models = [str(record["model"]) for record in records]
    ranks = [np.array(record["ranks"]) for record in records]
    intervals = {
        k: bootstrap_interval(np.array([recall_at_k(r, k) for r in ranks]), models) for k in dict.fromkeys(recall_k)
    }
    precision = bootstrap_interval(np.array([record["average_precision"] for record in records]), models)
    result: dict[str, Any] = {
        "recall": {str(k): interval.mean for k, interval in intervals.items()},
        "map": precision.mean,
        "n_queries": len(records),
        "n_models": len(set(models)),
        "interval_95": {
            "recall": {str(k): [interval.low, interval.high] for k, interval in intervals.items()},
            "map": [precision.low, precision.high],
        },
    }
    if "exemplar_share" in records[0]:
        result["exemplar_share"] = float(np.mean([record["exemplar_share"] for record in records]))
    return result


def lines(records: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The records as JSON lines, each with its prompt type."""
    for kind, some in records.items():
        for record in some:
            yield json.dumps({"type": kind} | record, ensure_ascii=False) + "\n"


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
        name, is_named, rest = argument.partition("=")
        if not is_named or Path(argument).exists():
            name, rest = "", argument
        for kind, figures in _read_results(Path(rest)).items():
            own = name or str(figures.get("test_case"))
            if own.lower() not in names:
                known = ", ".join(dict.fromkeys(row["test_case"] for row in published["rows"]))
                raise BenchmarkError(
                    f"the test case must be one of {known}, got {own} in {rest}; name it with NAME=FILE"
                )
            place = (names[own.lower()], kind)
            if place in found:
                raise BenchmarkError(
                    f"a row must have one source, got a second for {place[0]}, {kind} in {rest}; leave one out"
                )
            found[place] = figures["recall"]["5"]
    lines = [
        f"| R@5 | prompts | this run | {' | '.join(published['columns'])} |",
        "|---|---|---|" + "---|" * len(published["columns"]),
    ]
    for row in published["rows"]:
        ours = found.pop((row["set"], row["type"]), None)
        cells = ["" if ours is None else f"{ours:.3f}", *(f"{figure:.3f}" for figure in row["figures"])]
        lines.append(f"| {row['set']} | {row['type']} | {' | '.join(cells)} |")
    if found:
        extra = ", ".join(" ".join(place) for place in found)
        raise BenchmarkError(f"prompt types must be those of AbC's table, got {extra}; leave that file out")
    return "\n".join(lines)


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(
            f"results must be a readable file, got {path} ({error.strerror or error}); check it"
        ) from None
    except ValueError as error:
        raise BenchmarkError(f"results must be JSON, got {path} ({error}); run the evaluation again") from None
    usable = isinstance(results, dict) and results and all(isinstance(part, dict) for part in results.values())
    if not usable or not all(isinstance((part.get("recall") or {}).get("5"), float) for part in results.values()):
        raise BenchmarkError(
            f"results must have a recall at 5 for each prompt type, got none in {path}; "
            "run precompute.abc_evaluate with 5 among --recall-k"
        )
    return results
