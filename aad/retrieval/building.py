"""Which index a gallery gets, how good it is on real questions, and opening what was stored."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count, takewhile
from typing import Any

import numpy as np

from aad.retrieval.codes import Codec, FlatCodes, ListedCodes, assign_cells, check_codes, train_cells, train_codec
from aad.retrieval.compressed import CompressedIndex
from aad.retrieval.exact import ExactIndex, Part, ScanIndex, scan
from aad.retrieval.mass import TailSample
from aad.retrieval.search import Index, SearchResult, check_queries
from aad.retrieval.stored import StoredRows

METHODS = ("exact", "compressed", "clustered", "scan")
N_EXACT, N_CLUSTERED = 200_000, 5_000_000  # from here on memory and time favour codes, then cells
K = 10  # of the recall that is measured
RERANKS = (300, 1000, 1500, 2000, 3000, 5000, 10_000)  # candidates, until recall suffices
N_ERRORS = 2  # standard errors between the recall that was measured and the one that is promised
CERTAIN = {"recall_at_10": 1.0, "recall_error": 0.0}
N_PROBE = 32  # cells at first, doubled until recall suffices
CELLS_WORTH = 2  # at most one cell in so many may be scanned: beyond that all codes in a row are nearly as quick
N_TRAIN, N_SAMPLE = 65_536, 2048  # rows that codes are trained on, and that stand for the rest in the mass


def method_for(n: int) -> str:
    """The method for a gallery of n references.

    >>> [method_for(n) for n in (200_000, 200_001, 4_999_999, 5_000_000)]
    ['exact', 'compressed', 'compressed', 'clustered']
    """
    return "exact" if n <= N_EXACT else "compressed" if n < N_CLUSTERED else "clustered"


def build_index(
    rows: StoredRows,
    queries: np.ndarray,
    *,
    method: str | None = None,
    target: float = 0.99,
    seed: int = 0,
    progress: Callable[[int], Any] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Build the index of a gallery, and measure on queries how many of the true ten nearest it finds.

    Where that may fall short of the target on other queries (it is less than two of its standard errors above), more candidates
    are compared and more cells scanned. Where a clustered index would have to scan too many of its cells, it becomes a compressed
    one without cells; where even these queries cannot reach the target, a full scan. One pass over the rows makes the codes and
    finds the true nearest, a second one puts them in cells where that helps; the same rows, queries and seed give the same bytes
    on a machine with the same number of threads.

    Args:
        rows: the gallery.
        queries: (m, d) float32 embeddings like those that will be asked: of the synthetic domain, which is not the gallery's.
        method: one of ``METHODS`` to begin with; by default what ``method_for`` says.
        target: recall to reach, in (0, 1].
        seed: of the samples and of k-means.
        progress: called with the number of rows done since the last call; n in a pass.

    Returns:
        Arrays to store, and settings for the manifest: ``method``, ``k``, ``target``, ``recall_at_10`` (a row as similar as the
        tenth counts), ``recall_error`` (its standard error over queries), ``n_queries``, ``rerank`` and ``n_probe`` where the
        method has them, ``stepped_up`` (what was tried before and its recall) and ``seed``.

    Raises:
        ValueError: an unknown method, a target outside (0, 1], queries of another shape or none, or an empty gallery.
    """
    n, method = len(rows), method or method_for(len(rows))
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 < target <= 1:
        raise ValueError(f"target must be a recall above 0 and at most 1, got {target}")
    queries = check_queries(queries, rows.shape[1])
    settings = {"method": method, "k": K, "target": target, "n_queries": len(queries), "seed": seed}
    if method in ("exact", "scan"):
        if progress:
            progress(n)
        return {}, settings | CERTAIN | {"stepped_up": []}
    if not n or not len(queries):
        raise ValueError(f"a {method} index needs rows, and queries to measure it on, got {n} and {len(queries)}")
    rng = np.random.default_rng(seed)
    sample = rows[spread(n, N_TRAIN, rng)]
    codec = train_codec(sample, seed)
    arrays: dict[str, np.ndarray] = {
        "rotation": codec.rotation,
        "codebook": codec.codebook,
        "codes": np.empty((n, len(codec.codebook) // 2), np.uint8),
        "sample_ids": spread(n, N_SAMPLE, rng),
    }
    if method == "clustered":
        n_cells = max(1, min(2 ** round(np.log2(n) / 2), len(sample) // 32))  # near the root of n
        arrays["centroids"] = train_cells(codec.rotate(sample), n_cells, seed)
    del sample
    truth = scan(_encoding(rows, codec, arrays["codes"], progress), rows.__getitem__, queries, K + 1)
    return _Trials(rows, codec, arrays, queries, truth, target, progress).outcome(settings)


def open_index(rows: StoredRows, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Index:
    """The index that ``build_index`` made of these rows.

    Raises:
        ValueError: arrays or settings that cannot be of such an index; says which.
    """
    method = settings.get("method")
    if method == "exact":
        return ExactIndex(rows[:])
    if method == "scan":
        return ScanIndex(rows)
    if method not in METHODS:
        raise ValueError(f"method of the index must be one of {', '.join(METHODS)}, got {method!r}")
    check_codes(arrays, *rows.shape, listed=method == "clustered")
    rerank = _whole(settings, "rerank", 1, 10**9)
    codec = Codec(arrays["rotation"], arrays["codebook"])
    codes: FlatCodes | ListedCodes
    if method == "clustered":
        n_probe = _whole(settings, "n_probe", 1, len(arrays["centroids"]))
        codes = ListedCodes(codec, arrays["codes"], arrays["centroids"], arrays["cells"], n_probe)
    else:
        codes = FlatCodes(codec, arrays["codes"])
    return CompressedIndex(rows, codes, _tail(rows, arrays), rerank)


def spread(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Ids of a sample, ascending: one from each of ``size`` equal stretches of the gallery, which may be sorted by anything.

    >>> spread(3, 10, np.random.default_rng(0)).tolist()
    [0, 1, 2]
    """
    if size >= n:
        return np.arange(n, dtype=np.int64)
    edges = np.linspace(0, n, size + 1).astype(np.int64)
    return rng.integers(edges[:-1], edges[1:])


def _encoding(
    rows: StoredRows, codec: Codec, codes: np.ndarray, progress: Callable[[int], Any] | None
) -> Iterator[Part]:
    """Rows for ``scan``, leaving their codes in ``codes`` as they pass."""
    for start, chunk in rows.chunks():
        codes[start : start + len(chunk)] = codec.encode(codec.rotate(chunk))
        yield np.arange(start, start + len(chunk)), chunk
        if progress:
            progress(len(chunk))


class _Trials:
    """Settings tried in turn, cheapest first, until the true nearest are found."""

    def __init__(
        self,
        rows: StoredRows,
        codec: Codec,
        arrays: dict[str, np.ndarray],
        queries: np.ndarray,
        truth: SearchResult,
        target: float,
        progress: Callable[[int], Any] | None,
    ) -> None:
        self.rows, self.codec, self.arrays, self.queries, self.target = rows, codec, arrays, queries, target
        self.progress = progress
        self.nearest, self.least = truth.ids[:, :K], truth.similarities[:, :K][:, -1:]  # (m, 10), (m, 1)
        # Where the eleventh is as similar as the tenth it is as good.
        self.tied = (truth.similarities[:, K:] >= self.least).any(1)
        self.tail = _tail(rows, arrays)
        self.tried: list[dict[str, Any]] = []

    def outcome(self, settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What to store: the settings that were tried last, or a scan where even they fall short on these queries."""
        self._step_up()
        *before, last = self.tried
        if last["recall_at_10"] < self.target:
            return {}, settings | {"method": "scan", **CERTAIN, "stepped_up": self.tried}
        method = "clustered" if "cells" in self.arrays else "compressed"
        return self.arrays, settings | {"method": method, **last, "stepped_up": before}

    def _step_up(self) -> None:
        """Try until it suffices, or nothing is left to try."""
        # Candidates first, among all codes; half of the permitted loss is left for the cells, where they are wanted.
        aim = (1 + self.target) / 2 if "centroids" in self.arrays else self.target
        codes = FlatCodes(self.codec, self.arrays["codes"])
        any(self._sure(self._try(codes, rerank), aim) for rerank in RERANKS)
        del codes  # as large as those in cells
        if "centroids" in self.arrays and not (self._sure(self.tried[-1], self.target) and self._few_cells_do()):
            for name in ("centroids", "cells"):
                self.arrays.pop(name, None)
            among_all = [one for one in self.tried if "n_probe" not in one]
            chosen = next((one for one in among_all if self._sure(one, self.target)), among_all[-1])
            self.tried.remove(chosen)
            self.tried.append(chosen)

    def _few_cells_do(self) -> bool:
        """Whether so few cells hold enough of the nearest that scanning them takes less time than scanning all codes."""
        rerank, centroids = self.tried[-1]["rerank"], self.arrays["centroids"]
        places, n_worth = self._places_of_cells(), max(1, len(centroids) // CELLS_WORTH)
        steps = [*takewhile(lambda n: n < n_worth, (N_PROBE << i for i in count())), n_worth]
        held = {n: _recall((places < n).mean(1)) for n in steps}  # if all rows in so many cells are compared
        enough = [n for n in steps if self._sure(held[n], self.target)]
        if not enough:
            self.tried.append({"n_probe": n_worth, **held[n_worth]})
            return False
        self.arrays["cells"] = self._cells()
        listed = ListedCodes(self.codec, self.arrays["codes"], centroids, self.arrays["cells"], enough[0])
        for n_probe in enough:
            listed.n_probe = n_probe
            if self._sure(self._try(listed, rerank, n_probe=n_probe), self.target):
                return True
        return False

    def _places_of_cells(self) -> np.ndarray:
        """(m, 10): the cell of each true nearest row is the how manieth that its query has scanned, from 0."""
        rows = self.rows[self.nearest.ravel()]
        cells = assign_cells(self.codec.rotate(rows), self.arrays["centroids"]).reshape(self.nearest.shape)
        near = self.queries @ self.codec.rotation @ self.arrays["centroids"].T
        return np.stack([(row > row[own][:, None]).sum(1) for row, own in zip(near, cells, strict=True)])

    def _cells(self) -> np.ndarray:
        """(n,) int32, the cell of every row: a second pass, for those galleries only where cells help."""
        cells = np.empty(len(self.rows), np.int32)
        for start, chunk in self.rows.chunks():
            cells[start : start + len(chunk)] = assign_cells(self.codec.rotate(chunk), self.arrays["centroids"])
            if self.progress:
                self.progress(len(chunk))
        return cells

    def _sure(self, trial: dict[str, Any], target: float) -> bool:
        """Whether other queries too will find that share of their nearest, most likely."""
        return trial["recall_at_10"] - N_ERRORS * trial["recall_error"] >= target

    def _try(self, codes: FlatCodes | ListedCodes, rerank: int, **knobs: int) -> dict[str, Any]:
        """Recall with these settings, added to what was tried."""
        index = CompressedIndex(self.rows, codes, self.tail, rerank)
        # What is a candidate is found: rows are read only for queries where one may stand for another as similar.
        candidates = codes.candidates(self.queries, index.n_candidates(K))
        shares = np.array([np.isin(near, found).mean() for near, found in zip(self.nearest, candidates, strict=True)])
        if (read := self.tied | index.reads_all(K)).any():
            shares[read] = (index.search(self.queries[read], K).similarities >= self.least[read]).mean(1)
        self.tried.append({"rerank": rerank, **knobs, **_recall(shares)})
        return self.tried[-1]


def _recall(shares: np.ndarray) -> dict[str, float]:
    """Its mean over (m,) queries and the standard error of that."""
    error = shares.std() / np.sqrt(len(shares))
    return {"recall_at_10": round(float(shares.mean()), 4), "recall_error": round(float(error), 4)}


def _tail(rows: StoredRows, arrays: Mapping[str, np.ndarray]) -> TailSample:
    return TailSample(rows[arrays["sample_ids"]], arrays["sample_ids"], len(rows))


def _whole(settings: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = settings.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} of the index must be a whole number, {least} to {most}, got {value!r}")
    return value
