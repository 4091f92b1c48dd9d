"""What decides between found, possible and none, fitted on pictures whose sources are known and on galleries that lack them.

Reads   FOLDER, --others and .work/views.npz of the bundle, as search_heads does; the bundle's validation queries
Writes  the section "verdict" of the manifest, and --out, the table of how it holds

Each of search_heads' five folds is asked with heads that saw none of its pictures, of galleries drawn from what those heads did not
see: of 50, 150, 400 and up to 1,000 references, once with a query's sources among them and once with their concepts and all
copies of them taken out; and once more as in a folder that says of no two pictures that they belong together. The photographs,
asked as if they were synthetic, have no source anywhere, and are dealt out to folds of their own. What the table says of a fold
is said by numbers fitted on the others; what ships is fitted on all of them.

    python -m precompute.fit_verdict FOLDER --others PHOTOGRAPHS --out docs/verdict.json
    python -m precompute.fit_verdict --table --out docs/verdict.json
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import RELEASES
from aad.method import ALIGNED, DISENTANGLED, Head
from aad.spaces import SPACES, Domain, Space
from aad.verdict import FOUND, N_RIVALS, TERMS, Judge, evidence
from precompute.common.cli import command_line, limit_threads, run_step, step_parser
from precompute.common.figures import interval, markdown, shown
from precompute.common.lock import hold
from precompute.common.steps import write_step
from precompute.common.store import write_table
from precompute.common.unseen import N_FOLDS, Fold, Unseen, add_folder_arguments

SIZES = (50, 150, 400, 1000)  # references of a gallery
#: What the numbers are fitted for, in equal parts but for the photographs: a query with and without its source.
MASS = dict.fromkeys([("made", True), ("made", False)], 1.0)
MASS |= dict.fromkeys([("demo", True), ("demo", False), ("photograph", False)], 0.5)
WHAT = {
    "made": "outputs of real generators",
    "demo": "AbC-mini, validation",
    "photograph": "photographs of other things",
}
ALONE = "alone"  # of two references it is not known whether they belong together, unless they are copies
N_BINS = 10  # of the calibration error
COLUMNS = {
    "found": "found, of right first answers",
    "right": "right, of those found with a source there",
    "precision": "with a source in half of the galleries",
    "false": "found, with no source there",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One query asked of one gallery.

    Attributes:
        fold: that the numbers are not fitted on: its own, whose heads answered; of a photograph, its part of them.
        what: ``made``, ``demo`` or ``photograph``.
        group: what was made alike, which intervals resample.
        size: of the gallery, at most.
        named: whether it is known which references belong together.
        present: whether a source is in the gallery.
        right: whether the first answer is one.
        terms: as ``aad.verdict.TERMS`` names them.
    """

    fold: int
    what: str
    group: str
    size: int
    named: bool
    present: bool
    right: bool
    terms: np.ndarray


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add_folder_arguments(parser, "the table")
    arguments = parser.parse_args(argv)
    if arguments.table:
        print(table(json.loads(arguments.out.read_text("utf-8"))))
        return
    if arguments.folder is None or not arguments.others:
        parser.error("FOLDER and --others are needed: pictures with their sources, and photographs of other things")
    hold(arguments.bundle)
    limit_threads(arguments.threads)
    asked = Unseen(arguments)
    cases = [case for fold in range(N_FOLDS) for case in asked_of_galleries(asked, fold)]
    folds, found = np.array([case.fold for case in cases]), np.zeros(len(cases))
    for fold in range(N_FOLDS):
        judge = fit([case for case in cases if case.fold != fold])
        for i in np.flatnonzero(folds == fold):
            found[i] = judge.probability(cases[i].terms)
    judge = fit(cases)
    command, n = command_line("precompute.fit_verdict", argv), {"n_cases": len(cases)}
    measured = {"command": command, **measure(cases, found)}
    write_table(arguments.out, measured)
    sections = {"verdict": {"weights": dict(judge.weights), "bias": judge.bias}}
    write_step(arguments.bundle, "fit_verdict", {}, command=command, sections=sections, settings=n)
    print(table(measured))


