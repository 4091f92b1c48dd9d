"""Qdrant behind the interface of an index: the client's local mode, also taken for a server's, and Qdrant's own engine."""

import gc
import json
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient, models

import app
from aad import SPACES, Attributor
from aad.bundle import Bundle, BundleError
from aad.scale.qdrant import QdrantIndex, just, open_collections
from aad.scale.qdrant_calls import QdrantError, alias_name, collection_name, connect
from aad.search import ExactIndex
from aad.vectors import l2_normalise
from precompute.load_qdrant import load_collection, load_collections, main
from tests.factory import N_QUERIES, N_REFERENCES, tiny_bundle

N, D, BETA = 400, 24, 20.0


@pytest.fixture(scope="module")
def gallery():
    """Rows with equal ones among them, and entries whose group and licence cut across each other."""
    rows = l2_normalise(np.random.default_rng(0).normal(size=(N, D)))
    rows[[7, 50, 51, 399]] = rows[3]
    told = [{"title": f"Picture {i}", "group": f"group {i % 3}", "licence": ["CC0", "CC-BY"][i % 2]} for i in range(N)]
    return rows, [{"path": "a", "concept": "thing", **one} for one in told]


@pytest.fixture(scope="module")
def queries(gallery):
    generator = np.random.default_rng(1)
    return l2_normalise(gallery[0][[3, 100, 200]] + 0.3 * l2_normalise(generator.normal(size=(3, D))))


@pytest.fixture(scope="module")
def client(gallery):
    with closing(QdrantClient(":memory:")) as client:
        load_collection(client, "all", *gallery)
        yield client


@pytest.fixture(scope="module")
def exact(gallery):
    return ExactIndex(gallery[0])


def assert_alike(found, expected, about=""):
    assert found.ids.tolist() == expected.ids.tolist(), about
    np.testing.assert_array_equal(found.similarities, expected.similarities)


def test_a_collection_answers_as_the_rows_in_memory_do(client, exact, queries):
    index = QdrantIndex(client, "all", N, D)
    for k in (1, 5, 50, N, N + 7):
        found = index.search(queries, k)
        assert_alike(found, exact.search(queries, k))
        assert found.log_mass is None and not found.estimated
    assert (len(index), index.dim) == (N, D)
    np.testing.assert_array_equal(index.rows(np.array([9, 0, 9])), exact.rows(np.array([9, 0, 9])))
    np.testing.assert_allclose(index.similarities(queries), exact.similarities(queries), atol=1e-6)
    assert index.search(queries[:0], 3, inverse_temperature=BETA).log_mass.shape == (0,)


def test_equal_references_are_ordered_by_id_however_many_tie(gallery):
    rows = np.repeat(gallery[0][:1], 120, axis=0)
    other = np.random.default_rng(3).permutation(120)

    class Shuffling(QdrantClient):
        def query_batch_points(self, *args, **kwargs):
            answers = super().query_batch_points(*args, **kwargs)
            for answer in answers:  # a server may order equal ones as it likes, and cut anywhere among them
                answer.points = [point.model_copy(update={"id": int(other[point.id])}) for point in answer.points]
            return answers

    with closing(Shuffling(":memory:")) as client:
        load_collection(client, "equal", rows, gallery[1][:120])
        assert QdrantIndex(client, "equal", 120, D).search(rows[:1], 5).ids.tolist() == [[0, 1, 2, 3, 4]]


@pytest.fixture(scope="module")
def words(gallery):
    return {field: [entry.get(field) or "" for entry in gallery[1]] for field in ("group", "source", "licence")}


