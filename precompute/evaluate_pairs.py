r"""How often the sources of pictures that real generators made are found, per space and kind of picture, with intervals.

Reads   FOLDER in AbC's layout: exemplar/, synth/KIND/, json/*.json; and pictures.csv, where it is there, whose columns file and
        repository say what was published together
        the bundle: its heads, and its references, which stand in the gallery beside all exemplars of FOLDER
Writes  --out, the figures as JSON; what is embedded is kept in .work/ of the bundle, so that a run goes on, and another gallery
        takes seconds

A query is found at rank r when the best placed of its true sources stands at r. Each figure is a mean over repositories, weighted
by the square root of their number of pictures; `all` is the mean of the kinds; intervals are bootstrap 95 % over repositories.
A gallery that holds what the heads were trained on flatters them: --splits keeps such references out, --others adds strangers.

    python -m precompute.evaluate_pairs FOLDER
    python -m precompute.evaluate_pairs FOLDER --splits validation test --others PHOTOGRAPHS --out pairs.json
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import Bundle, BundleError, read_heads
from aad.hub import open_bundle
from aad.spaces import SPACES, Domain
from aad.vectors import l2_normalise
from precompute.common import pairs
from precompute.common.cli import add_network_options, command_line, run_step, step_parser
from precompute.common.embedding import embed_files
from precompute.common.lock import hold
from precompute.common.store import write_table
from precompute.pictures.drawing import open_backbone


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures with their sources, in AbC's layout")
    add = parser.add_argument
    add("--splits", nargs="+", metavar="SPLIT", help="only the bundle's references of these; all")
    more = "more real pictures that are no source"
    add("--others", type=Path, action="append", default=[], metavar="FOLDER", help=more)
    add("--out", type=Path, metavar="FILE", help="the figures as JSON")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    queries, exemplars = pairs.read_pairs(arguments.folder)
    others = [path for folder in arguments.others for path in pairs.pictures_below(folder)]
    bundle = open_bundle(arguments.bundle)
    hold(bundle.folder)
    splits = [str(entry.get("split", "")) for entry in bundle.read_json("references.json")]
    rows = _rows(bundle, splits, arguments.splits)
    backbone = open_backbone(bundle, arguments.weights, arguments.device)
    scratch = bundle.folder / ".work"
    real = embed_files(backbone, [*exemplars, *others], scratch, "real")
    made = embed_files(backbone, [query.file for query in queries], scratch, "synthetic")
    ranks = {}
    for space, head in read_heads(bundle).items():
        stored = bundle.read_array(f"references_{space}.npy", (len(splits), None))[rows]
        gallery = np.concatenate([head.embed(real, Domain.REAL), l2_normalise(stored)])
        asked, sources = head.embed(made, Domain.SYNTHETIC), [query.sources for query in queries]
        ranks[str(space)] = pairs.search(asked, gallery, sources)
    kinds, repositories = [query.kind for query in queries], [query.repository for query in queries]
    result = {
        "command": command_line("precompute.evaluate_pairs", argv),
        "bundle": bundle.sha256,
        "n_queries": len(queries),
        "n_repositories": len(set(repositories)),
        "n_exemplars": len(exemplars),
        "n_others": len(others) + len(rows),
        **pairs.intervals(ranks, kinds, repositories),
    }
    print(table(result))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(arguments.out, result)


def _rows(bundle: Bundle, splits: Sequence[str], wanted: Sequence[str] | None) -> np.ndarray:
    """Of the bundle's references in the gallery."""
    if unknown := {*(wanted or ())} - {*splits}:
        there = ", ".join(sorted(filter(None, {*splits}))) or "none"
        raise BundleError(f"{bundle.folder} has no reference of the split {min(unknown)}; its splits: {there}")
    return np.flatnonzero(np.isin(splits, wanted)) if wanted else np.arange(len(splits))


def table(result: Mapping[str, Any]) -> str:
    """The figures of each kind, then what one space gains on another: in all, and by kind."""
    head = "{n_queries} queries of {n_repositories} repositories, {n_exemplars} exemplars, {n_others} other references"
    lines, spaces = [head.format_map(result)], result["spaces"]
    for kind in spaces[SPACES[0]]:
        told = {
            space: " ".join(f"{cell['mean']:.3f}" for cell in kinds[kind].values()) for space, kinds in spaces.items()
        }
        lines.append(f"{kind:10s} " + " | ".join(f"{space} {means}" for space, means in told.items()))
    for name, kinds in result["differences"].items():
        lines.append(f"{name}: {_gain(kinds[pairs.ALL])}")
        lines += [f"  {kind}: {_gain(cells)}" for kind, cells in kinds.items() if kind != pairs.ALL]
    return "\n".join(lines)


def _gain(cells: Mapping[str, Mapping[str, float]]) -> str:
    shown = ("hit@1", "MRR")
    return ", ".join(f"{m} {{mean:+.3f}} ({{low:+.3f}} to {{high:+.3f}})".format_map(cells[m]) for m in shown)


if __name__ == "__main__":
    run_step(main)
