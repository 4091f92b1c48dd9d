"""The search over settings, and the comparison with other methods: one line a method, tested on generators it never saw.

Reads   .work/views.npz, .work/made_queries.npz, .work/query_crops.npz (lines "crops" only), features and tables of the bundle
Writes  OUT: a JSON log with one entry for each method and left-out family. What is in it is not computed again

Settings are chosen on validation concepts (docs/ablation.json); on test concepts only the baselines and the shipped settings are
run, once (docs/baselines.json). ``--table`` prints a log as the Markdown table that docs/ablation.md shows.

    python -m precompute.compare --out docs/ablation.json
    python -m precompute.compare --groups baselines --split test --out docs/baselines.json
    python -m precompute.compare --out docs/ablation.json --table
"""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle
from aad.hub import open_bundle
from aad.method import Head
from precompute.common import figures
from precompute.common.cli import limit_threads, run_step, step_parser
from precompute.common.left_out import read_queries, score, scratch_file
from precompute.common.store import write_table
from precompute.experiments.variations import VARIATIONS, Seen, cosine
from precompute.pictures.families import FAMILIES

HARD = ("multistyle26", "arbitrary_style", "filters")  # the backbone finds nearly all of the others
OWN = ("multistyle26", "arbitrary_style")  # every query is the bundle's own, so that extract_crops has seen it


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--groups", nargs="+", default=list(VARIATIONS), choices=VARIATIONS, help="lines to run")
    parser.add_argument("--families", nargs="+", default=list(HARD), choices=FAMILIES, help="families to leave out")
    parser.add_argument("--split", default="validation", choices=("validation", "test"), help="concepts to test on")
    parser.add_argument("--out", type=Path, required=True, help="the log, made or completed")
    parser.add_argument("--table", action="store_true", help="print the log as a table and stop")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    arguments = parser.parse_args(argv)
    log = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else {}
    if arguments.table:
        print(table(log))
        return
    inputs = _inputs(open_bundle(arguments.bundle))
    if log.get("inputs") != inputs or log.get("split") != arguments.split:
        log = {"split": arguments.split, "inputs": inputs, "rows": {}}  # other data: nothing of the old log holds
    work = [
        (str(arguments.bundle), arguments.split, group, name, family)
        for group in arguments.groups
        for name in VARIATIONS[group]
        for family in arguments.families
        if family not in log["rows"].get(name, {}).get("families", {}) and (group != "crops" or family in OWN)
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(max(1, arguments.jobs), _start_worker) as pool:
        for group, name, family, figures in tqdm(pool.imap(_run_one, work), total=len(work), unit="fit", disable=None):
            row = log["rows"].setdefault(name, {"group": group, "families": {}})
            row["families"][family] = figures
            write_table(arguments.out, log)
    print(table(log))


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends the pool
    limit_threads(1)  # sums in one order: the same figures however many jobs


def _run_one(task: tuple[str, str, str, str, str]) -> tuple[str, str, str, dict[str, Any]]:
    folder, split, group, name, family = task
    bundle = open_bundle(Path(folder))
    references = bundle.read_array("references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    started = time.perf_counter()
    made = VARIATIONS[group][name](Seen(bundle, family))
    seconds = time.perf_counter() - started
    queries = read_queries(bundle, family, split, with_crops=group == "crops")
    ranking = partial(cosine, made) if isinstance(made, Head) else made
    alike = ~np.isin(queries.types, figures.OTHER_TASK)
    scores = {measure: values[alike] for measure, values in score(ranking(queries, references), queries).items()}
    told: dict[str, Any] = figures.intervals(scores, list(np.array(queries.concepts)[alike]))
    return group, name, family, told | {"n_queries": int(alike.sum()), "seconds": round(seconds, 1)}


def _inputs(bundle: Bundle) -> str:
    """A digest of everything that the figures depend on but the code."""
    digest = hashlib.sha256(bundle.manifest["files"]["queries_backbone.npy"]["sha256"].encode())
    for name, step in (("views.npz", "extract_views"), ("made_queries.npz", "extract_families")):
        digest.update(scratch_file(bundle, name, step).read_bytes())
    return digest.hexdigest()[:16]


def table(log: Mapping[str, Any]) -> str:
    """A Markdown table: R@1 / MRR for each left-out family, and both over all queries where every family has been run."""
    families = list(dict.fromkeys(family for row in log["rows"].values() for family in row["families"]))
    rows = []
    for name, row in log["rows"].items():
        cells = [row["families"].get(family) for family in families]
        run = [cell for cell in cells if cell]
        means = {measure: [cell[measure]["mean"] for cell in run] for measure in figures.MEASURES}
        pooled = [np.average(values, weights=[cell["n_queries"] for cell in run]) for values in means.values()]
        rows.append(
            [
                name,
                *(f"{c['recall@1']['mean']:.3f} / {c['mrr']['mean']:.3f}" if c else "" for c in cells),
                *(f"{value:.3f}" if len(run) == len(cells) else "" for value in pooled),
                f"{np.mean([cell['seconds'] for cell in run]):.0f}",
            ]
        )
    titles = [f"{log['split']} concepts", *(f"without {family}" for family in families)]
    return figures.markdown([*titles, "all, R@1", "all, MRR", "s"], rows)


if __name__ == "__main__":
    run_step(main)
