"""Qdrant behind the interface of an index: the client's local mode, and a stand-in server for what goes over the network."""

import socket

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient

from aad.bundle import Bundle, BundleError
from aad.references import Words
from aad.scale.qdrant import QdrantIndex, just, open_collections
from aad.scale.qdrant_calls import QdrantError, connect
from aad.search import ExactIndex
from aad.vectors import l2_normalise
from precompute.load_qdrant import Layout, load_collection
from tests.scale.qdrant_server import stand_in

N, D, BETA = 400, 24, 20.0


@pytest.fixture(scope="module")
def gallery():
    """Rows with equal ones among them, and entries whose group and licence cut across each other."""
    rows = l2_normalise(np.random.default_rng(0).normal(size=(N, D)))
    rows[[7, 50, 51, 399]] = rows[3]
    entries = [
        {"title": f"Picture {i}", "group": f"group {i % 3}", "licence": ["CC0", "CC-BY"][i % 2], "concept": "thing"}
        for i in range(N)
    ]
    return rows, entries


@pytest.fixture(scope="module")
def queries(gallery):
    generator = np.random.default_rng(1)
    return l2_normalise(gallery[0][[3, 100, 200]] + 0.3 * l2_normalise(generator.normal(size=(3, D))))


@pytest.fixture(scope="module")
def client(gallery):
    client = QdrantClient(":memory:")
    load_collection(client, "all", *gallery)
    yield client
    client.close()


@pytest.fixture(scope="module")
def index(client):
    return QdrantIndex(client, "all", N, D)


@pytest.fixture(scope="module")
def exact(gallery):
    return ExactIndex(gallery[0])


def test_a_collection_answers_as_the_rows_in_memory_do(index, exact, queries):
    for k in (1, 5, 50, N, N + 7):
        found, expected = index.search(queries, k), exact.search(queries, k)
        assert found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_array_equal(found.similarities, expected.similarities)
        assert found.log_mass is None and not found.estimated
    assert (len(index), index.dim) == (N, D)
    np.testing.assert_array_equal(index.rows(np.array([9, 0, 9])), exact.rows(np.array([9, 0, 9])))
    np.testing.assert_allclose(index.similarities(queries), exact.similarities(queries), atol=1e-6)


def test_equal_references_are_ordered_by_id_however_many_tie(exact, gallery):
    rows = np.repeat(gallery[0][:1], 120, axis=0)
    client = QdrantClient(":memory:")
    other = np.random.default_rng(3).permutation(120)
    load_collection(client, "equal", rows, gallery[1][:120])
    ask = client.query_batch_points

    def shuffled(*args, **kwargs):
        answers = ask(*args, **kwargs)
        for answer in answers:  # a server may order equal ones as it likes, and cut anywhere among them
            answer.points = [point.model_copy(update={"id": int(other[point.id])}) for point in answer.points]
        return answers

    client.query_batch_points = shuffled
    found = QdrantIndex(client, "equal", 120, D).search(rows[:1], 5)
    assert found.ids.tolist() == [[0, 1, 2, 3, 4]]
    client.close()


@pytest.mark.parametrize("with_words", [True, False])
@pytest.mark.parametrize("id_limit", [50_000, 30])
def test_filters_are_exact(client, exact, gallery, queries, with_words, id_limit, monkeypatch):
    monkeypatch.setattr("aad.scale.qdrant.IDS", id_limit)
    columns = {field: Words([entry.get(field) for entry in gallery[1]]) for field in ("group", "source", "licence")}
    index = QdrantIndex(client, "all", N, D, words=columns if with_words else None)
    one_group = np.arange(N) % 3 == 1
    masks = {
        "words": one_group & (np.arange(N) % 2 == 0),
        "any": np.random.default_rng(2).random(N) < 0.3,
        "most": np.arange(N) != 3,
        "all": np.ones(N, bool),
        "one": np.arange(N) == 17,
        "none": np.zeros(N, bool),
    }
    for name, among in masks.items():
        for without in (None, 3, 17):
            found = index.search(queries, 12, among=among, without=without, inverse_temperature=BETA)
            expected = exact.search(queries, 12, among=among, without=without, inverse_temperature=BETA)
            assert found.ids.tolist() == expected.ids.tolist(), (name, without)
            np.testing.assert_array_equal(found.similarities, expected.similarities)
            np.testing.assert_allclose(found.log_mass, expected.log_mass, atol=1e-5)


def test_a_filter_is_in_words_where_they_can_say_it_and_never_longer_than_a_server_accepts(gallery, monkeypatch):
    columns = {"group": Words([entry["group"] for entry in gallery[1]])}
    group = np.arange(N) % 3 == 1
    ((one, passing),) = just(group & (np.arange(N) != 4), columns)
    assert one.must[0].match.any == ["group 1"] and one.must_not[0].has_id == [4] and passing == group.sum() - 1
    monkeypatch.setattr("aad.scale.qdrant.IDS", 30)
    parts = just(np.arange(N) % 2 == 0, columns)
    assert max(len(one.must[0].has_id) for one, _ in parts) == 30 and sum(passing for _, passing in parts) == N // 2


