"""The search over settings of the heads, on pictures of real generators whose repositories and subjects training did not see.

Reads   FOLDER, as evaluate_pairs does; .work/views.npz of the bundle (step 3), made with the folders that training may use
Writes  --out, a log with one entry a line; a second run goes on where the first stopped

FOLDER is cut into folds: repositories that share a subject fall together. Each line is fitted five times, each time on what remains
of the views when a fold's pictures are taken out, and half of --others with them; it is asked for that fold's sources among the
fold's exemplars, the bundle's validation and test references and those strangers. So nothing in a gallery was seen in training.
The lines `aligned` and `disentangled` ship.
``--table`` prints the tables that the README and docs/real_generators.md show.

    python -m precompute.search_heads FOLDER --others PHOTOGRAPHS --out docs/real_generators.json
    python -m precompute.search_heads FOLDER --others PHOTOGRAPHS --out docs/real_generators.json --lines aligned disentangled
    python -m precompute.search_heads --table --out docs/real_generators.json
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.method import ALIGNED, DISENTANGLED, Head, TrainConfig
from aad.spaces import SPACES, Domain
from precompute.common import figures, pairs
from precompute.common.cli import command_line, limit_threads, run_step, step_parser
from precompute.common.lock import hold
from precompute.common.store import write_table
from precompute.common.unseen import N_FOLDS, Fold, Unseen, add_folder_arguments

FULL_MAP = {"gains_only": False, "n_steps": 150, "learning_rate": 1e-3}
Line = Callable[[Fold], Head]


def _trained(shipped: TrainConfig, **changes: Any) -> Line:
    return lambda fold: fold.trained(replace(shipped, **changes))


def _closed(rank: int = ALIGNED.rank, shrinkage: float = DISENTANGLED.shrinkage, cut: bool = False) -> Line:
    return lambda fold: fold.closed(rank, shrinkage, cut)


LINES: dict[str, Line] = {
    "backbone": lambda fold: Head.identity(fold.views.real.shape[2]),
    "aligned": _trained(ALIGNED),
    "disentangled": _trained(DISENTANGLED),
    "centring": _trained(ALIGNED, n_steps=0),
    "whitening (Infomax alone)": _closed(),
    "whitening, shrinkage 0.2": _closed(shrinkage=0.2),
    "whitening, shrinkage 0.7": _closed(shrinkage=0.7),
    "whitening, shrinkage 0.95": _closed(shrinkage=0.95),
    "whitening, shrinkage 0.2, rank 128": _closed(128, 0.2),
    "whitening, shrinkage 0.2, the rest dropped": _closed(shrinkage=0.2, cut=True),
    "nuisance whitening (both terms, closed form)": lambda fold: fold.nuisance(),
    "aligned, temperature 0.02": _trained(ALIGNED, temperature=0.02),
    "aligned, temperature 0.2": _trained(ALIGNED, temperature=0.2),
    "aligned, 60 steps": _trained(ALIGNED, n_steps=60),
    "aligned, a full map": _trained(ALIGNED, **FULL_MAP),
    "disentangled, temperature 0.02": _trained(DISENTANGLED, temperature=0.02),
    "disentangled, shrinkage 0.2": _trained(DISENTANGLED, shrinkage=0.2),
    "disentangled, a full map": _trained(DISENTANGLED, **FULL_MAP),
}


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add_folder_arguments(parser, "the log")
    only = "only these; all"
    parser.add_argument("--lines", nargs="+", choices=LINES, default=[*LINES], metavar="LINE", help=only)
    arguments = parser.parse_args(argv)
    if arguments.table:
        log = json.loads(arguments.out.read_text("utf-8"))
        print(f"{pairs.markdown(log['spaces'])}\n\n{table(log)}")
        return
    if arguments.folder is None:
        parser.error("FOLDER is missing: a folder of pictures with their sources, in AbC's layout")
    hold(arguments.bundle)
    limit_threads(arguments.threads)
    asked = Unseen(arguments)
    queries, log = asked.queries, {"lines": {}}
    if arguments.out.exists():
        log = json.loads(arguments.out.read_text("utf-8"))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    kinds, repositories = [query.kind for query in queries], [query.repository for query in queries]
    lines = {name: np.array(log["lines"].get(name, {}).get("ranks", [0] * len(queries))) for name in arguments.lines}
    with tqdm(total=N_FOLDS * len(lines), unit="fit", disable=None) as bar:
        for fold in range(N_FOLDS):
            own, features, sources = asked.of(fold)
            to_do = [name for name, ranks in lines.items() if not ranks[own].all()]
            bar.update(len(lines) - len(to_do))
            if not to_do:
                continue
            state = Fold(asked.views(fold))
            for name in to_do:
                started, head = monotonic(), LINES[name](state)
                gallery, made = head.embed(features, Domain.REAL), head.embed(asked.made[own], Domain.SYNTHETIC)
                lines[name][own] = pairs.search(made, gallery, sources)
                entry = log["lines"].setdefault(name, {"seconds": 0})
                entry["seconds"] = round(entry["seconds"] + monotonic() - started, 1)
                entry["ranks"] = lines[name].tolist()
                log["command"] = command_line("precompute.search_heads", argv)
                write_table(arguments.out, log, indent=None)  # after each fit: nothing is lost when interrupted
                bar.update()
    log |= {"n_queries": len(queries), "n_repositories": len(set(repositories)), "n_exemplars": len(asked.exemplars)}
    log |= summary(log["lines"], kinds, repositories)
    write_table(arguments.out, log, indent=None)
    print(table(log))


def summary(lines: Mapping[str, Any], kinds: Sequence[str], repositories: Sequence[str]) -> dict[str, Any]:
    """The table of every finished line, and intervals and differences of the three spaces where all are finished."""
    ranks = {name: np.array(line["ranks"]) for name, line in lines.items() if min(line["ranks"]) > 0}
    told: dict[str, Any] = {"figures": {name: pairs.table(of, kinds, repositories) for name, of in ranks.items()}}
    if all(space in ranks for space in SPACES):
        told |= pairs.intervals({str(space): ranks[space] for space in SPACES}, kinds, repositories)
    return told


def table(log: Mapping[str, Any]) -> str:
    """Markdown: hit@1 and MRR of each line by kind, in the log's order, and what a fit took."""
    named = next(iter(log["figures"].values()))
    rows = [
        [
            name,
            *(" / ".join(f"{cells[kind][m]:.3f}" for m in pairs.SHOWN) for kind in named),
            f"{log['lines'][name]['seconds'] / N_FOLDS:.0f}",
        ]
        for name, cells in log["figures"].items()
    ]
    return figures.markdown(["heads", *named, "s"], rows)


if __name__ == "__main__":
    run_step(main)
