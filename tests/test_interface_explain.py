"""What the page is told of a match, and that nobody can have another file read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad.backbones import BackboneError
from aad.spaces import SPACES
from interface import explain, present
from interface.requests import SERVED, uploaded
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=2)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def ask(attributor: Any, request: Any) -> dict[str, Any]:
    (explain_match,) = explain.functions(attributor)
    answer = explain_match(request)
    json.dumps(answer)
    return answer


def test_heat_travels_as_whole_numbers_and_arrives_as_it_was(attributor: FakeAttributor) -> None:
    answer, expected = ask(attributor, {"query": 1, "reference": 4}), attributor.explain(1, 4)
    assert answer["side"] == 7 and list(answer["spaces"]) == [str(space) for space in SPACES]
    for space in SPACES:
        part = answer["spaces"][space]
        assert part["similarity"] == pytest.approx(expected[space].similarity, abs=1e-5)
        for key, heat in (("query", expected[space].heat_query), ("reference", expected[space].heat_reference)):
            assert all(isinstance(number, int) for number in part[key])
            arrived = np.reshape(part[key], (7, 7)) * answer["unit"]
            assert np.allclose(arrived, heat, atol=answer["unit"] / 2 + 1e-12)


def test_a_picture_searched_again_is_handed_on_as_a_reference(attributor: FakeAttributor) -> None:
    query, reference_id = explain.asked(attributor, {"searched": 3, "reference": 4})
    assert query is attributor.references[3] and reference_id == 4


def test_an_upload_is_explained_by_the_address_that_its_answer_carries(
    attributor: FakeAttributor, uploads: Path
) -> None:
    path = uploads / "0f3a" / "my cat, 50 %.png"
    path.parent.mkdir()
    Image.new("RGB", (40, 30), "teal").save(path)
    address = present.file_url(path)
    assert uploaded(address) == path.resolve()
    assert set(ask(attributor, {"picture": address, "reference": 0})) == {"side", "unit", "spaces"}


@pytest.mark.parametrize(
    "attack", ["outside", "dots", "link", "folder", "gone", "bare", "nul", "long", "number", "none"]
)
def test_no_other_file_is_opened(
    attributor: FakeAttributor, uploads: Path, tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 30)).save(secret)
    (uploads / "link.png").symlink_to(secret)
    address: Any = {
        "outside": present.file_url(secret),
        "dots": f"{SERVED}{uploads}/../secret.png",
        "link": f"{SERVED}{uploads}/link.png",
        "folder": f"{SERVED}{uploads}",
        "gone": f"{SERVED}{uploads}/gone.png",
        "bare": str(secret),
        "nul": f"{SERVED}{uploads}/%00.png",
        "long": SERVED + str(uploads) + "/./" * 3000,
        "number": 7,
        "none": None,
    }[attack]
    monkeypatch.setattr(attributor, "explain", lambda *_: pytest.fail("the file was handed on"))
    answer = ask(attributor, {"picture": address, "reference": 0})
    assert list(answer) == ["error"] and "upload it again" in answer["error"]
    assert "secret" not in answer["error"]


@pytest.mark.parametrize("number", [-1, 26, True, "1", None, 1.5, [1]])
@pytest.mark.parametrize("name", ["reference", "query", "searched"])
def test_a_number_out_of_place_is_refused_in_words(attributor: FakeAttributor, name: str, number: Any) -> None:
    answer = ask(
        attributor,
        {"query": 0, "reference": 0} | {name: number} if name != "searched" else {name: number, "reference": 0},
    )
    assert answer["error"].lower().startswith(f"{name} must be a whole number from 0 to")


@pytest.mark.parametrize("request_", [None, [], "x", {}])
def test_what_is_no_request_is_refused_in_words(attributor: FakeAttributor, request_: Any) -> None:
    assert list(ask(attributor, request_)) == ["error"]


def test_missing_weights_are_told(attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_weights(*_: Any) -> None:
        raise BackboneError("the weights are not installed: run pip install")

    monkeypatch.setattr(attributor, "explain", without_weights)
    assert ask(attributor, {"query": 0, "reference": 0}) == {"error": "The weights are not installed: run pip install"}


def test_a_backbone_without_regions_gives_its_reason_at_once_and_when_asked(attributor: FakeAttributor) -> None:
    class Plain:
        references, queries, stamp = attributor.references, attributor.queries, {"backbone": "dino_vits16"}

    assert explain.value(attributor) == {"reason": None}
    reason = explain.value(Plain())["reason"]
    assert "dino_vits16" in reason
    assert ask(Plain(), {"query": 0, "reference": 0}) == {"error": reason}