@pytest.mark.parametrize("in_words", [True, False])
def test_filters_are_exact(client, exact, queries, words, in_words):
    index = QdrantIndex(client, "all", N, D, words=words if in_words else None)
    masks = {
        "some": (np.arange(N) % 3 == 1) & (np.arange(N) % 2 == 0),
        "any": np.random.default_rng(2).random(N) < 0.3,
        "most": np.arange(N) != 3,
        "all": np.ones(N, bool),
        "one": np.arange(N) == 17,
        "none": np.zeros(N, bool),
    }
    for name, among in masks.items():
        for without in (None, 3):
            found, expected = (
                one.search(queries, 12, among=among, without=without, inverse_temperature=BETA)
                for one in (index, exact)
            )
            assert_alike(found, expected, (name, without))
            np.testing.assert_allclose(found.log_mass, expected.log_mass, atol=1e-5)


def test_a_filter_is_in_words_where_they_can_say_it_and_else_in_the_fewest_ids(words):
    words = {field: np.unique(one, return_inverse=True) for field, one in words.items()}
    group = np.arange(N) % 3 == 1
    one = just(group & (np.arange(N) != 4), words)
    assert [condition.match.any for condition in one.must] == [["group 1"]] and one.must_not[0].has_id == [4]
    few = np.isin(np.arange(N), [4, 5])
    assert just(few, words).must[0].has_id == [4, 5] == just(~few, words).must_not[0].has_id
    assert just(few | ~few, words) is None


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


def test_a_collection_of_other_references_is_refused(client):
    for name, n, d, words in (
        ("nowhere", N, D, "there is no collection nowhere"),
        ("all", N + 1, D, r"must hold 401 references of 24, .* got \(400, 24"),
        ("all", N, D + 1, r"must hold 400 references of 25, .* got \(400, 24"),
    ):
        with pytest.raises(BundleError, match=words):
            QdrantIndex(client, name, n, d)


# --- over the network: what is asked for, and what goes wrong ---------------------------------------------------------


class Served(QdrantClient):
    """The client's local mode, taken for a server's: what a server would be sent is kept, as JSON. ``most`` cuts answers short."""

    def __init__(self):
        super().__init__(":memory:")
        self._init_options |= {"location": None, "url": "http://served"}
        self.asked, self.created, self.indexed, self.most = [], [], [], 10**9

    def create_collection(self, name, vectors, **settings):
        made = models.CreateCollection(vectors=vectors, **settings)
        self.created.append(json.loads(made.model_dump_json()))
        return super().create_collection(name, vectors, metadata=made.metadata)

    def create_payload_index(self, name, field, schema, wait):
        self.indexed.append(field)

    def upsert(self, name, points, wait):
        return super().upsert(name, models.Batch.model_validate_json(points.model_dump_json()))

    def query_batch_points(self, name, requests):
        self.asked += [json.loads(one.model_dump_json(exclude_none=True)) for one in requests]
        plain = [one.model_copy(update={"params": None, "limit": min(one.limit, self.most)}) for one in requests]
        return super().query_batch_points(name, plain)


def test_a_server_is_asked_to_score_again_on_the_vectors_and_exactly_under_a_filter(gallery, queries):
    with closing(Served()) as server:
        load_collection(server, "all", *gallery)
        index = QdrantIndex(server, "all", N, D)
        index.search(queries[:1], 5)
        params = server.asked[-1]["params"]
        assert params["quantization"] == {"ignore": False, "rescore": True, "oversampling": 4.0}
        assert not params["exact"] and params["hnsw_ef"] >= 128
        assert server.asked[-1]["limit"] > 5 and "filter" not in server.asked[-1]
        index.search(queries[:1], 5, among=np.arange(N) < 2)
        assert server.asked[-1]["params"]["exact"] and server.asked[-1]["params"]["quantization"]["ignore"]
        assert server.asked[-1]["filter"] == {"must": [{"has_id": [0, 1]}]}
        QdrantIndex(server, "all", N, D, exact=True).search(queries[:1], 5)
        assert server.asked[-1]["params"]["exact"]
        server.most = 3  # a graph that has lost an arm answers with fewer: the rows are asked for, and are short too
        with pytest.raises(QdrantError, match="must answer with 21 references, got 3"):
            index.search(queries[:1], 5)
        assert [one["params"]["exact"] for one in server.asked[-2:]] == [False, True]


