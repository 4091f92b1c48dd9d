"""What the page is told of a match; what may be asked is in test_requests.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad.backbones import BackboneError
from aad.spaces import SPACES
from interface import explain, present
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=2)


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
    address = present.file_url(uploads / "mine.png")
    assert set(ask(attributor, {"picture": address, "reference": 0})) == {"side", "unit", "spaces"}


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
