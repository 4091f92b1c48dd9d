"""The references of one space in Qdrant, a vector database on other machines, behind the interface of an index in memory.

    python -m precompute.load_qdrant --url http://localhost:6333       # a bundle's references into collections
    python app.py --qdrant http://localhost:6333                       # the page, searching there

The server finds candidates; their stored rows come back and are compared again here, as every index does it, so a reference has
the same similarity and ties go by id. What is exact and what is estimated: docs/serving.md. A collection is named after its bundle,
its space and the sha256 of its references; the API key of a server is read from the environment variable QDRANT_API_KEY.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aad import search
from aad.bundle import Bundle, BundleError
from aad.references import References
from aad.scale.compressed import TailSample
from aad.scale.qdrant_calls import TIMEOUT, QdrantError, collection_name, connect, is_local, speaking
from aad.search import Index, SearchResult
from aad.spaces import SPACES, Space

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

FIELDS = ("group", "source", "licence")  # of a payload: those that the page filters by
BEYOND = 16  # candidates asked for beyond k: the server leaves open how it orders equal ones
DEEPEST = 4096  # candidates beyond k where more and more are equal
NEAREST = 256  # candidates that the mass is exact over, at least
OVERSAMPLING = 4.0  # candidates that are chosen by their codes and compared by their vectors, times those asked for
SAMPLE = 2048  # rows that stand for all others in the mass; 6 MB at 768 dimensions
ROWS = 256  # with their vectors in one answer: some 2 MB at 768 dimensions
QUERIES = 64  # in one request

Found = tuple[np.ndarray, np.ndarray]  # (c,) ids and (c,) what the server says of their similarity, best first


class QdrantIndex(Index):
    """One collection as an index.

    A search is approximate where the server's is: its graph, and int8 or binary codes, choose the candidates. Under ``among`` and
    with ``exact`` the server compares all rows that may be named. The mass is estimated: exact over the nearest candidates, and
    for the rest by a fixed sample of rows that is fetched once, here.

    Args:
        client: an open ``qdrant_client.QdrantClient``; may be shared.
        collection: name of a collection whose points have the ids 0 to n - 1.
        n: references that it must hold.
        dim: their dimension.
        words: of ``FIELDS``, the n words in the payloads; a choice that they make is sent as words, any other as ids.
        exact: whether the server compares every row in every search; slow, to measure the others against.

    Raises:
        BundleError: no such collection, or of other rows.
        QdrantError: the server does not answer, now or at a question, or with fewer references than it must.
    """

    def __init__(
        self,
        client: "QdrantClient",
        collection: str,
        n: int,
        dim: int,
        *,
        words: Mapping[str, Sequence[str]] | None = None,
        exact: bool = False,
    ) -> None:
        super().__init__(n, dim)
        self.client, self.collection = client, collection
        self._words = {field: np.unique(one, return_inverse=True) for field, one in (words or {}).items()}
        self._exact = exact
        self._check()
        ids = np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
        self._sample = TailSample(self.rows(ids), ids, n)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32. The server compares and sends all n of them: slow."""
        queries = search.check_queries(queries, self.dim)
        found = np.empty((len(queries), self._n), np.float32)
        for row, query in enumerate(queries):
            ((ids, similarities),) = self._ask(query[None], self._n, None, exact=True)
            self._expect(self._n, len(ids))
            found[row, ids] = similarities
        return found

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32, the stored rows of these ids."""
        different, places = np.unique(ids, return_inverse=True)
        found = np.empty((len(different), self.dim), np.float32)
        for start in range(0, len(different), ROWS):
            part = different[start : start + ROWS]
            with speaking(self.client):
                points = self.client.retrieve(self.collection, part.tolist(), with_payload=False, with_vectors=True)
            self._expect(len(part), len(points))
            places_in = np.searchsorted(part, np.array([point.id for point in points], np.int64))
            found[start + places_in] = np.array([point.vector for point in points], np.float32)
        return found[places]

    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        found, log_mass = [], None if beta is None else np.zeros(len(queries))
        if not len(queries):
            return search.stacked([], log_mass)
        if allowed is None or beta is not None:
            inside, least = np.arange(self._n) != (-1 if without is None else without), 0 if beta is None else NEAREST
            found = self._candidates(queries, k, just(inside, {}), int(inside.sum()), self._exact, least)
        if log_mass is not None and beta is not None:
            for row, (query, one) in enumerate(zip(queries, found, strict=True)):
                log_mass[row] = self._sample.log_mass(query, beta, *one, without)
        if allowed is not None:
            found = self._candidates(queries, k, just(allowed, self._words), int(allowed.sum()), exact=True)
        ranked = [  # rows are fetched as far as they may be named
            search.nearest_exactly(query, ids[search.may_be_among(similarities, k)], self.rows, k)
            for query, (ids, similarities) in zip(queries, found, strict=True)
        ]
        return search.stacked(ranked, log_mass, estimated=log_mass is not None)

    def _candidates(
        self, queries: np.ndarray, k: int, one: "Filter | None", passing: int, exact: bool, least: int = 0
    ) -> list[Found]:
        """For each query the candidates, at least so many, under a filter that lets so many through.

        They are asked for until the last one is surely farther than the k-th.
        """
        if not passing:
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        k = min(k, passing)
        limit = min(max(k + BEYOND, least), passing)
        while True:
            found = self._ask(queries, limit, one, exact)
            fewest = min(len(ids) for ids, _ in found)
            if fewest < limit and not exact:
                exact = True  # a graph may have lost an arm; the rows are all there
                continue
            self._expect(limit, fewest)
            tied = any(similarities[k - 1] - similarities[-1] <= search.MARGIN for _, similarities in found)
            if limit == passing or limit - k >= DEEPEST or not tied:
                return found
            limit = min(k + 4 * (limit - k), passing)

    def _ask(self, queries: np.ndarray, limit: int, one: "Filter | None", exact: bool) -> list[Found]:
        from qdrant_client import models

        codes = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        depth = None if exact else max(128, 2 * limit)  # 100 by default, and at least the limit
        if exact:
            codes = models.QuantizationSearchParams(ignore=True)
        settings = models.SearchParams(exact=exact, hnsw_ef=depth, quantization=codes)
        params = None if is_local(self.client) else settings  # local mode is always exact, and warns about settings
        found = []
        for start in range(0, len(queries), QUERIES):
            requests = [
                models.QueryRequest(query=query.tolist(), limit=limit, filter=one, params=params)
                for query in queries[start : start + QUERIES]
            ]
            with speaking(self.client):
                answers = self.client.query_batch_points(self.collection, requests)
            for answer in answers:
                ids = np.array([point.id for point in answer.points], np.int64)
                found.append((ids, np.array([point.score for point in answer.points], np.float32)))
        return found

    def _check(self) -> None:
        from qdrant_client import models

        with speaking(self.client):
            if not self.client.collection_exists(self.collection):
                raise BundleError(f"there is no collection {self.collection}")
            vectors = self.client.get_collection(self.collection).config.params.vectors
            held = self.client.count(self.collection, exact=True).count
        got = (held, vectors.size, vectors.distance) if isinstance(vectors, models.VectorParams) else (held, vectors)
        if got != (self._n, self.dim, models.Distance.DOT):
            raise BundleError(
                f"collection {self.collection} must hold {self._n} references of {self.dim}, compared by dot product, got {got}"
            )

    def _expect(self, wanted: int, got: int) -> None:
        if got != wanted:
            raise QdrantError(
                f"collection {self.collection} must answer with {wanted} references, got {got}; is a part of it being restored, or "
                "was it changed? Load it again with python -m precompute.load_qdrant"
            )


def just(allowed: np.ndarray, words: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Filter | None":
    """A filter that lets exactly the allowed references through.

    Of a million references a group may be half: as its name, and not as so many ids, it is sent and found at once. What the words
    let through beside the allowed, such as the picture that is searched by, is excluded by its ids.

    Args:
        allowed: (n,) bool.
        words: of each field the different words and, for each of the n references, the place of its own among them.
    """
    from qdrant_client import models

    passes, must = np.ones(len(allowed), bool), list[Any]()
    for field, (values, places) in words.items():  # the narrowest choice of words that lets these references through
        chosen = np.bincount(places[allowed], minlength=len(values)) > 0
        passes &= chosen[places]
        if not chosen.all():
            must.append(models.FieldCondition(key=field, match=models.MatchAny(any=values[chosen].tolist())))
    ids: list[Any] = np.flatnonzero(allowed).tolist()
    never: list[Any] = np.flatnonzero(passes & ~allowed).tolist()
    if len(ids) < len(never):
        return models.Filter(must=[models.HasIdCondition(has_id=ids)])
    must_not: list[Any] = [models.HasIdCondition(has_id=never)] if never else []
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def open_collections(
    bundle: Bundle, references: References, address: str, timeout: int = TIMEOUT
) -> dict[Space, Index]:
    """One index per space over the collections of a bundle; of the bundle's rows nothing is read.

    Args:
        bundle: whose references were loaded.
        references: those.
        address: ``http://host:port``, ``https://host:port``, or a folder of the client's local mode.
        timeout: of one request, in seconds.

    Raises:
        BundleError: the bundle, or a collection of it, is missing or of other references; the text says how to load it.
        QdrantError: the server does not answer.
    """
    load = f"load the references with: python -m precompute.load_qdrant --bundle {bundle.folder} --url {address}"
    dim, names = bundle.section("backbone")["dim"], {space: collection_name(bundle, space) for space in SPACES}
    client = connect(address, timeout)
    try:
        words = {field: references.words(field) for field in FIELDS}
        return {space: QdrantIndex(client, name, len(references), dim, words=words) for space, name in names.items()}
    except (QdrantError, BundleError) as error:
        client.close()
        raise error if isinstance(error, QdrantError) else BundleError(f"{address}: {error}; {load}") from None