@contextmanager
def answering(status, said):
    """A server that says the same whatever it is asked: its address, and the keys that it is shown."""
    keys = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            keys.append(self.headers.get("api-key"))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_):
            pass

        do_GET = do_POST = answer

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", keys
        server.shutdown()
        thread.join()


def test_what_goes_wrong_on_the_way_is_said_in_words(monkeypatch):
    def keys_shown(status, words):
        with answering(status, {"status": {"error": "as the test wants it"}}) as (url, keys):
            client = connect(url, timeout=5)
            with closing(client), pytest.raises(QdrantError, match=words):
                QdrantIndex(client, "all", 20, D)
        return keys

    assert keys_shown(500, r"answered with status 500 .*as the test wants it") == [None]
    assert keys_shown(403, "set QDRANT_API_KEY") == [None]
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    with pytest.warns(UserWarning, match="insecure connection"):
        assert keys_shown(500, "answered") == ["secret"]


def test_a_silent_server_is_given_up_on(shipped):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(QdrantError, match="ReadTimeout"):
            open_collections(Bundle.open(), shipped.references, url, timeout=1)


# --- a bundle: loaded, found by other clients, served -----------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A small bundle, and the folder of a local mode that holds it."""
    folder = tmp_path_factory.mktemp("loaded")
    bundle = tiny_bundle(folder)
    main(["--bundle", str(bundle), "--url", str(folder / "qdrant")])
    return bundle, str(folder / "qdrant")


def test_a_loaded_bundle_is_attributed_as_the_one_in_memory(loaded, tmp_path):
    here, without_rows = Attributor.load(loaded[0]), tiny_bundle(tmp_path)  # the same bundle once more
    for path in without_rows.glob("references_*.npy"):
        path.unlink()
    there = Attributor.load(without_rows, qdrant=loaded[1])
    among = np.arange(N_REFERENCES) % 2 == 0

    def named(answer):
        return [(match.reference_id, match.rank, match.similarity) for match in answer.matches]

    def shares(answer):
        return [*(match.weight for match in answer.matches), answer.elsewhere, answer.remainder]

    with closing(there._index["aligned"].client):
        for query_id in range(N_QUERIES):
            for options in ({}, {"among": among}):
                found, expected = (one.attribute_query(query_id, 4, **options) for one in (there, here))
                for space in SPACES:
                    assert found[space].estimated and not expected[space].estimated
                    assert named(found[space]) == named(expected[space])
                    np.testing.assert_allclose(shares(found[space]), shares(expected[space]), atol=1e-5)
                    assert found[space].position == pytest.approx(expected[space].position, abs=1e-5)
            assert there.true_ranks(query_id) == here.true_ranks(query_id)
        like, expected = there.attribute_reference(3, 5), here.attribute_reference(3, 5)
        assert [named(like[space]) for space in SPACES] == [named(expected[space]) for space in SPACES]
        assert there.near_copies([4, 4, 2]) == [None, 0, None]


def test_the_payload_is_what_other_clients_need(loaded):
    bundle = Bundle.open(loaded[0])
    with closing(connect(loaded[1])) as client:
        (point,) = client.retrieve(alias_name(bundle, "aligned"), [4], with_payload=True)
        told = {"reference_id": 4, "title": "Picture 4", "group": "plain", "source": "factory", "licence": "CC0"}
        assert point.payload == {**told, "concept": "concept 4"}
        about = client.get_collection(collection_name(bundle, "aligned")).config.metadata
        assert about == {"bundle": "tiny", "space": "aligned"}


