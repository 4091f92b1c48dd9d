"""The codes of a gallery: built, measured on real questions, stored in a bundle and opened again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aad.bundle import Bundle
from aad.scale.codes import NO_FINE, Codec, FlatCodes, check_codes, train_codec
from aad.scale.compressed import CompressedIndex, TailSample
from aad.scale.stored import StoredRows, map_rows
from aad.search import ExactIndex, Index, check_queries, method_for
from aad.spaces import Space

METHODS = ("exact", "compressed", "scan")
SECTION, STEP = "retrieval", "build_index"
K = 10  # of the recall that is measured
RERANKS = (300, 500, 700, 1000, 1500, 2000, 3000, 5000, 10_000)  # candidates, until recall suffices
N_ERRORS = 2  # standard errors between the recall that was measured and the one that is promised
CERTAIN = {"recall_at_10": 1.0, "recall_error": 0.0}
N_TRAIN, N_SAMPLE = 65_536, 2048  # rows that codes are trained on, and that stand for the rest in the mass


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
    are compared; where even these queries cannot reach the target, everything is. The same rows, queries and seed give the
    same bytes on a machine with the same number of threads.

    Args:
        rows: the gallery.
        queries: (m, d) float32 embeddings like those that will be asked: of the synthetic domain, which is not the gallery's.
        method: one of ``METHODS`` to begin with; by default what ``method_for`` says.
        target: recall to reach, in (0, 1].
        seed: of the samples and of k-means.
        progress: called with the number of rows done since the last call; n in all.

    Returns:
        Arrays to store, and settings for the manifest: ``method``, ``k``, ``target``, ``recall_at_10`` (a row as similar as the
        tenth counts), ``recall_error`` (its standard error over queries), ``n_queries``, ``rerank`` where the method has it,
        ``stepped_up`` (what was tried before and its recall) and ``seed``.

    Raises:
        ValueError: queries of another shape or none, or an empty gallery.
    """
    n, method = len(rows), method or method_for(len(rows))
    queries = check_queries(queries, rows.shape[1])
    settings = {"method": method, "k": K, "target": target, "n_queries": len(queries), "seed": seed}
    if method != "compressed":
        if progress:
            progress(n)
        return {}, settings | CERTAIN | {"stepped_up": []}
    if not n or not len(queries):
        raise ValueError(f"a {method} index needs rows, and queries to measure it on, got {n} and {len(queries)}")
    rng = np.random.default_rng(seed)
    codec = train_codec(rows[spread(n, N_TRAIN, rng)], seed)
    arrays: dict[str, np.ndarray] = {
        "rotation": codec.rotation,
        "codebook": codec.codebook,
        "codes": np.empty((n, len(codec.codebook) // 2), np.uint8),
        "fine_codebook": codec.fine,
        "fine_codes": np.empty((n, len(codec.fine)), np.uint8),
        "sample_ids": spread(n, N_SAMPLE, rng),
    }

    for start, chunk in rows.chunks():
        part = slice(start, start + len(chunk))
        arrays["codes"][part], arrays["fine_codes"][part] = codec.encode(chunk)
        if progress:
            progress(len(chunk))
    truth = ExactIndex(rows).search(queries, K + 1)
    nearest, least = truth.ids[:, :K], truth.similarities[:, :K][:, -1:]  # (m, 10), (m, 1)
    tied = (truth.similarities[:, K:] >= least).any(1)  # where the eleventh is as similar as the tenth it is as good
    codes, tail, tried = FlatCodes(codec, arrays["codes"], arrays["fine_codes"]), _tail(rows, arrays), []
    for rerank in RERANKS:
        index = CompressedIndex(rows, codes, tail, rerank)
        # What is a candidate is found: rows are read only for queries where one may stand for another as similar.
        candidates = codes.candidates(queries, index.n_candidates(K))
        shares = np.array([np.isin(near, found).mean() for near, found in zip(nearest, candidates, strict=True)])
        if (read := tied | index.reads_all(K)).any():
            shares[read] = (index.search(queries[read], K).similarities >= least[read]).mean(1)
        recall, error = (round(float(x), 4) for x in (shares.mean(), shares.std() / np.sqrt(len(shares))))
        tried.append({"rerank": rerank, "recall_at_10": recall, "recall_error": error})
        if recall - N_ERRORS * error >= target:  # so other queries too will find that share, most likely
            break
    *before, last = tried
    if last["recall_at_10"] < target:
        return {}, settings | {"method": "scan", **CERTAIN, "stepped_up": tried}
    return arrays, settings | {**last, "stepped_up": before}


def open_index(rows: StoredRows, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Index:
    """The index that ``build_index`` made of these rows.

    Raises:
        ValueError: arrays or settings that cannot be of such an index; says which.
    """
    method, rerank = settings.get("method"), settings.get("rerank")
    if method in ("exact", "scan"):
        return ExactIndex(rows[:] if method == "exact" else rows)
    if method not in METHODS:
        raise ValueError(f"method of the index must be one of {', '.join(METHODS)}, got {method!r}")
    check_codes(arrays, *rows.shape)
    if not isinstance(rerank, int) or isinstance(rerank, bool) or not 1 <= rerank <= 10**9:
        raise ValueError(f"rerank of the index must be a whole number, 1 to {10**9}, got {rerank!r}")
    codec = Codec(arrays["rotation"], arrays["codebook"], arrays.get("fine_codebook", NO_FINE))
    codes = FlatCodes(codec, arrays["codes"], arrays.get("fine_codes"))
    return CompressedIndex(rows, codes, _tail(rows, arrays), rerank)


def index_file(space: Space) -> str:
    """Name of the file that the step ``build_index`` writes for one space, where its method needs one."""
    return f"index_{space}.safetensors"


def open_stored(bundle: Bundle, space: Space, n: int, settings: Mapping[str, Any] | None) -> Index:
    """One space of a bundle of n references, as its manifest's ``settings`` say; without them all of it is read for each search.

    Raises:
        BundleError: a file is missing or damaged, or an index is of other references.
    """
    rows_file, name = f"references_{space}.npy", index_file(space)
    rows = map_rows(bundle, rows_file, (n, bundle.section("backbone")["dim"]))
    if settings is None or settings.get("method") == "scan":
        return ExactIndex(rows)
    arrays = bundle.read_tensors(name)
    if settings.get("references") != bundle.manifest["files"][rows_file]["sha256"]:
        raise bundle.refusal(name, f"is an index of other references than those of {rows_file}")
    try:
        return open_index(rows, arrays, settings)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise bundle.refusal(name, f"is no index of the {n} references ({error})") from None


def spread(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Ids of a sample, ascending: one from each of ``size`` equal stretches of the gallery, which may be sorted by anything.

    >>> spread(3, 10, np.random.default_rng(0)).tolist()
    [0, 1, 2]
    """
    if size >= n:
        return np.arange(n, dtype=np.int64)
    edges = np.linspace(0, n, size + 1).astype(np.int64)
    return rng.integers(edges[:-1], edges[1:])


def _tail(rows: StoredRows, arrays: Mapping[str, np.ndarray]) -> TailSample:
    return TailSample(rows[arrays["sample_ids"]], arrays["sample_ids"], len(rows))