def asked_of_galleries(asked: Unseen, fold: int) -> Iterator[Case]:
    """Every query of a fold, every stranger and some of the bundle's validation queries, each asked of galleries of all sizes."""
    own, features, sources = asked.of(fold)
    state, n_shown = Fold(asked.views(fold)), len(asked.shown(fold))
    heads = {
        Space.BACKBONE: Head.identity(features.shape[1]),
        Space.ALIGNED: state.trained(ALIGNED),
        Space.DISENTANGLED: state.trained(DISENTANGLED),
    }
    bundle = asked.bundle
    entries, start = bundle.read_json("queries.json"), n_shown + asked.strangers
    places = {reference_id: start + place for place, reference_id in enumerate(asked.reference_ids)}
    demo = [i for i, one in enumerate(entries) if one.get("split") == "validation" and one["exemplar_ids"]]
    demo = demo[fold::N_FOLDS]  # a part each: all heads are strangers to them
    stored = bundle.read_array("queries_backbone.npy", (len(entries), features.shape[1]))
    strangers = range(n_shown, n_shown + asked.strangers)
    queries = np.concatenate([asked.made[own], features[strangers], stored[demo].astype(np.float32)])
    sources = [*sources, *([] for _ in strangers), *([places[one] for one in entries[i]["exemplar_ids"]] for i in demo)]
    what = ["made"] * len(own) + ["photograph"] * len(strangers) + ["demo"] * len(demo)
    photographs = range(asked.strangers)
    folds = [fold] * len(own) + [i % N_FOLDS for i in photographs] + [fold] * len(demo)
    names = [
        *(asked.queries[i].repository for i in own),
        *map(str, photographs),
        *(entries[i]["concept"] for i in demo),
    ]
    groups = [*(str(asked.exemplars[row].parent) for row in asked.shown(fold)), *map(str, photographs)]
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
                right = present and bool(theirs[first])
                for known in (True, False):
                    kin = copies[first] | (np.arange(len(group)) == first) | (known & (group == group[first]))
                    terms = evidence(ids, values, np.flatnonzero(kin))
                    yield Case(folds[i], what[i], names[i], size, known, present, right, terms)


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
    """Figures by what is asked, with intervals over what was made alike; of real generators' outputs by the gallery's size as well.

    ``found``: of the first answers that are right, how many are found; ``right``: of those found where a source is there, how many
    are right; ``precision``: of those found with a source there in half of the galleries; ``false``: how often something is found
    where no source is; ``calibration_error``: weighted as in the fit.
    """
    whats, sizes, named, present, right = (
        np.array([getattr(case, key) for case in cases]) for key in ("what", "size", "named", "present", "right")
    )
    parts = {what: (whats == what) & named for what in WHAT}
    parts |= {f"made, {size}": (whats == "made") & named & (sizes == size) for size in SIZES}
    parts |= {f"{what}, {ALONE}": (whats == what) & ~named for what in ("made", "photograph")}
    groups, found, weights = np.array([case.group for case in cases]), probabilities >= FOUND, _weights(cases)
    figure = {"found": (right, found), "right": (present & found, right), "false": (~present, found)}
    told: dict[str, Any] = {}
    for name, part in parts.items():
        told[name] = {
            key: interval(values[where & part], groups[where & part].tolist())
            for key, (where, values) in figure.items()
            if (where & part).any()
        }
        if (present & part).any():
            told[name]["precision"] = interval(right[found & part], groups[found & part].tolist())
    errors = [_calibration_error(probabilities[of], right[of], weights[of]) for of in (named, ~named)]
    return {
        "n_cases": len(cases),
        "calibration_error": dict(zip(("named", ALONE), errors, strict=True)),
        "figures": told,
    }


def _calibration_error(probabilities: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    bins = np.minimum((probabilities * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities - right), N_BINS)
    return round(float(np.abs(gaps).sum() / weights.sum()), 4)


def table(measured: Mapping[str, Any]) -> str:
    """Markdown: a row for what is asked, for each size of gallery, and for galleries of which no subject is known."""
    rows = []
    for name, cells in measured["figures"].items():
        what, _, part = name.partition(", ")
        label = WHAT[what] + (", no subject known" if part == ALONE else f", among up to {int(part):,}" if part else "")
        rows.append([label, *(shown(cells[key]) if key in cells else "" for key in COLUMNS)])
    named, alone = measured["calibration_error"].values()
    errors = f"Expected calibration error: {named:.3f}; where no subject is known, {alone:.3f}"
    return f"{markdown(['asked', *COLUMNS.values()], rows)}\n\n{errors}"


if __name__ == "__main__":
    run_step(main)
