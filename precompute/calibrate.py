"""Step 5: turn similarities into attribution weights, per space, on validation queries.

Reads   heads.safetensors, the embeddings and the queries of one split of the bundle whose sources are known
Writes  the calibration in the manifest

A bundle of your own folders has no known sources; its calibration, and the numbers behind the verdict, are then copied from another
bundle, the shipped one by default.
One of another backbone has cosines of another scale: its weights then say little, and the step says so.

    python -m precompute.calibrate
    python -m precompute.calibrate --bundle BUNDLE --split test_artchive     # AbC has no validation split: name one of its files
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import DEFAULT_BUNDLE, Bundle, read_heads
from aad.calibration import fit_calibration
from aad.hub import open_bundle
from aad.spaces import Domain
from precompute.common.calibration import condense
from precompute.common.cli import command_line, run_step, step_parser
from precompute.common.lock import hold, lets_go
from precompute.common.steps import write_step

N_CELLS = 2_000_000  # similarities that are kept as they are: a minute of fitting


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--split", default="validation", help="whose queries to fit on")
    parser.add_argument(
        "--calibration-from", type=Path, default=DEFAULT_BUNDLE, help="used when the split has no query of known source"
    )
    arguments = parser.parse_args(argv)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    references, queries = bundle.read_json("references.json"), bundle.read_json("queries.json")
    chosen = [i for i, query in enumerate(queries) if query.get("split") == arguments.split and query["exemplar_ids"]]
    judge: dict[str, Any] = {}  # of another bundle; this one's own is fitted by fit_verdict
    if chosen:
        calibration = _fit(bundle, references, [queries[i] for i in chosen], chosen)
        origin = f"{len(chosen)} {arguments.split} queries"
    else:
        source = open_bundle(arguments.calibration_from)
        calibration = source.section("calibration")
        judge = {"verdict": source.section("verdict")} if "verdict" in source.manifest else {}
        origin = f"copied from {arguments.calibration_from.name}"
        theirs, ours = (b.manifest["backbone"]["name"] for b in (source, bundle))
        if theirs != ours:
            origin += f", of {theirs}"
            print(
                f"warning: the weights' scale is {theirs}'s, this bundle uses {ours}: read similarities, not weights; "
                "--split NAME fits on queries whose sources are known",
                file=sys.stderr,
            )
    write_step(
        arguments.bundle,
        "calibrate",
        {},
        command=command_line("precompute.calibrate", argv),
        sections={"calibration": calibration, **judge},
        settings={"origin": origin},
    )
    print(f"calibration ({origin}):", calibration)


def _fit(bundle: Bundle, references: list[dict], queries: list[dict], rows: list[int]) -> dict[str, dict[str, float]]:
    _, concepts = np.unique([reference.get("concept", "") for reference in references], return_inverse=True)
    exemplars = [query["exemplar_ids"] for query in queries]
    absent = [sorted({*ids, *np.flatnonzero(np.isin(concepts, concepts[ids])).tolist()}) for ids in exemplars]
    features = bundle.read_array("queries_backbone.npy", (None, None))[rows]
    fitted = {}
    for space, head in read_heads(bundle).items():
        embedded, name = head.embed(features, Domain.SYNTHETIC), f"references_{space}.npy"
        if len(rows) * len(references) <= N_CELLS:
            gallery = bundle.read_array(name, (len(references), None))
            fitted[str(space)] = asdict(fit_calibration(embedded @ gallery.T, exemplars, absent))
            continue
        stored = bundle.map_rows(name, (len(references), None))
        with tqdm(stored.chunks(), f"compare in {space}", unit="part", disable=None) as chunks:
            similarities, counts, columns = condense(chunks, embedded, absent)
        sources, out = (
            [[column[i] for i in ids] for column, ids in zip(columns, named, strict=True)]
            for named in (exemplars, absent)
        )
        fitted[str(space)] = asdict(fit_calibration(similarities, sources, out, counts))
    return fitted


if __name__ == "__main__":
    run_step(main)