def test_loading_goes_on_where_it_was_interrupted(tmp_path):
    sent = []

    class Interrupted(QdrantClient):
        def upsert(self, name, points, **options):
            if len(sent) == 4:
                sent.append([])
                raise KeyboardInterrupt
            sent.append(points.ids)
            return super().upsert(name, points, **options)

    bundle = Bundle.open(tiny_bundle(tmp_path))
    with closing(Interrupted(":memory:")) as client:
        with pytest.raises(KeyboardInterrupt):
            load_collections(bundle, client, batch=3)
        assert list(map(len, sent)) == [3, 3, 3, 1, 0]
        assert not client.get_aliases().aliases  # an alias never means a part
        client.delete(collection_name(bundle, SPACES[0]), [5])
        names = load_collections(bundle, client, batch=3)
        assert sent[5] == [5] and sum(map(len, sent[5:])) == 1 + 2 * N_REFERENCES
        sent.clear()
        assert load_collections(bundle, client) == names and sent == []
        load_collections(bundle, client, recreate=True)
        assert sum(map(len, sent)) == 3 * N_REFERENCES


def test_other_references_are_loaded_beside_and_the_alias_moves(tmp_path, capsys):
    address = str(tmp_path / "qdrant")
    older, newer = (tiny_bundle(tmp_path / str(seed), seed) for seed in (0, 1))
    for bundle in (older, newer):
        main(["--bundle", str(bundle), "--url", address])
    said = capsys.readouterr().out
    with closing(connect(address)) as client:
        meant = {one.alias_name: one.collection_name for one in client.get_aliases().aliases}
        assert len(client.get_collections().collections) == 2 * len(SPACES)
    for space in SPACES:
        before, after = (collection_name(Bundle.open(folder), space) for folder in (older, newer))
        assert before != after == meant[alias_name(Bundle.open(newer), space)]
        assert before in said.splitlines()[-1] and "to be deleted" in said.splitlines()[-1]


def test_a_server_keeps_what_is_loaded_as_told_and_recall_is_measured_on_it(loaded, capsys, monkeypatch):
    server = Served()
    monkeypatch.setattr("precompute.load_qdrant.connect", lambda *_, **__: server)
    options = ["--queries", "4", "--codes", "int8", "--shards", "3", "--replicas", "2"]
    main(["--bundle", str(loaded[0]), "--url", "http://served", *options])
    assert "recall@10 against exact search: backbone 1.0000, aligned 1.0000" in capsys.readouterr().out
    asked = [one["params"]["exact"] for one in server.asked]
    assert len(asked) == 2 * 4 * len(SPACES) and sum(asked) == len(asked) / 2
    made = server.created[0]
    assert made["vectors"] | {"distance": "Dot", "datatype": "float32", "on_disk": True} == made["vectors"]
    assert made["quantization_config"]["scalar"]["type"] == "int8"
    assert (made["shard_number"], made["replication_factor"]) == (3, 2)
    assert server.indexed == ["group", "source", "licence", "concept"] * len(SPACES)


def test_the_app_says_what_is_missing_and_how_to_load_it(loaded, tmp_path, capsys):
    bundle = str(loaded[0])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with answering(200, {"result": {"exists": False}, "status": "ok", "time": 0.0}) as (url, _):
        load = f"python -m precompute.load_qdrant --bundle {bundle} --url {url}"
        for address, words in (
            (nobody, [f"{nobody} does not answer as Qdrant does (ConnectError", "is the server running"]),
            (url, ["there is no collection aad-tiny-backbone-", load]),
            (str(tmp_path / "empty"), ["there are no collections in the folder"]),
            ("localhost:6333", ["http://host:port"]),
        ):
            assert app.main(["--bundle", bundle, "--qdrant", address]) == 2
            said = capsys.readouterr().err
            assert all(one in said for one in words), said
    assert not (tmp_path / "empty").exists() and not Path("localhost:6333").exists()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the client that was refused leaves its lock open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_serves_one_process_at_a_time(loaded):
    with closing(connect(loaded[1])), pytest.raises(QdrantError, match="Only one process"):
        connect(loaded[1])
    gc.collect()


# --- Qdrant's own engine in this process, by the package qdrant-edge-py: its graph, its codes, its filters ------------

M = 3000


