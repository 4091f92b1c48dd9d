"""AbC's evaluation, counted instead of sorted.

For each query the gallery is every LAION row, then the exemplars of the query's own model. The authors concatenate them in this
order, multiply, and sort by descending similarity. All that their figures need is the rank of each exemplar, which is 1 + the
number of gallery rows that beat it, so LAION is read once, block by block, and nothing is ever sorted.

Ties. The authors call ``torch.argsort(-similarity)`` without asking for a stable sort, so on paper equal similarities may come in
any order. In practice the sorts that torch uses for a gallery of this size keep the order of concatenation: LAION first, exemplars
in theirs. That is the order here, and the honest one: an exemplar that only equals a LAION row does not outrank it.

What equal means. A similarity is the cosine of two float32 embeddings, correctly rounded to float32. A float32 matrix product is
off in its last digits, differently for each shape of block, so it only screens: rows that it puts within its own error bound of
an exemplar are counted again in float64. Equal features therefore tie wherever they stand, and ranks depend neither on the size of
the blocks nor on the device.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from aad.spaces import Domain
from precompute.abc.files import Affine, Laion, Maps, TestCase
from precompute.abc.splits import BenchmarkError
from precompute.common.store import write_arrays

QUERIES = 512  # per matrix product: enough to keep it busy; more only needs more memory
ROWS = 16_384  # per block, which is also what an interrupted run loses
MAP_ROWS = 4096  # mapped at a time, in float64
SMALLEST_NORM = 1e-12  # as in torch.nn.functional.normalize: a row of zeros stays zero and resembles nothing


@dataclass(frozen=True, slots=True)
class Work:
    """Every query of every prompt type, with its similarity to its own model's exemplars.

    Attributes:
        queries: (m, k) float32 unit rows, prompt type after prompt type.
        model: (m,) int64.
        similarities: for each query in turn, float32 similarities to its exemplars in their order, flat.
        bounds: (m + 1,) int64; query i owns ``similarities[bounds[i]:bounds[i + 1]]``.
    """

    queries: np.ndarray
    model: np.ndarray
    similarities: np.ndarray
    bounds: np.ndarray


@dataclass(slots=True)
class Tally:
    """What is known after some blocks of LAION; all of it is kept on disk between blocks.

    Attributes:
        next_row: the first LAION row that was not seen.
        ahead: like ``Work.similarities``, int64, LAION rows that rank before the exemplar.
        best: (m,) float32, the greatest similarity to a LAION row; its first row is ``best_row``.
        best_row: (m,) int64.
    """

    next_row: int
    ahead: np.ndarray
    best: np.ndarray
    best_row: np.ndarray

    @classmethod
    def load(cls, path: Path, work: Work) -> "Tally":
        """What was kept whole at a path whose name changes with anything that changes the counts; or nothing seen yet."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                values = [kept[field.name] for field in fields(cls)]
            return cls(*(value if value.ndim else value.item() for value in values))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            m = len(work.queries)
            best = np.full(m, -np.inf, np.float32)
            return cls(0, np.zeros(len(work.similarities), np.int64), best, np.zeros(m, np.int64))

    def keep(self, path: Path) -> None:
        """Take the place of what was kept there before."""
        write_arrays(path, **asdict(self))


def prepare(case: TestCase, maps: Maps, device: str) -> Work:
    """Embed queries and exemplars, each in its domain, and compare every query with its own model's exemplars."""
    exemplars = embed(case.exemplars, maps.get(Domain.REAL), device, "exemplar").cpu().numpy()
    map_ = maps.get(Domain.SYNTHETIC)
    asked = [embed(q.features, map_, device, f"{kind} query").cpu().numpy() for kind, q in case.queries.items()]
    queries = np.concatenate(asked)
    model = np.concatenate([q.ids for q in case.queries.values()])
    own = [exact_similarities(exemplars[slice(*case.chunks[m])], q) for m, q in zip(model, queries, strict=True)]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in own])])
    return Work(queries, model, np.concatenate(own), bounds)


def embed(features: np.ndarray, affine: Affine | None, device: str, what: str, first: int = 0) -> torch.Tensor:
    """Map (n, d) features and scale them to unit length: (n, k) float32 on the device.

    The arithmetic is in float64 and rounded once, so that equal rows have equal embeddings whatever stands beside them.

    Raises:
        BenchmarkError: a row that is not finite, before or after the map; ``what`` and ``first`` name it.
    """
    k = affine.weight.shape[0] if affine else features.shape[1]
    embedded = torch.empty((len(features), k), dtype=torch.float32, device=device)
    if affine:
        weight = torch.from_numpy(affine.weight).to(device, torch.float64)
        bias = torch.from_numpy(affine.bias).to(device, torch.float64)
    for start in range(0, len(features), MAP_ROWS):
        rows = torch.from_numpy(features[start : start + MAP_ROWS]).to(device, torch.float64)
        if affine and affine.of_unit_rows:
            rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM)
        if affine:
            rows = torch.addmm(bias, rows, weight.T)
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        finite = torch.isfinite(norms[:, 0])
        if not bool(finite.all()):
            row = first + start + int((~finite).nonzero()[0])
            raise BenchmarkError(
                f"features must be finite, got {what} row {row} that is not; extract or download them again"
            )
        embedded[start : start + len(rows)] = rows.div_(norms.clamp_min_(SMALLEST_NORM))
    return embedded


