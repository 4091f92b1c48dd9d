"""Inspect without a browser: what it is sent, what may be asked, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aad.spaces import SPACES
from interface import inspection, pictures
from interface.outcomes import outcomes_of
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=4, n_queries=60)


@pytest.fixture(scope="module")
def server(attributor: FakeAttributor) -> dict[str, Callable[..., Any]]:
    return {function.__name__: function for function in inspection.functions(attributor)}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), f"<u{packed['bits'] // 8}").astype(np.int64)


def words(indexed: dict[str, Any]) -> list[str]:
    return [indexed["values"][i] for i in unpack(indexed["index"])]


def test_table_holds_what_inspect_does_not_list(
    attributor: FakeAttributor, server: dict[str, Callable[..., Any]]
) -> None:
    sent = json.loads(json.dumps(server["inspect_outcomes"]({})))
    outcomes = outcomes_of(attributor)
    m = len(outcomes)
    assert unpack(sent["truth"]).tolist() == [ids[0] for ids in outcomes.exemplar_ids]
    assert unpack(sent["sources"]).tolist() == [len(ids) for ids in outcomes.exemplar_ids]
    assert (unpack(sent["found"]).reshape(3, m) == outcomes.n_first_five).all()
    assert (unpack(sent["first"]).reshape(3, m) == outcomes.neighbours[:, :, 0]).all()
    assert np.allclose(unpack(sent["similarity"]).reshape(3, m) / 65535 * 2 - 1, outcomes.similarity, atol=2e-5)
    parts = [words(sent["pictures"][part]) for part in ("root", "folder", "file")]
    assert ["".join(one) for one in zip(*parts, strict=True)] == [
        pictures.file_url(attributor.queries[query_id].path) for query_id in outcomes.query_ids
    ]


def test_shipped_table_is_small(shipped: Any) -> None:
    sent = json.dumps(inspection.table(shipped))
    assert len(sent) < 250_000, "1,999 queries travel in less than a quarter of a megabyte"


def test_numbers_travel_in_the_narrowest_form_that_holds_them_and_masks_come_back() -> None:
    for numbers, bits in (([], 8), ([255], 8), ([256], 16), ([65_536, 3], 32)):
        packed = inspection.packed(numbers)
        assert packed["bits"] == bits and unpack(packed).tolist() == numbers
    for m in (1, 8, 9, 60):
        rows = np.random.default_rng(m).random(m) < 0.5
        rows[-1] = True
        assert (inspection.chosen({"rows": inspection.bit_mask(rows)}, m) == rows).all()


def test_rare_values_are_counted_but_not_measured_apart(
    attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "AT_MOST", 2)
    outcomes = outcomes_of(attributor)
    rows = np.ones(len(outcomes), bool)
    reply = inspection.recalls(outcomes, rows, "R@1", "group")
    counts = sorted(np.unique(outcomes.labels["group"].astype(str), return_counts=True)[1].tolist(), reverse=True)
    assert sorted((one["n"] for one in reply["by"]), reverse=True) == counts[:2]
    assert reply["left_out"] == len(outcomes) - sum(counts[:2])


def test_hubs_are_those_of_the_outcomes(attributor: FakeAttributor, server: dict[str, Callable[..., Any]]) -> None:
    outcomes = outcomes_of(attributor)
    rows = outcomes.labels["type"] == "media"
    reply = json.loads(json.dumps(server["inspect_hubs"]({"rows": inspection.bit_mask(rows)})))
    n = len(attributor.references)
    assert reply["expected"] == pytest.approx(10 * rows.sum() / n)
    for space, one in zip(SPACES, reply["spaces"], strict=True):
        counts, all_deserved = outcomes.occurrence(space, rows)
        assert [count for _, count, _ in one["top"]] == sorted(counts.tolist(), reverse=True)[: inspection.N_HUBS]
        assert one["never"] == (counts == 0).sum()
        assert one["curve"][0] == counts.max() and one["curve"] == sorted(one["curve"], reverse=True)
        assert all(deserved == all_deserved[reference] for reference, _, deserved in one["top"])