def test_the_mass_is_estimated_from_a_sample_and_says_so(client, exact, queries, monkeypatch):
    whole = QdrantIndex(client, "all", N, D).search(queries, 3, inverse_temperature=BETA)
    expected = exact.search(queries, 3, inverse_temperature=BETA).log_mass
    assert whole.estimated  # of a small gallery it is right all the same: the sample is all of it
    np.testing.assert_allclose(whole.log_mass, expected, atol=1e-5)
    monkeypatch.setattr("aad.scale.qdrant.SAMPLE", 100)
    monkeypatch.setattr("aad.scale.qdrant.NEAREST", 40)
    some, again = (QdrantIndex(client, "all", N, D).search(queries, 3, inverse_temperature=BETA) for _ in range(2))
    np.testing.assert_array_equal(some.log_mass, again.log_mass)
    assert 0 < np.abs(some.log_mass - expected).max() < 0.2


def test_rows_that_are_not_there_are_refused_and_no_question_has_no_answer(index, queries):
    with pytest.raises(ValueError, match="ids must be"):
        index.rows(np.array([N]))
    assert index.search(queries[:0], 3, inverse_temperature=BETA).log_mass.shape == (0,)


def test_a_collection_of_other_references_is_refused(client):
    with pytest.raises(BundleError, match="there is no collection nowhere"):
        QdrantIndex(client, "nowhere", N, D)
    with pytest.raises(BundleError, match="must hold 401 references, got 400"):
        QdrantIndex(client, "all", N + 1, D)
    with pytest.raises(BundleError, match="must hold vectors of 25, got 24"):
        QdrantIndex(client, "all", N, D + 1)


def test_a_server_is_asked_to_score_again_on_the_vectors_and_exactly_under_a_filter(gallery, queries):
    with stand_in() as server:
        client = connect(server.url, timeout=5)
        load_collection(client, "all", *gallery, layout=Layout("int8", n_shards=3, n_replicas=2), about={"bundle": "x"})
        made = server.created[0]
        assert made["vectors"] | {"size": D, "distance": "Dot", "datatype": "float32"} == made["vectors"]
        assert made["quantization_config"]["scalar"]["type"] == "int8"
        assert (made["shard_number"], made["replication_factor"]) == (3, 2)
        assert server.indexed == ["group", "source", "licence", "concept"]
        columns = {"group": Words([entry["group"] for entry in gallery[1]])}
        index = QdrantIndex(client, "all", N, D, words=columns)
        index.search(queries[:1], 5)
        params = server.asked[-1]["params"]
        assert params["quantization"] == {"rescore": True, "oversampling": 4.0}
        assert not params["exact"] and params["hnsw_ef"] >= 128
        assert server.asked[-1]["limit"] > 5 and "filter" not in server.asked[-1]
        index.search(queries[:1], 5, among=np.arange(N) % 3 == 1)
        assert server.asked[-1]["params"]["exact"] and server.asked[-1]["params"]["quantization"]["ignore"]
        assert server.asked[-1]["filter"] == {"must": [{"key": "group", "match": {"any": ["group 1"]}}]}
        QdrantIndex(client, "all", N, D, exact=True).search(queries[:1], 5)
        assert server.asked[-1]["params"]["exact"]
        server.most = 3  # a graph that has lost an arm answers with fewer: the rows are asked for, and are short too
        with pytest.raises(QdrantError, match="must answer with 21 references, got 3"):
            index.search(queries[:1], 5)
        assert [one["params"]["exact"] for one in server.asked[-2:]] == [False, True]
        client.close()


def test_what_goes_wrong_on_the_way_is_said_in_words(gallery, monkeypatch):
    with stand_in() as server:
        client = connect(server.url, timeout=5)
        load_collection(client, "all", gallery[0][:20], gallery[1][:20])
        index = QdrantIndex(client, "all", 20, D)
        server.status = 500
        with pytest.raises(QdrantError, match=r"http://127\S+ answered with status 500 .*as the test wants it"):
            index.search(gallery[0][:1], 3)
        server.status, server.key = 200, "secret"
        with pytest.raises(QdrantError, match="refuses access: set QDRANT_API_KEY"):
            index.rows(np.array([1]))
        monkeypatch.setenv("QDRANT_API_KEY", "secret")
        with pytest.warns(UserWarning, match="insecure connection"):
            allowed = connect(server.url, timeout=5)
        assert allowed.count("all").count == 20
        allowed.close()
        server.key = ""
    with pytest.raises(QdrantError, match=r"does not answer as Qdrant does \(ConnectError.*is the server running"):
        index.search(gallery[0][:1], 3)
    client.close()


def test_a_silent_server_is_given_up_on():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(QdrantError, match="ReadTimeout"):
            open_collections(Bundle.open(), url, timeout=1)