def sweep(laion: Laion, maps: Maps, work: Work, tally: Tally, device: str) -> Iterator[int]:
    """Count the LAION rows that were not seen, `ROWS` at a time; yields each block's number of rows, when ``tally`` may be kept."""
    torch.set_float32_matmul_precision("highest")  # the error bound of the screening is that of float32
    while tally.next_row < laion.shape[0]:
        start = tally.next_row
        features = laion.rows(start, start + ROWS)
        rows = embed(features, maps.get(Domain.REAL), device, f"LAION ({laion.path})", start)
        found = rows.cpu().numpy()
        for first in range(0, len(work.queries), QUERIES):
            part = slice(first, min(first + QUERIES, len(work.queries)))
            products = torch.from_numpy(work.queries[part]).to(device) @ rows.T
            _count(work, tally, part, products.cpu().numpy(), found)
        tally.next_row = start + len(rows)
        yield len(rows)


def _count(work: Work, tally: Tally, part: slice, similarities: np.ndarray, rows: np.ndarray) -> None:
    """A GPU multiplies; what is close is decided here."""
    own, queries = slice(work.bounds[part.start], work.bounds[part.stop]), work.queries[part]
    bounds = work.bounds[part.start : part.stop + 1] - work.bounds[part.start]
    tally.ahead[own] += rows_ahead(similarities, rows, queries, work.similarities[own], bounds)
    nearest = similarities.argmax(1)
    found = rows[nearest].astype(np.float64)
    exact = np.einsum("qk,qk->q", found, queries.astype(np.float64)).astype(np.float32)
    better = exact > tally.best[part]  # not at equality: the earlier row is first
    tally.best[part] = np.where(better, exact, tally.best[part])
    tally.best_row[part] = np.where(better, tally.next_row + nearest, tally.best_row[part])


def exact_similarities(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n, k) unit rows and a (k,) unit query, all float32: (n,) cosines, correctly rounded to float32.

    Products of float32 are exact in float64, and the error of their sum is far below what float32 resolves.
    """
    return (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)


def screening_error(k: int) -> float:
    """Greatest possible error of a float32 dot product of two unit rows with k entries, in whatever order it is summed."""
    # k roundings of at most half a unit in the last place, then those of the comparison
    return 1.05 * (k + 4) * 2.0**-24


def rows_ahead(
    similarities: np.ndarray, rows: np.ndarray, queries: np.ndarray, own: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Rows with at least the similarity of each exemplar; equal ones count, because they come before the exemplars.

    One query at a time, on the rows above its lowest exemplar: few where retrieval works.

    Args:
        similarities: (q, n) float32, ``queries @ rows.T`` within ``screening_error``.
        rows: (n, k) float32 unit rows.
        queries: (q, k) float32 unit rows.
        own: flat float32, each query's similarities to its exemplars.
        bounds: (q + 1,) which of ``own`` belong to which query.

    Returns:
        int64, like ``own``.
    """
    error = np.float32(screening_error(rows.shape[1]))
    counts = np.zeros(len(own), np.int64)
    for i, (start, stop) in enumerate(pairwise(bounds)):
        limits = own[start:stop, None]
        candidates = np.flatnonzero(similarities[i] >= (limits - error).min())
        values = similarities[i][candidates]
        surely = values > limits + error  # (exemplars, candidates)
        undecided = (values >= limits - error) & ~surely
        close = undecided.any(0)
        exact = exact_similarities(rows[candidates[close]], queries[i])
        counts[start:stop] = surely.sum(1) + (undecided[:, close] & (exact >= limits)).sum(1)
    return counts


def ranks_among_all(work: Work, tally: Tally) -> list[np.ndarray]:
    """Per query, the 1-based rank of each of its exemplars in their order; among equal exemplars the earlier is first."""
    ranks = []
    for start, stop in pairwise(work.bounds):
        order = np.argsort(-work.similarities[start:stop], kind="stable")
        among_own = np.empty(len(order), np.int64)
        among_own[order] = np.arange(1, len(order) + 1)
        ranks.append(tally.ahead[start:stop] + among_own)
    return ranks
