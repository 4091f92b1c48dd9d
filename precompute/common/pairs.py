"""Synthetic pictures whose sources are known: what a folder of them names, how well each is found, and the figures of all.

A query is found at rank r when the best placed of its true sources stands at r. A figure is a mean over repositories, weighted by
the square root of their number of queries in that kind, so that no large page drowns a small one; ``all`` is the mean of the kinds.
Intervals are bootstrap 95 % over repositories, whose pictures fail together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import BundleError
from aad.metrics import Interval
from precompute.abc.splits import BenchmarkError, load_split, require
from precompute.common import figures
from precompute.common.gallery import images_below, placed
from precompute.common.words import table_rows

N_CELLS = 40_000_000  # similarities held at a time: 160 MB
MEASURES = {"hit@1": lambda ranks: ranks == 1, "hit@5": lambda ranks: ranks <= 5, "MRR": lambda ranks: 1 / ranks}
SHOWN = ("hit@1", "MRR")  # of them, in tables
ALL = "all"  # stands beside the kinds
N_DRAWS = 500
TIE = 1e-6  # cosine: two copies of one picture, of which one is called the source, differ by the last bits of a float32 sum


@dataclass(frozen=True, slots=True)
class Pair:
    """A synthetic picture and its sources.

    Attributes:
        kind: of query: ``subject``, ``edit`` ...
        file: the picture.
        sources: rows of its true sources among the exemplars; at least one.
        repository: what it was published in.
    """

    kind: str
    file: Path
    sources: tuple[int, ...]
    repository: str


def read_pairs(folder: Path) -> tuple[list[Pair], list[Path]]:
    """The pairs that a folder names, in the order of its json files, and the files of all exemplars.

    Args:
        folder: in AbC's layout: exemplar/, synth/KIND/ and json/*.json, whose paths start at the folder or with its own name. Its
            pictures.csv, if any, has the columns file and repository; without it the repository is the folder below synth/KIND/
            that a picture lies in, or else the group (exemplar/GROUP) of its first exemplar.

    Raises:
        BenchmarkError: a table departs from its form, nothing is named, or what is named is not there.
    """
    cases = [case for path in sorted((folder / "json").glob("*.json")) for case in load_split(path)]
    if not any(files for case in cases for files in case.queries.values()):
        raise BenchmarkError(
            f"{folder}/json/*.json must name synthetic pictures and their exemplars, got none; check the folder"
        )
    places = {name: placed(folder, name) for case in cases for name in case.paths}
    if missing := [name for name, (file, _) in places.items() if not file.is_file()]:
        raise BenchmarkError(
            f"the pictures that {folder}/json names must be there, {len(missing)} of {len(places)} are not, {missing[0]} first; "
            f"their paths start at {folder} or with its own name"
        )
    table = table_rows(folder / "pictures.csv", ("file", "repository"))
    stated = None if table is None else {row["file"]: row["repository"] for row in table}
    exemplars = sorted({name for case in cases for name in case.exemplars})
    rows, pairs = {name: row for row, name in enumerate(exemplars)}, []
    for case in cases:
        sources, group = tuple(rows[name] for name in case.exemplars), places[case.exemplars[0]][1][1:-1]
        for kind, name in ((kind, name) for kind, names in case.queries.items() for name in names):
            file, parts = places[name]
            repository = parts[2] if len(parts) > 3 else "/".join(group) or case.exemplars[0]
            if stated is not None:
                repository = stated.get(name) or ""
                require(bool(repository), "repository", f"told of {name}", "none", folder / "pictures.csv", "add it")
            pairs.append(Pair(kind, file, sources, repository))
    return pairs, [places[name][0] for name in exemplars]


def best_ranks(similarities: np.ndarray, sources: Sequence[Sequence[int]]) -> np.ndarray:
    """Rank of the best placed true source of m queries, (m,) int64: one more than there are references above it by ``TIE``.

    Args:
        similarities: (m, n) of the queries to all references.
        sources: columns of the true sources of each query; the others than the best are never above it.

    >>> best_ranks(np.array([[0.2, 0.9, 0.5], [0.3, 0.3, 0.1]]), [[0, 2], [1]]).tolist()
    [2, 1]
    """
    n = np.array([len(some) for some in sources])
    known = similarities[np.repeat(np.arange(len(n)), n), np.concatenate(list(sources))]
    best = np.maximum.reduceat(known, np.cumsum(n) - n)
    return 1 + (similarities > best[:, None] + TIE).sum(1)


def table(ranks: np.ndarray, kinds: Sequence[str], repositories: Sequence[str]) -> dict[str, dict[str, float]]:
    """Each of ``MEASURES`` by kind, and of ``all``: of (m,) ranks, as ``best_ranks`` gives them, with kind and repository of each.

    >>> table(np.array([1, 2, 1]), ["edit", "edit", "style"], ["one", "one", "two"])["all"]
    {'hit@1': 0.75, 'hit@5': 1.0, 'MRR': 0.875}
    """
    weights, means = _by_repository(ranks[None], kinds, repositories)
    told = _weighted(np.ones((1, weights.shape[1])), weights, means)[0, :, 0]
    return {kind: dict(zip(MEASURES, row.tolist(), strict=True)) for kind, row in _named(kinds, told)}


def intervals(ranks: Mapping[str, np.ndarray], kinds: Sequence[str], repositories: Sequence[str]) -> dict[str, Any]:
    """The tables of several spaces with intervals, and their paired differences: every two in turn, and the first to the last.

    The ranks are by space, all else is as for ``table``.

    Returns:
        ``["spaces"][space][kind][measure]`` and ``["differences"]["later - earlier"][kind][measure]``, each with mean, low and
        high. A kind's intervals are of those draws that hold it.
    """
    names = list(ranks)
    weights, means = _by_repository(np.stack(list(ranks.values())), kinds, repositories)
    n = weights.shape[1]
    generator = np.random.default_rng(0)
    drawn = [np.bincount(generator.choice(n, n), minlength=n) for _ in range(N_DRAWS)]
    told = _weighted(np.array([np.ones(n), *drawn]), weights, means)  # (1 + draws, kinds, spaces, measures)

    def cells(values: np.ndarray) -> dict[str, Any]:
        low, high = np.nanpercentile(values[1:], [2.5, 97.5], axis=0)
        rows = _named(kinds, np.stack([values[0], low, high], -1).tolist())
        return {k: {m: Interval(*cell)._asdict() for m, cell in zip(MEASURES, row, strict=True)} for k, row in rows}

    steps = [*pairwise(range(len(names))), *([(0, len(names) - 1)] if len(names) > 2 else [])]
    return {
        "spaces": {name: cells(told[:, :, i]) for i, name in enumerate(names)},
        "differences": {f"{names[j]} - {names[i]}": cells(told[:, :, j] - told[:, :, i]) for i, j in steps},
    }


def markdown(told: Mapping[str, Any]) -> str:
    """Of what ``intervals`` tells, a column for each space, or for each difference: ``SHOWN`` by kind, with intervals."""
    rows = []
    for kind in next(iter(told.values())):
        for measure, name in zip(SHOWN, (f"`{kind}`", ""), strict=True):
            rows.append([name, measure, *(figures.shown(cells[kind][measure]) for cells in told.values())])
    return figures.markdown(["queries", "measure", *told], rows)


def _named(kinds: Sequence[str], rows: Any) -> list[tuple[str, Any]]:
    return list(zip([*np.unique(kinds).tolist(), ALL], rows, strict=True))


def _by_repository(
    ranks: np.ndarray, kinds: Sequence[str], repositories: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Of (s, m) ranks: weights (k, r) of each repository in each kind, and their means (k, r, s, measures), 0 where it has none."""
    (names, kind), (pages, page) = (np.unique(of, return_inverse=True) for of in (kinds, repositories))
    n, sums = np.zeros((len(names), len(pages))), np.zeros((len(names), len(pages), len(ranks), len(MEASURES)))
    np.add.at(n, (kind, page), 1)
    np.add.at(sums, (kind, page), np.stack([measure(ranks.T) for measure in MEASURES.values()], -1))
    return np.sqrt(n), sums / np.maximum(n, 1)[..., None, None]


def _weighted(drawn: np.ndarray, weights: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Means by kind and, last, of all kinds, (b, k + 1, s, measures), under b draws (b, r) of the repositories.

    NaN for a kind of which a draw holds nothing; it is no part of that draw's ``all``.
    """
    with np.errstate(invalid="ignore"):
        told = np.tensordot(drawn, weights[..., None, None] * means, (1, 1)) / (drawn @ weights.T)[..., None, None]
    return np.concatenate([told, np.nanmean(told, 1, keepdims=True)], 1)


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and below it."""
    if found := sorted(images_below(folder)):
        return found
    raise BundleError(f"--others must be a folder of pictures, got {folder}, which holds none; correct it")


def search(queries: np.ndarray, gallery: np.ndarray, sources: Sequence[Sequence[int]]) -> np.ndarray:
    """``best_ranks`` of m queries among n references.

    Args:
        queries: (m, d) unit rows.
        gallery: (n, d) unit rows.
        sources: rows of the true sources of each query.
    """
    step = max(1, N_CELLS // len(gallery))
    parts = (slice(start, start + step) for start in range(0, len(queries), step))
    return np.concatenate([best_ranks(queries[part] @ gallery.T, sources[part]) for part in parts])
