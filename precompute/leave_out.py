"""Step 8: does the order of the three spaces hold on generators that training never saw?

Reads   .work/views.npz (step 3), .work/made_queries.npz (extract_families), features and tables of the bundle
Writes  generalisation.json into the bundle, or to --out

For each family of synthetic images both heads are fitted without it, with the shipped settings, and tested on it, on concepts that
training never saw either: validation concepts, on which settings are chosen, and test concepts. ``--table`` prints the table that
the README shows.

    python -m precompute.leave_out
    python -m precompute.leave_out --splits validation --out FILE        # while settings are still open
    python -m precompute.leave_out --table
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle
from aad.method import ALIGNED, DISENTANGLED, Head, fit_head, leading_directions
from aad.spaces import SPACES, Space
from precompute.common import figures
from precompute.common.cli import limit_threads, run_step, step_parser, versions
from precompute.common.figures import Scores
from precompute.common.left_out import cosine, read_queries, read_views, score
from precompute.common.lock import hold
from precompute.pictures.families import FAMILIES

SPLITS = ("validation", "test")


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=SPLITS, help="concepts to test on")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES, help="families to leave out")
    figures.add_out(parser)
    parser.add_argument("--table", action="store_true", help="print the README's table from the bundle's file and stop")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    arguments = parser.parse_args(argv)
    if not (arguments.out or arguments.table):
        hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    if arguments.table:
        print(table(bundle.read_json("generalisation.json")))
        return
    limit_threads(arguments.threads)
    references = bundle.read_array("references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    result: dict[str, dict[str, Any]] = {split: {} for split in arguments.splits}
    pool: dict[str, list[Part]] = {split: [] for split in arguments.splits}
    n_steps = ALIGNED.n_steps + DISENTANGLED.n_steps
    with tqdm(total=n_steps * len(arguments.families), unit="step", disable=None) as bar:
        for family in arguments.families:
            bar.set_description(f"without {family}")
            views = read_views(bundle, [family])
            leading = leading_directions(views, ALIGNED.rank)
            heads = {Space.BACKBONE: Head.identity(views.real.shape[2])}
            for space, config in ((Space.ALIGNED, ALIGNED), (Space.DISENTANGLED, DISENTANGLED)):
                heads[space], _ = fit_head(views, config, lambda *_: bar.update(), leading)
            for split in arguments.splits:
                queries = read_queries(bundle, family, split)
                scores = {space: score(cosine(heads[space], queries, references), queries) for space in SPACES}
                rows, pooled = by_type(family, queries.types, (scores, np.array(queries.concepts)))
                result[split] |= rows
                pool[split].append(pooled)
    for split, parts in pool.items():
        everything = {s: {m: np.concatenate([of[s][m] for of, _ in parts]) for m in figures.MEASURES} for s in SPACES}
        result[split]["all families"] = _row("each in turn", (everything, np.concatenate([c for _, c in parts])))
    made_with = {"versions": versions("torch", "numpy")}
    figures.write_figures(arguments, argv, "leave_out", "generalisation.json", result, made_with)
    for split in arguments.splits:
        print(f"{split} concepts\n{table(result, split)}")


Part = tuple[Mapping[Space, Scores], np.ndarray]  # figures of n queries in each space, and their concepts


def by_type(family: str, types: Sequence[str], part: Part) -> tuple[dict[str, Any], Part]:
    """Means and differences of all queries of a family and of each type, and the queries to be pooled with other families'."""
    kinds = np.array(types)
    parts = {str(kind): kinds == kind for kind in dict.fromkeys(types)}
    alike = ~np.isin(kinds, figures.OTHER_TASK)
    if alike.any():
        parts = {f"{family}, all" if len(parts) > 1 else family: alike} | (parts if len(parts) > 1 else {})
    return {name: _row(family, _chosen(part, chosen)) for name, chosen in parts.items()}, _chosen(part, alike)


def _chosen(part: Part, chosen: np.ndarray) -> Part:
    scores, concepts = part
    return {space: {m: values[chosen] for m, values in of.items()} for space, of in scores.items()}, concepts[chosen]


def _row(left_out: str, part: Part) -> dict[str, Any]:
    scores, concepts = part[0], part[1].tolist()
    backbone, disentangled = (scores[space]["recall@1"].mean() for space in (Space.BACKBONE, Space.DISENTANGLED))
    return {
        "left_out": left_out,
        "n_queries": len(concepts),
        "spaces": {str(space): figures.intervals(scores[space], concepts) for space in SPACES},
        "differences": figures.differences(scores, concepts),
        "recall_ratio": round(float(disentangled / backbone), 2) if backbone else None,
    }


def table(result: Mapping[str, Any], split: str = "test") -> str:
    """A Markdown table of one split; a cell is the mean R@1 with its 95 % interval, then MRR."""
    rows = []
    for name, row in result[split].items():
        cells = [f"{figures.shown(c['recall@1'])}, {c['mrr']['mean']:.3f}" for c in map(row["spaces"].get, SPACES)]
        ratio = "" if row["recall_ratio"] is None else f"{row['recall_ratio']:.2f}"
        rows.append([f"{name}, {row['n_queries']}", row["left_out"], *cells, ratio])
    return figures.markdown(["queries", "left out of training", *SPACES, "R@1, times the backbone's"], rows)


if __name__ == "__main__":
    run_step(main)
