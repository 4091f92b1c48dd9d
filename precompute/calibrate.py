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
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aad.bundle import DEFAULT_BUNDLE, Bundle, read_heads
from aad.calibration import Calibration
from aad.hub import open_bundle
from aad.scale.stored import map_rows
from aad.spaces import Domain
from precompute.common.cli import command_line, run_step, step_parser
from precompute.common.lock import hold
from precompute.common.steps import write_step

N_BINS = 4096  # of cosine from -1 to 1, where similarities are too many to keep
N_CELLS = 2_000_000  # similarities that are kept as they are: a minute of fitting


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add = parser.add_argument
    add("--split", default="validation", help="whose queries to fit on")
    add("--calibration-from", type=Path, default=DEFAULT_BUNDLE, help="used if the split has no query of known source")
    arguments = parser.parse_args(argv)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    references, queries = bundle.read_json("references.json"), bundle.read_json("queries.json")
    chosen = [i for i, query in enumerate(queries) if query.get("split") == arguments.split and query["exemplar_ids"]]
    if chosen:  # the verdict of this bundle's own is fitted by fit_verdict
        sections = {"calibration": _fit(bundle, references, [queries[i] for i in chosen], chosen)}
        origin = f"{len(chosen)} {arguments.split} queries"
    else:
        source = open_bundle(arguments.calibration_from)
        taken = ["calibration", *({"verdict"} & source.manifest.keys())]
        sections = {name: source.section(name) for name in taken}
        origin = f"copied from {arguments.calibration_from.name}"
        theirs, ours = (b.manifest["backbone"]["name"] for b in (source, bundle))
        if theirs != ours:
            origin += f", of {theirs}"
            print(
                f"warning: the weights' scale is {theirs}'s, this bundle uses {ours}: read similarities, not weights; "
                "--split NAME fits on queries whose sources are known",
                file=sys.stderr,
            )
    command = command_line("precompute.calibrate", argv)
    write_step(arguments.bundle, "calibrate", {}, command=command, sections=sections, settings={"origin": origin})
    print(f"calibration ({origin}):", sections["calibration"])


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
        stored = map_rows(bundle, name, (len(references), None))
        with tqdm(stored.chunks(), f"compare in {space}", unit="part", disable=None) as chunks:
            similarities, counts, columns = condense(chunks, embedded, absent)
        sources, out = (
            [[column[i] for i in ids] for column, ids in zip(columns, named, strict=True)]
            for named in (exemplars, absent)
        )
        fitted[str(space)] = asdict(fit_calibration(similarities, sources, out, counts))
    return fitted


def condense(
    chunks: Iterable[tuple[int, np.ndarray]], queries: np.ndarray, named_ids: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, list[dict[int, int]]]:
    """The similarities of some queries to a gallery too large to keep them, as ``fit_calibration`` takes them.

    The references that a query names keep a column each; all others are counted in bins of 1/2048 of cosine, each at its mean,
    which moves the log of their mass by less than 1e-3 at any inverse temperature below 100.

    Args:
        chunks: (id of the first, (c, d) unit rows) of the whole gallery, in order.
        queries: (m, d) unit rows.
        named_ids: per query, the references that must not be counted away: those absent and its exemplars.

    Returns:
        (m, c) similarities, (m, c) counts, and for each query the columns of the references that it names, by id.
    """
    names = [np.unique(np.asarray(ids, dtype=np.int64)) for ids in named_ids]
    width = max((len(ids) for ids in names), default=0)
    kept, kept_counts = np.zeros((len(queries), width)), np.zeros((len(queries), width))
    counts, sums = np.zeros((2, len(queries), N_BINS))
    for first, rows in chunks:
        for row, (found, ids) in enumerate(zip(queries @ rows.T, names, strict=True)):
            here = np.flatnonzero((ids >= first) & (ids < first + len(rows)))
            kept[row, here], kept_counts[row, here] = found[ids[here] - first], 1
            others = np.delete(found, ids[here] - first).astype(np.float64)
            bins = np.clip(((others + 1) * (N_BINS / 2)).astype(np.int64), 0, N_BINS - 1)
            counts[row] += np.bincount(bins, minlength=N_BINS)
            sums[row] += np.bincount(bins, others, N_BINS)
    used = counts.any(0)
    counts, sums = counts[:, used], sums[:, used]
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    columns = [{int(i): column for column, i in enumerate(ids)} for ids in names]
    return np.concatenate([kept, means], 1), np.concatenate([kept_counts, counts], 1), columns


def fit_calibration(
    similarities: np.ndarray,
    exemplar_ids: Sequence[Sequence[int]],
    absent_ids: Sequence[Sequence[int]],
    counts: np.ndarray | None = None,
) -> Calibration:
    """Fit ``beta`` and ``gamma`` on queries whose sources are known.

    Args:
        similarities: (m, n) cosine of m validation queries to the gallery.
        exemplar_ids: per query, its true sources; their weights are summed.
        absent_ids: per query, the references to take out so that no source is left (its exemplars and their whole concept).
        counts: (m, n) how many references each similarity stands for, see ``condense``; one each when None.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    similarities = similarities.astype(np.float64)
    is_exemplar, is_absent = (np.zeros(similarities.shape, bool) for _ in range(2))
    for row, (exemplars, absent) in enumerate(zip(exemplar_ids, absent_ids, strict=True)):
        is_exemplar[row, list(exemplars)] = True
        is_absent[row, list(absent)] = True
    with np.errstate(divide="ignore"):
        log_counts = 0.0 if counts is None else np.log(counts)  # minus infinity where there is none

    def negative_log_likelihood(parameters: np.ndarray) -> float:
        beta, gamma = np.exp(parameters[0]), parameters[1]
        logits = beta * similarities + log_counts
        present = np.logaddexp(logsumexp(logits, axis=1), gamma)
        source = logsumexp(np.where(is_exemplar, logits, -np.inf), axis=1)
        without = np.logaddexp(logsumexp(np.where(is_absent, -np.inf, logits), axis=1), gamma)
        return float(np.mean(present - source) + np.mean(without - gamma)) / 2

    # beta is searched on a log scale, from a softmax that is neither flat nor a winner-takes-all
    fits = [
        minimize(negative_log_likelihood, [np.log(beta), beta * similarities.max(1).mean()], method="Nelder-Mead")
        for beta in (5.0, 20.0, 80.0)
    ]
    best = min(fits, key=lambda fit: fit.fun)
    return Calibration(float(np.exp(best.x[0])), float(best.x[1]))


if __name__ == "__main__":
    run_step(main)
