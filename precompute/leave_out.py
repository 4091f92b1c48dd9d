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

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle, write_atomically
from aad.method import ALIGNED, DISENTANGLED, Head, fit_head
from aad.spaces import SPACES, Space
from precompute.common.cli import command_line, limit_threads, run_step, step_parser, versions
from precompute.common.lock import hold, lets_go
from precompute.common.steps import write_step
from precompute.common.trials import interval, read_queries, read_views, score
from precompute.pictures.families import FAMILIES

SPLITS = ("validation", "test")
STEPS_BETWEEN = (
    (Space.BACKBONE, Space.ALIGNED),
    (Space.ALIGNED, Space.DISENTANGLED),
    (Space.BACKBONE, Space.DISENTANGLED),
)
OTHER_TASK = (
    "style",
)  # another scene in a painter's manner: the source is not shown, so it is never pooled with the rest


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=SPLITS, help="concepts to test on")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES, help="families to leave out")
    parser.add_argument("--out", type=Path, help="write here instead of into the bundle")
    parser.add_argument("--table", action="store_true", help="print the README's table from the bundle's file and stop")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    arguments = parser.parse_args(argv)
    if not (arguments.out or arguments.table):
        hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    if arguments.table:
        print(table(bundle.read_json("generalisation.json"), "test"))
        return
    limit_threads(arguments.threads)
    references = bundle.read_array("references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    figures: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in arguments.splits}
    n_steps = ALIGNED.n_steps + DISENTANGLED.n_steps
    with tqdm(total=n_steps * len(arguments.families), unit="step", disable=None) as bar:
        for family in arguments.families:
            bar.set_description(f"without {family}")
            views = read_views(bundle, [family])
            heads = {Space.BACKBONE: Head.identity(views.real.shape[2])}
            for space, config in ((Space.ALIGNED, ALIGNED), (Space.DISENTANGLED, DISENTANGLED)):
                heads[space], _ = fit_head(views, config, lambda step, loss: bar.update())
            for split in arguments.splits:
                queries = read_queries(bundle, family, split)
                scores = {space: score(heads[space], references.astype(np.float32), queries) for space in SPACES}
                figures[split][family] = {"scores": scores, "types": queries.types, "concepts": queries.concepts}
    result = {split: summarise(figures[split]) for split in arguments.splits}
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
    else:
        write_step(
            arguments.bundle,
            "leave_out",
            {"generalisation.json": result},
            command=command_line("precompute.leave_out", argv),
            settings={"versions": versions("torch", "numpy")},
        )
    for split in arguments.splits:
        print(f"{split} concepts\n{table(result, split)}")


def summarise(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means and paired differences with intervals: per family, per type of a family, and pooled over all families."""
    rows: dict[str, Any] = {}
    everything: list[tuple[dict[Space, dict[str, np.ndarray]], list[str]]] = []
    for family, figure in figures.items():
        types = np.array(figure["types"])
        parts = {str(kind): types == kind for kind in dict.fromkeys(figure["types"])}
        shown = ~np.isin(types, OTHER_TASK)
        if shown.any():
            parts = {f"{family}, all" if len(parts) > 1 else family: shown} | (parts if len(parts) > 1 else {})
        for name, chosen in parts.items():
            rows[name] = {"left_out": family} | _row(*_part(figure, chosen))
        everything.append(_part(figure, shown))
    pooled = {
        space: {
            measure: np.concatenate([scores[space][measure] for scores, _ in everything])
            for measure in ("recall@1", "mrr")
        }
        for space in SPACES
    }
    rows["all families"] = {"left_out": "each in turn"} | _row(pooled, [c for _, part in everything for c in part])
    return rows


def _part(figure: Mapping[str, Any], chosen: np.ndarray) -> tuple[dict[Space, dict[str, np.ndarray]], list[str]]:
    scores = {
        space: {measure: values[chosen] for measure, values in figure["scores"][space].items()} for space in SPACES
    }
    return scores, list(np.array(figure["concepts"])[chosen])


def _row(scores: dict[Space, dict[str, np.ndarray]], concepts: list[str]) -> dict[str, Any]:
    backbone, disentangled = (scores[space]["recall@1"].mean() for space in (Space.BACKBONE, Space.DISENTANGLED))
    return {
        "n_queries": len(concepts),
        "spaces": {
            str(space): {measure: interval(values, concepts) for measure, values in scores[space].items()}
            for space in SPACES
        },
        "differences": {
            f"{later} - {earlier}": {
                measure: interval(scores[later][measure] - scores[earlier][measure], concepts)
                for measure in ("recall@1", "mrr")
            }
            for earlier, later in STEPS_BETWEEN
        },
        "recall_ratio": round(float(disentangled / backbone), 2) if backbone else None,
    }


def table(result: Mapping[str, Any], split: str) -> str:
    """A Markdown table of one split; a cell is the mean R@1 with its 95 % interval, then MRR."""
    lines = [
        "| queries | left out of training | backbone | aligned | disentangled | R@1, times the backbone's |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result[split].items():
        cells = []
        for space in SPACES:
            recall, mrr = (row["spaces"][space][measure] for measure in ("recall@1", "mrr"))
            cells.append(f"{recall['mean']:.3f} ({recall['low']:.3f} to {recall['high']:.3f}), {mrr['mean']:.3f}")
        ratio = "" if row["recall_ratio"] is None else f"{row['recall_ratio']:.2f}"
        lines.append(f"| {name}, {row['n_queries']} | {row['left_out']} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_step(main)