class Engine:
    """What ``QdrantIndex`` asks of a client, answered by one shard of the engine."""

    init_options = {"url": "the engine", "path": None, "location": None}  # noqa: RUF012 - as a client has it

    def __init__(self, folder, rows, codes):
        import qdrant_edge as edge

        folder.mkdir()
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=D, distance=edge.Distance.Dot, on_disk=True),
            quantization_config=codes,
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=10),
        )
        self.edge, self.shard = edge, edge.EdgeShard.create(str(folder), config)
        points = [edge.Point(i, row.tolist(), {}) for i, row in enumerate(rows)]
        self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.optimize()

    def collection_exists(self, name):
        return True

    def get_collection(self, name):
        vectors = models.VectorParams(size=D, distance=models.Distance.DOT)
        return SimpleNamespace(config=SimpleNamespace(params=SimpleNamespace(vectors=vectors)))

    def count(self, name, exact):
        return SimpleNamespace(count=self.shard.count(self.edge.CountRequest(exact)))

    def retrieve(self, name, ids, with_payload, with_vectors):
        return self.shard.retrieve(ids, with_payload, with_vectors)

    def query_batch_points(self, name, requests):
        return [SimpleNamespace(points=self.shard.query(self.translated(one))) for one in requests]

    def translated(self, request):
        edge, params, codes, conditions = self.edge, request.params, request.params.quantization, request.filter
        parts = {
            name: [edge.HasIdCondition(set(one.has_id)) for one in getattr(conditions, name, None) or []]
            for name in ("must", "must_not")
        }
        quantisation = edge.QuantizationSearchParams(
            ignore=codes.ignore or False, rescore=codes.rescore, oversampling=codes.oversampling
        )
        return edge.QueryRequest(
            limit=request.limit,
            query=edge.Query.Nearest(request.query),
            filter=edge.Filter(**parts) if conditions else None,
            params=edge.SearchParams(hnsw_ef=params.hnsw_ef, exact=params.exact, quantization=quantisation),
        )


@pytest.fixture(scope="module")
def many():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, D))
    rows = l2_normalise(centres[generator.integers(0, 60, M)] + generator.normal(size=(M, D)))
    rows[[70, 700, 2999]] = rows[7]
    queries = l2_normalise(rows[[7, 500, 1500, 2500]] + 0.5 * l2_normalise(generator.normal(size=(4, D))))
    return rows, queries


@pytest.fixture(scope="module", params=["int8", "binary"])
def engine(request, tmp_path_factory, many):
    edge = pytest.importorskip("qdrant_edge")
    codes = edge.BinaryQuantizationConfig(always_ram=True)
    if request.param == "int8":
        codes = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99, always_ram=True)
    engine = Engine(tmp_path_factory.mktemp("engine") / request.param, many[0], codes)
    assert engine.shard.info().indexed_vectors_count == M
    yield engine
    engine.shard.close()


def test_the_engine_finds_what_the_rows_say_and_all_of_it_when_asked_exactly_and_under_filters(engine, many):
    rows, queries = many
    index, exactly = (QdrantIndex(engine, "any", M, D, exact=exact) for exact in (False, True))
    reference = ExactIndex(rows)
    expected, found = (one.search(queries, 10, inverse_temperature=BETA) for one in (reference, index))
    shares = [np.isin(*pair).mean() for pair in zip(expected.ids, found.ids, strict=True)]
    assert np.mean(shares) >= 0.9
    cosines = np.take_along_axis((queries.astype(float) @ rows.T.astype(float)).astype(np.float32), found.ids, 1)
    np.testing.assert_allclose(found.similarities, cosines, atol=1e-7)
    np.testing.assert_allclose(found.log_mass, expected.log_mass, atol=0.05)
    for among in (None, np.arange(M) % 3 == 1, np.arange(M) != 7):
        for without in (None, 70):
            assert_alike(*(one.search(queries, 12, among=among, without=without) for one in (exactly, reference)))
