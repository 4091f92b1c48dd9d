"""Qdrant's own engine in this process, by the package qdrant-edge-py, behind the index: its graph, its codes, its filters.

What a server adds to it, the network and the cluster, is not tested here; see test_qdrant.py for what the client sends.
"""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

import qdrant_edge as edge
from qdrant_client import models

from aad.references import Words
from aad.scale.qdrant import QdrantIndex
from aad.search import ExactIndex
from aad.vectors import l2_normalise

N, D, BETA = 3000, 32, 20.0


class Engine:
    """What ``QdrantIndex`` asks of a client, answered by one shard of the engine."""

    init_options = {"url": "the engine", "path": None, "location": None}  # noqa: RUF012 - as a client has it

    def __init__(self, folder, rows, groups, codes):
        folder.mkdir()
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=rows.shape[1], distance=edge.Distance.Dot, on_disk=True),
            quantization_config=codes,
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=10),
        )
        self.shard = edge.EdgeShard.create(str(folder), config)
        points = [edge.Point(i, row.tolist(), {"group": groups[i]}) for i, row in enumerate(rows)]
        self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.update(edge.UpdateOperation.create_field_index("group", edge.PayloadSchemaType.Keyword))
        self.shard.optimize()
        self.dim = rows.shape[1]

    def collection_exists(self, name):
        return True

    def get_collection(self, name):
        vectors = models.VectorParams(size=self.dim, distance=models.Distance.DOT)
        return SimpleNamespace(config=SimpleNamespace(params=SimpleNamespace(vectors=vectors)))

    def count(self, name, exact):
        return SimpleNamespace(count=self.shard.count(edge.CountRequest(exact)))

    def retrieve(self, name, ids, with_payload, with_vectors):
        return self.shard.retrieve(ids, with_payload, with_vectors)

    def query_batch_points(self, name, requests):
        return [SimpleNamespace(points=self.shard.query(_translated(one))) for one in requests]


def _translated(request):
    params, codes = request.params, request.params.quantization
    return edge.QueryRequest(
        limit=request.limit,
        query=edge.Query.Nearest(request.query),
        filter=request.filter
        and edge.Filter(
            must=[_condition(one) for one in request.filter.must or []],
            must_not=[_condition(one) for one in request.filter.must_not or []],
        ),
        params=edge.SearchParams(
            hnsw_ef=params.hnsw_ef,
            exact=params.exact,
            quantization=edge.QuantizationSearchParams(
                ignore=codes.ignore or False, rescore=codes.rescore, oversampling=codes.oversampling
            ),
        ),
    )


def _condition(one):
    if isinstance(one, models.HasIdCondition):
        return edge.HasIdCondition(set(one.has_id))
    return edge.FieldCondition(one.key, match=edge.MatchAny(one.match.any))


@pytest.fixture(scope="module")
def gallery():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, D))
    rows = l2_normalise(centres[generator.integers(0, 60, N)] + generator.normal(size=(N, D)))
    rows[[70, 700, 2999]] = rows[7]
    queries = l2_normalise(rows[[7, 500, 1500, 2500]] + 0.5 * l2_normalise(generator.normal(size=(4, D))))
    return rows, queries, [f"group {i % 3}" for i in range(N)]


@pytest.fixture(scope="module", params=["int8", "binary"])
def engine(request, tmp_path_factory, gallery):
    codes = edge.BinaryQuantizationConfig(always_ram=True)
    if request.param == "int8":
        codes = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99, always_ram=True)
    engine = Engine(tmp_path_factory.mktemp("engine") / request.param, gallery[0], gallery[2], codes)
    assert engine.shard.info().indexed_vectors_count == N
    yield engine
    engine.shard.close()


def test_the_engine_finds_what_the_rows_say_with_their_similarities(engine, gallery):
    rows, queries, _ = gallery
    expected = ExactIndex(rows).search(queries, 10, inverse_temperature=BETA)
    found = QdrantIndex(engine, "any", N, D).search(queries, 10, inverse_temperature=BETA)
    shares = [np.isin(*pair).mean() for pair in zip(expected.ids, found.ids, strict=True)]
    assert np.mean(shares) >= 0.9
    cosines = np.take_along_axis((queries.astype(float) @ rows.T.astype(float)).astype(np.float32), found.ids, 1)
    np.testing.assert_allclose(found.similarities, cosines, atol=1e-7)
    np.testing.assert_allclose(found.log_mass, expected.log_mass, atol=0.05)
    np.testing.assert_array_equal(QdrantIndex(engine, "any", N, D).rows(np.array([7, 3])), rows[[7, 3]])


def test_the_engine_is_exact_when_asked_and_under_filters(engine, gallery):
    rows, queries, groups = gallery
    index = QdrantIndex(engine, "any", N, D, words={"group": Words(groups)}, exact=True)
    reference = ExactIndex(rows)
    for among in (None, np.arange(N) % 3 == 1, np.random.default_rng(1).random(N) < 0.05, np.arange(N) != 7):
        for without in (None, 70):
            found = index.search(queries, 12, among=among, without=without)
            expected = reference.search(queries, 12, among=among, without=without)
            assert found.ids.tolist() == expected.ids.tolist()
            np.testing.assert_array_equal(found.similarities, expected.similarities)
    np.testing.assert_allclose(index.similarities(queries), reference.similarities(queries), atol=1e-6)
