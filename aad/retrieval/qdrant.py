"""The references of one space in Qdrant, a vector database on other machines, behind the interface of an index in memory.

    python -m precompute.load_qdrant --url http://localhost:6333       # a bundle's references into collections
    python app.py --qdrant http://localhost:6333                       # the page, searching there

The server finds candidates; their stored rows come back and are compared again here, as every class of this package does it, so
a reference has the same similarity and ties go by id. What is exact and what is estimated: docs/serving.md.

A collection is named after its bundle, its space and the sha256 of its references: see `collection_name`. The API key of a server
is read from the environment variable QDRANT_API_KEY.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from aad.bundle import Bundle, BundleError
from aad.references import Words
from aad.retrieval.exact import MARGIN, nearest_exactly, stacked
from aad.retrieval.mass import TailSample
from aad.retrieval.qdrant_calls import TIMEOUT, QdrantError, collection_name, connect, is_local, speaking
from aad.retrieval.qdrant_filters import FIELDS, Part, all_but, just
from aad.retrieval.search import Index, SearchResult, check_ids, check_queries, check_search
from aad.spaces import SPACES, Space

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

BEYOND = 16  # candidates asked for beyond k: the server leaves open how it orders equal ones
DEEPEST = 4096  # candidates beyond k where more and more are equal
NEAREST = 256  # candidates that the mass is exact over, at least
SAMPLE = 2048  # rows that stand for all others in the mass; 6 MB at 768 dimensions
ROWS = 256  # with their vectors in one answer: some 2 MB at 768 dimensions
QUERIES = 64  # in one request

Found = tuple[np.ndarray, np.ndarray]  # (c,) ids and (c,) what the server says of their similarity, best first


class QdrantIndex:
    """One collection as an index.

    A search is approximate where the server's is: its graph, and int8 or binary codes, choose the candidates. Under ``among`` and
    with ``exact`` the server compares all rows that may be named. The mass is estimated: exact over the nearest candidates, and
    for the rest by a fixed sample of rows that is fetched once, here.

    Args:
        client: an open ``qdrant_client.QdrantClient``; may be shared.
        collection: name of a collection whose points have the ids 0 to n - 1.
        n: references that it must hold.
        dim: their dimension.
        words: for each of ``FIELDS`` the n words in the payload. Without them a filter goes to the server as a list of ids.
        exact: whether the server compares every row in every search; slow, to measure the others against.
        oversampling: candidates that are chosen by their codes and compared by their vectors, times those asked for.

    Raises:
        BundleError: no such collection, or of other rows.
        QdrantError: the server does not answer.
    """

    def __init__(
        self,
        client: "QdrantClient",
        collection: str,
        n: int,
        dim: int,
        *,
        words: Mapping[str, Words] | None = None,
        exact: bool = False,
        oversampling: float = 4.0,
    ) -> None:
        self.client, self.collection = client, collection
        self._n, self._dim = n, dim
        self._words, self._exact, self._oversampling = words, exact, oversampling
        self._is_local = is_local(client)
        self._check()
        ids = np.arange(n)
        if n > SAMPLE:
            ids = np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
        self._sample = TailSample(self.rows(ids), ids, n)

    @property
    def dim(self) -> int:
        """Columns of a query."""
        return self._dim

    def __len__(self) -> int:
        return self._n

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        among: np.ndarray | None = None,
        without: int | None = None,
        inverse_temperature: float | None = None,
    ) -> SearchResult:
        """As ``Index.search``.

        Raises:
            QdrantError: the server does not answer, or with fewer references than it must.
            ValueError: an argument of another shape, type or range.
        """
        queries, allowed = check_search(queries, k, self, among, without)
        beta, everything = inverse_temperature, all_but(without, self._n)
        if not len(queries):
            return stacked([], None if beta is None else np.zeros(0))
        found, log_mass = [], None
        if allowed is None or beta is not None:
            found = self._candidates(queries, k, everything, self._exact, 0 if beta is None else NEAREST)
        if beta is not None:
            ids, similarities = (np.array(column) for column in zip(*found, strict=True))  # as many for each query
            log_mass = self._sample.log_mass(queries, beta, ids, similarities, without)
        if allowed is not None:
            found = self._candidates(queries, k, just(allowed, self._words), exact=True)
        return stacked(
            [self._ranked(query, *one, k) for query, one in zip(queries, found, strict=True)],
            log_mass,
            estimated=log_mass is not None,
        )

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32. The server compares and sends all n of them: slow."""
        queries = check_queries(queries, self._dim)
        found = np.empty((len(queries), self._n), np.float32)
        for row, query in enumerate(queries):
            ((ids, similarities),) = self._ask(query[None], self._n, None, exact=True)
            self._expect(self._n, len(ids))
            found[row, check_ids(ids, self._n)] = similarities
        return found

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32, the stored rows of these ids."""
        ids = check_ids(ids, self._n)
        different, places = np.unique(ids, return_inverse=True)
        found = np.empty((len(different), self._dim), np.float32)
        for start in range(0, len(different), ROWS):
            part = different[start : start + ROWS]
            with speaking(self.client):
                points = self.client.retrieve(self.collection, part.tolist(), with_payload=False, with_vectors=True)
            self._expect(len(part), len(points))
            places_in = np.searchsorted(part, np.array([point.id for point in points], np.int64))
            found[start + places_in] = np.array([point.vector for point in points], np.float32)
        return found[places]

    def _ranked(self, query: np.ndarray, ids: np.ndarray, similarities: np.ndarray, k: int) -> Found:
        """The k nearest of the candidates, whose rows are fetched as far as they may be among them."""
        if len(ids) > k:
            ids = ids[similarities >= np.partition(similarities, -k)[-k] - MARGIN]
        return nearest_exactly(query, ids, self.rows, k)

    def _candidates(self, queries: np.ndarray, k: int, filters: list[Part], exact: bool, least: int = 0) -> list[Found]:
        """For each query, candidates with the k nearest of what the filters let through, and at least so many of each."""
        parts = [self._settled(queries, k, one, passing, exact, least) for one, passing in filters if passing]
        if not parts:
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        return [
            (np.concatenate([ids for ids, _ in found]), np.concatenate([similarities for _, similarities in found]))
            for found in zip(*parts, strict=True)
        ]

    def _settled(
        self, queries: np.ndarray, k: int, one: "Filter | None", passing: int, exact: bool, least: int
    ) -> list[Found]:
        """Candidates under one filter, asked for until the last one is surely farther than the k-th."""
        k = min(k, passing)
        limit = min(max(k + BEYOND, least), passing)
        while True:
            found = self._ask(queries, limit, one, exact)
            fewest = min((len(ids) for ids, _ in found), default=limit)
            if fewest < limit and not exact:
                exact = True  # a graph may have lost an arm; the rows are all there
                continue
            self._expect(limit, fewest)
            tied = any(similarities[k - 1] - similarities[-1] <= MARGIN for _, similarities in found)
            if limit == passing or limit - k >= DEEPEST or not tied:
                return found
            limit = min(k + 4 * (limit - k), passing)

    def _ask(self, queries: np.ndarray, limit: int, one: "Filter | None", exact: bool) -> list[Found]:
        from qdrant_client import models

        settings = models.SearchParams(
            exact=exact,
            hnsw_ef=None if exact else max(128, 2 * limit),  # 100 by default, and at least the limit
            quantization=models.QuantizationSearchParams(ignore=True)
            if exact
            else models.QuantizationSearchParams(rescore=True, oversampling=self._oversampling),
        )
        params = None if self._is_local else settings  # local mode is always exact, and warns about settings
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
        if not isinstance(vectors, models.VectorParams) or vectors.distance != models.Distance.DOT:
            raise BundleError(f"collection {self.collection} must hold one vector per point, compared by dot product")
        if vectors.size != self._dim:
            raise BundleError(f"collection {self.collection} must hold vectors of {self._dim}, got {vectors.size}")
        if held != self._n:
            raise BundleError(f"collection {self.collection} must hold {self._n} references, got {held}")

    def _expect(self, wanted: int, got: int) -> None:
        if got != wanted:
            raise QdrantError(
                f"collection {self.collection} must answer with {wanted} references, got {got}; is a part of it being restored, or "
                "was it changed? Load it again with python -m precompute.load_qdrant"
            )


def open_collections(
    bundle: Bundle, address: str, *, exact: bool = False, timeout: int = TIMEOUT
) -> dict[Space, Index]:
    """One index per space over the collections of a bundle; of the bundle's rows nothing is read.

    Args:
        bundle: whose references were loaded.
        address: ``http://host:port``, ``https://host:port``, or a folder of the client's local mode.
        exact: as of ``QdrantIndex``.
        timeout: of one request, in seconds.

    Raises:
        BundleError: the bundle, or a collection of it, is missing or of other references; the text says how to load it.
        QdrantError: the server does not answer.
    """
    load = f"load the references with: python -m precompute.load_qdrant --bundle {bundle.folder} --url {address}"
    entries = bundle.read_json("references.json")
    words = {field: Words([entry.get(field) for entry in entries]) for field in FIELDS}
    dim = bundle.section("backbone")["dim"]
    names = {space: collection_name(bundle, space) for space in SPACES}
    client = connect(address, timeout)
    try:
        return {
            space: QdrantIndex(client, name, len(entries), dim, words=words, exact=exact)
            for space, name in names.items()
        }
    except QdrantError:
        client.close()
        raise
    except BundleError as error:
        client.close()
        raise BundleError(f"{address}: {error}; {load}") from None
