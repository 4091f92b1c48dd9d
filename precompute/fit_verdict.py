"""What decides between found, possible and none, fitted on pictures whose sources are known and on galleries that lack them.

Reads   FOLDER, --others and .work/views.npz of the bundle, as search_heads does; the bundle's validation queries
Writes  the section "verdict" of the manifest, and --out, the table of how it holds

Each of search_heads' five folds is asked with heads that saw none of its pictures, of galleries drawn from what those heads did not
see: of 50, 150, 400 and 1,000 references, once with a query's sources among them and once with their concepts and all copies of
them taken out. The photographs, asked as if they were synthetic, have no source anywhere. What the table says of a fold is said by
numbers fitted on the others; what ships is fitted on all of them.

    python -m precompute.fit_verdict FOLDER --others PHOTOGRAPHS --out docs/verdict.json
    python -m precompute.fit_verdict --table --out docs/verdict.json
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import RELEASES
from aad.bundle import Bundle
from aad.method import ALIGNED, DISENTANGLED, Head
from aad.spaces import SPACES, Domain, Space
from aad.verdict import FOUND, N_RIVALS, TERMS, Judge, evidence
from precompute.common.cli import add_network_options, command_line, limit_threads, run_step, step_parser
from precompute.common.figures import interval, markdown, shown
from precompute.common.lock import hold, lets_go
from precompute.common.steps import write_step
from precompute.common.store import write_table
from precompute.common.unseen import N_FOLDS, Fold, Unseen
from precompute.pictures.drawing import open_backbone

SIZES = (50, 150, 400, 1000)  # references of a gallery
#: What the numbers are fitted for, in equal parts but for the photographs: a query with and without its source.
MASS = {
    ("made", True): 1.0,
    ("made", False): 1.0,
    ("demo", True): 0.5,
    ("demo", False): 0.5,
    ("photograph", False): 0.5,
}
WHAT = {
    "made": "outputs of real generators",
    "demo": "AbC-mini, validation",
    "photograph": "photographs of other things",
}
N_BINS = 10  # of the calibration error


@dataclass(frozen=True, slots=True)
class Case:
    """One query asked of one gallery.

    Attributes:
        fold: whose heads answered.
        what: ``made``, ``demo`` or ``photograph``.
        group: what was made alike, which intervals resample.
        size: of the gallery, about.
        present: whether a source is in the gallery.
        right: whether the first answer is one.
        terms: as ``aad.verdict.TERMS`` names them.
    """

    fold: int
    what: str
    group: str
    size: int
    present: bool
    right: bool
    terms: np.ndarray


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", metavar="FOLDER", help="pictures with their sources, in AbC's layout")
    add("--others", type=Path, action="append", default=[], metavar="FOLDER", help="real pictures, half of them asked")
    add("--out", type=Path, required=True, metavar="FILE", help="the table")
    add("--table", action="store_true", help="print it and stop")
    add("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.table:
        print(table(json.loads(arguments.out.read_text("utf-8"))))
        return
    if arguments.folder is None or not arguments.others:
        parser.error("FOLDER and --others are needed: pictures with their sources, and photographs of other things")
    hold(arguments.bundle)
    limit_threads(arguments.threads)
    bundle = Bundle.open(arguments.bundle)
    backbone = open_backbone(bundle, arguments.weights, arguments.device, arguments.engine)
    asked = Unseen(bundle, backbone, arguments.folder, arguments.others)
    cases = [case for fold in range(N_FOLDS) for case in asked_of_galleries(bundle, asked, fold)]
    folds, found = np.array([case.fold for case in cases]), np.zeros(len(cases))
    for fold in range(N_FOLDS):
        judge = fit([case for case in cases if case.fold != fold])
        for i in np.flatnonzero(folds == fold):
            found[i] = judge.probability(cases[i].terms)
    judge = fit(cases)
    measured = {"command": command_line("precompute.fit_verdict", argv), **measure(cases, found)}
    write_table(arguments.out, measured)
    write_step(
        arguments.bundle,
        "fit_verdict",
        {},
        command=measured["command"],
        sections={"verdict": {"weights": dict(judge.weights), "bias": judge.bias}},
        settings={"n_cases": len(cases)},
    )
    print(table(measured))


def asked_of_galleries(bundle: Bundle, asked: Unseen, fold: int) -> Iterator[Case]:
    """Every query of a fold, every stranger and some of the bundle's validation queries, each asked of galleries of all sizes."""
    own, features, sources = asked.of(fold)
    state, n_shown = Fold(asked.views(fold)), len(asked.shown(fold))
    heads = {
        Space.BACKBONE: Head.identity(features.shape[1]),
        Space.ALIGNED: state.trained(ALIGNED),
        Space.DISENTANGLED: state.trained(DISENTANGLED),
    }
    entries, start = bundle.read_json("queries.json"), n_shown + asked.strangers
    places = {reference_id: start + place for place, reference_id in enumerate(asked.reference_ids)}
    demo = [i for i, one in enumerate(entries) if one.get("split") == "validation" and one["exemplar_ids"]]
    demo = demo[fold::N_FOLDS]  # a part each: all heads are strangers to them
    stored = bundle.read_array("queries_backbone.npy", (len(entries), features.shape[1]))
    strangers = range(n_shown, n_shown + asked.strangers)
    queries = np.concatenate([asked.made[own], features[strangers], stored[demo].astype(np.float32)])
    sources = [*sources, *([] for _ in strangers), *([places[one] for one in entries[i]["exemplar_ids"]] for i in demo)]
    what = ["made"] * len(own) + ["photograph"] * len(strangers) + ["demo"] * len(demo)
    names = [*(asked.queries[i].repository for i in own), *map(str, strangers), *(entries[i]["concept"] for i in demo)]
    groups = [*(str(asked.exemplars[row].parent) for row in asked.shown(fold)), *map(str, strangers)]
    named = bundle.read_json("references.json")
    groups += [f"demo {named[i].get('concept') or i}" for i in asked.reference_ids]
    _, group = np.unique(groups, return_inverse=True)
    release = RELEASES[bundle.section("backbone")["name"]]
    copies = features @ features.T >= release.near_copy
    alike = {}
    for space, head in heads.items():
        alike[space] = head.embed(queries, Domain.SYNTHETIC) @ head.embed(features, Domain.REAL).T
    rng = np.random.default_rng(fold)
    for i in tqdm(range(len(queries)), f"fold {fold + 1} of {N_FOLDS}", unit="query", disable=None):
        held = sources[i] or ([strangers[i - len(own)]] if what[i] == "photograph" else [])
        theirs = np.isin(group, group[held])
        theirs |= copies[theirs].any(0)
        for size in SIZES:
            order = rng.permutation(np.unique(group[~theirs]))
            place = np.empty(group.max() + 1, np.int64)
            place[order] = np.arange(len(order))
            rest = np.flatnonzero(~theirs)
            rest = rest[np.argsort(place[group[rest]], kind="stable")][:size]  # group after group
            for present in (True, False) if sources[i] else (False,):
                gallery = np.concatenate([np.flatnonzero(theirs), rest]) if present else rest
                ids, values = {}, {}
                for space in SPACES:
                    near = alike[space][i, gallery]
                    best = np.argsort(-near, kind="stable")[:N_RIVALS]
                    ids[space], values[space] = gallery[best], near[best]
                first = ids[Space.DISENTANGLED][0]
                terms = evidence(ids, values, np.flatnonzero((group == group[first]) | copies[first]))
                yield Case(fold, what[i], names[i], size, present, present and bool(theirs[first]), terms)


