"""A bundle in Qdrant: loading it, what other clients find there, and the page and the library on top of it."""

import gc
import socket
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient

import app
from aad import SPACES, Attributor
from aad.bundle import Bundle
from aad.scale.qdrant_calls import QdrantError, alias_name, collection_name, connect
from precompute.load_qdrant import load_collections, main
from tests.factory import N_QUERIES, N_REFERENCES, tiny_bundle
from tests.scale.qdrant_server import stand_in


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A small bundle, and the folder of a local mode that holds it."""
    folder = tmp_path_factory.mktemp("loaded")
    bundle = tiny_bundle(folder)
    main(["--bundle", str(bundle), "--url", str(folder / "qdrant")])
    return bundle, str(folder / "qdrant")


def test_a_loaded_bundle_is_attributed_as_the_one_in_memory(loaded):
    bundle, address = loaded
    here, there = Attributor.load(bundle), Attributor.load(bundle, qdrant=address)
    among = np.arange(N_REFERENCES) % 2 == 0
    with closing(there._index["aligned"].client):
        for query_id in range(N_QUERIES):
            for options in ({}, {"among": among}):
                expected = here.attribute_query(query_id, 4, **options)
                found = there.attribute_query(query_id, 4, **options)
                for space in SPACES:
                    assert found[space].estimated and not expected[space].estimated
                    assert _named(found[space]) == _named(expected[space])
                    np.testing.assert_allclose(_weights(found[space]), _weights(expected[space]), atol=1e-5)
                    assert found[space].position == pytest.approx(expected[space].position, abs=1e-5)
            assert there.true_ranks(query_id) == here.true_ranks(query_id)
        like, expected = there.attribute_reference(3, 5), here.attribute_reference(3, 5)
        assert [_named(like[space]) for space in SPACES] == [_named(expected[space]) for space in SPACES]
        assert there.near_copies([4, 4, 2]) == [None, 0, None]


def _named(answer):
    return [(match.reference_id, match.rank, match.similarity) for match in answer.matches]


def _weights(answer):
    return [*(match.weight for match in answer.matches), answer.elsewhere, answer.remainder]


def test_the_rows_themselves_need_not_be_where_the_page_is(loaded, tmp_path):
    bundle = tiny_bundle(tmp_path)  # the same bundle once more
    for path in bundle.glob("references_*.npy"):
        path.unlink()
    there = Attributor.load(bundle, qdrant=loaded[1])
    with closing(there._index["aligned"].client):
        assert there.attribute_query(0, 1)["aligned"].matches[0].reference_id == 0


def test_the_payload_is_what_other_clients_need(loaded):
    bundle = Bundle.open(loaded[0])
    with closing(connect(loaded[1])) as client:
        (point,) = client.retrieve(alias_name(bundle, "aligned"), [4], with_payload=True)
        assert point.payload == {
            "reference_id": 4,
            "title": "Picture 4",
            "group": "plain",
            "source": "factory",
            "licence": "CC0",
            "concept": "concept 4",
        }
        about = client.get_collection(collection_name(bundle, "aligned")).config.metadata
        assert about == {"bundle": "tiny", "space": "aligned"}


def test_loading_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    bundle = Bundle.open(tiny_bundle(tmp_path))
    client = QdrantClient(":memory:")
    upsert, sent = client.upsert, []

    def interrupted(name, points, **options):
        if len(sent) == 4:
            raise KeyboardInterrupt
        sent.append(len(points.ids))
        return upsert(name, points, **options)

    monkeypatch.setattr(client, "upsert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_collections(bundle, client, batch=3)
    assert sent == [3, 3, 3, 1]
    assert not client.get_aliases().aliases  # an alias never means a part
    sent.clear()
    client.delete(collection_name(bundle, SPACES[0]), [5])
    monkeypatch.setattr(
        client, "upsert", lambda name, points, **options: sent.append(points.ids) or upsert(name, points)
    )
    names = load_collections(bundle, client, batch=3)
    assert sent[0] == [5] and sum(map(len, sent)) == 1 + 2 * N_REFERENCES
    sent.clear()
    assert load_collections(bundle, client) == names and sent == []
    load_collections(bundle, client, recreate=True)
    assert sum(map(len, sent)) == 3 * N_REFERENCES
    client.close()


def test_other_references_are_loaded_beside_and_the_alias_moves(tmp_path, capsys):
    address = str(tmp_path / "qdrant")
    older, newer = (tiny_bundle(tmp_path / str(seed), seed) for seed in (0, 1))
    main(["--bundle", str(older), "--url", address])
    main(["--bundle", str(newer), "--url", address])
    said = capsys.readouterr().out
    client = connect(address)
    meant = {one.alias_name: one.collection_name for one in client.get_aliases().aliases}
    assert len(client.get_collections().collections) == 2 * len(SPACES)
    for space in SPACES:
        before, after = (collection_name(Bundle.open(folder), space) for folder in (older, newer))
        assert before != after == meant[alias_name(Bundle.open(newer), space)]
        assert before in said.splitlines()[-1] and "to be deleted" in said.splitlines()[-1]
    client.close()


def test_recall_is_measured_on_the_bundled_queries_of_a_server(tmp_path, capsys):
    with stand_in() as server:
        main(["--bundle", str(tiny_bundle(tmp_path)), "--url", server.url, "--queries", "4"])
        assert "recall@10 against exact search: backbone 1.0000, aligned 1.0000" in capsys.readouterr().out
        asked = [one["params"]["exact"] for one in server.asked]
        assert len(asked) == 2 * 4 * len(SPACES) and sum(asked) == len(asked) / 2


def test_the_app_says_what_is_missing_and_how_to_load_it(loaded, tmp_path, capsys):
    bundle = str(loaded[0])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert app.main(["--bundle", bundle, "--qdrant", url]) == 2
    assert f"{url} does not answer" in capsys.readouterr().err
    with stand_in() as server:
        assert app.main(["--bundle", bundle, "--qdrant", server.url]) == 2
        said = capsys.readouterr().err
        assert "there is no collection aad-tiny-backbone-" in said
        assert f"python -m precompute.load_qdrant --bundle {bundle} --url {server.url}" in said
    assert app.main(["--bundle", bundle, "--qdrant", str(tmp_path / "empty")]) == 2
    assert "there are no collections in the folder" in capsys.readouterr().err
    assert not (tmp_path / "empty").exists()
    assert app.main(["--bundle", bundle, "--qdrant", "localhost:6333"]) == 2
    assert "http://host:port" in capsys.readouterr().err and not Path("localhost:6333").exists()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the client that was refused leaves its lock open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_serves_one_process_at_a_time(loaded):
    with closing(connect(loaded[1])), pytest.raises(QdrantError, match="Only one process"):
        connect(loaded[1])
    gc.collect()