def fit(cases: Sequence[Case]) -> Judge:
    """The logistic regression, every part of ``MASS`` weighing what it says there."""
    from sklearn.linear_model import LogisticRegression

    terms, right = np.stack([case.terms for case in cases]), np.array([case.right for case in cases])
    scale = terms.std(0)
    scale[scale == 0] = 1  # a term may be the same everywhere
    fitted = LogisticRegression(max_iter=2000).fit(terms / scale, right, sample_weight=_weights(cases))
    return Judge(dict(zip(TERMS, (fitted.coef_[0] / scale).tolist(), strict=True)), float(fitted.intercept_[0]))


def _weights(cases: Sequence[Case]) -> np.ndarray:
    parts = [(case.what, case.present) for case in cases]
    counts = Counter(parts)
    weights = np.array([MASS[part] / counts[part] for part in parts])
    return weights / weights.mean()


def measure(cases: Sequence[Case], probabilities: np.ndarray) -> dict[str, Any]:
    """Figures by what is asked, and for outputs of real generators by the gallery's size, with intervals over what was made alike.

    ``found``: of the first answers that are right, how many are found; ``right``: of those found where a source is there, how many
    are right; ``false``: how often something is found where no source is. ``calibration_error``: of all, weighted as in the fit.
    """
    parts = {what: [case.what == what for case in cases] for what in WHAT}
    parts |= {f"made, {size}": [(case.what, case.size) == ("made", size) for case in cases] for size in SIZES}
    present, right = (np.array([getattr(case, name) for case in cases]) for name in ("present", "right"))
    groups, found = np.array([case.group for case in cases]), probabilities >= FOUND
    figure = {"found": (right, found), "right": (present & found, right), "false": (~present, found)}
    weights, bins = _weights(cases), np.minimum((probabilities * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities - right), N_BINS)
    return {
        "n_cases": len(cases),
        "calibration_error": float(np.abs(gaps).sum() / weights.sum()),
        "figures": {
            name: {
                key: interval(values[where & np.array(part)], groups[where & np.array(part)].tolist())
                for key, (where, values) in figure.items()
                if (where & np.array(part)).any()
            }
            for name, part in parts.items()
        },
    }


def table(measured: Mapping[str, Any]) -> str:
    """Markdown: a row for what is asked, and for each size of gallery."""
    rows = []
    for name, cells in measured["figures"].items():
        what, _, size = name.partition(", ")
        label = f"of these, among {int(size):,}" if size else WHAT[what]
        rows.append([label, *(shown(cells[key]) if key in cells else "" for key in ("found", "right", "false"))])
    columns = ["asked", "found, of right first answers", "right, of those found", "found, with no source there"]
    return f"{markdown(columns, rows)}\n\nExpected calibration error: {measured['calibration_error']:.3f}"


if __name__ == "__main__":
    run_step(main)
