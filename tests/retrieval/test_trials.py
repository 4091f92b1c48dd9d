"""Settings tried in turn until the true nearest are found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad.retrieval import (
    CompressedIndex,
    ExactIndex,
    ScanIndex,
    StoredRows,
    build_index,
    open_index,
)
from aad.retrieval import building as building_module
from aad.retrieval.codes import FlatCodes, assign_cells, train_cells, train_codec
from tests.retrieval.invented import grouped, noise, on_disk


def test_recall_that_is_short_is_stepped_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100, 600))
    stored, queries = noise(tmp_path)
    _, settings = build_index(stored, queries, method="compressed", target=0.99)
    (tried,) = settings["stepped_up"]
    assert settings["rerank"] == 600 and settings["recall_at_10"] >= 0.99
    assert tried["rerank"] == 100 and tried["recall_at_10"] < 0.99


def test_no_more_cells_are_scanned_than_hold_the_nearest(
    stored: StoredRows, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_module, "N_PROBE", 1)
    arrays, settings = build_index(stored, queries, method="clustered", target=0.9)
    assert settings["method"] == "clustered" and 1 < settings["n_probe"] <= len(arrays["centroids"]) // 2
    assert settings["recall_at_10"] - 2 * settings["recall_error"] >= 0.9
    exact = ExactIndex(stored[:]).search(queries, 10).ids
    half = open_index(stored, arrays, settings | {"n_probe": settings["n_probe"] // 2}).search(queries, 10).ids
    shares = np.array([np.isin(near, found).mean() for near, found in zip(exact, half, strict=True)])
    assert shares.mean() - 2 * shares.std() / np.sqrt(len(shares)) < 0.9


def test_where_many_cells_would_have_to_be_scanned_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100, 300, 600))
    stored, queries = noise(tmp_path)
    arrays, settings = build_index(stored, queries, method="clustered", target=0.97)
    plain, told = build_index(stored, queries, method="compressed", target=0.97)
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in plain.items()
    }
    assert {**settings, "stepped_up": 0} == {**told, "stepped_up": 0} and settings["method"] == "compressed"
    (tried,) = (one for one in settings["stepped_up"] if "n_probe" in one)
    assert [one.get("rerank") for one in settings["stepped_up"]] == [100, 600, None]
    assert settings["rerank"] == 300  # enough for the target; 600 were tried for half the loss
    n_cells = 64  # near the root of 5,000
    codec = train_codec(stored[:], 0)
    rotated = codec.rotate(stored[:])
    centroids = train_cells(rotated, n_cells, 0)
    cells = assign_cells(rotated, centroids)
    near = ExactIndex(stored[:]).search(queries, 10).ids
    scanned = np.argsort(-(queries @ codec.rotation @ centroids.T), axis=1)[:, : n_cells // 2]
    held = np.array([np.isin(cells[ids], own).mean() for ids, own in zip(near, scanned, strict=True)])
    assert tried["n_probe"] == n_cells // 2 and tried["recall_at_10"] == pytest.approx(held.mean(), abs=1e-4)
    assert tried["recall_error"] == pytest.approx(held.std() / np.sqrt(len(held)), abs=1e-4)
    assert isinstance(open_index(stored, arrays, settings), CompressedIndex)


@pytest.mark.parametrize("until", [9, 10**9])
def test_cells_that_hold_the_nearest_but_find_too_few_are_more_or_none(
    stored: StoredRows, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    monkeypatch.setattr(building_module, "N_PROBE", 4)
    way, scanned = building_module._Trials._try, []

    def doubted(trials: Any, codes: Any, rerank: int, **knobs: int) -> dict[str, Any]:
        found = way(trials, codes, rerank, **knobs)
        if knobs:
            scanned.append(codes.n_probe)
            found["recall_at_10"] *= codes.n_probe > until
        return found

    monkeypatch.setattr(building_module._Trials, "_try", doubted)
    arrays, settings = build_index(stored, queries, method="clustered", target=0.5)
    if until == 9:
        assert scanned == [4, 8, 16] and (settings["method"], settings["n_probe"]) == ("clustered", 16)
    else:
        assert scanned == [4, 8, 16, 32] and settings["method"] == "compressed" and "cells" not in arrays


def test_the_most_candidates_are_kept_where_they_reach_the_target_without_being_sure_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100, 300))
    stored, queries = noise(tmp_path)
    _, settings = build_index(stored, queries, method="clustered", target=0.985)
    assert (settings["method"], settings["rerank"]) == ("compressed", 300)


def test_a_recall_that_others_may_not_have_is_stepped_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, queries = noise(tmp_path)
    monkeypatch.setattr(building_module, "RERANKS", (300,))
    _, once = build_index(stored, queries, method="compressed", target=0.5)
    assert once["recall_at_10"] > 0.5 and once["recall_error"] > 0
    barely = once["recall_at_10"] - once["recall_error"]  # reached on these queries; on others, who knows
    _, kept = build_index(stored, queries, method="compressed", target=barely)
    assert kept == once | {"target": barely}  # nothing else to try
    monkeypatch.setattr(building_module, "RERANKS", (300, 500))
    _, surer = build_index(stored, queries, method="compressed", target=barely)
    assert surer["rerank"] == 500 and surer["stepped_up"][0]["recall_at_10"] == once["recall_at_10"]


@pytest.mark.parametrize("method", ["compressed", "clustered"])
def test_what_no_step_helps_is_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100,))
    stored, queries = noise(tmp_path)
    arrays, settings = build_index(stored, queries, method=method)
    assert arrays == {} and (settings["method"], settings["recall_at_10"]) == ("scan", 1.0)
    assert settings["stepped_up"] and all(step["recall_at_10"] < 0.99 for step in settings["stepped_up"])
    assert isinstance(open_index(stored, arrays, settings), ScanIndex)


def test_half_of_the_loss_that_is_permitted_is_left_for_the_cells(
    stored: StoredRows, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100, 600))
    reranks = {}
    for method in ("compressed", "clustered"):
        _, settings = build_index(stored, queries, method=method, target=0.97)
        assert settings["method"] == method
        reranks[method] = settings["rerank"]
    assert reranks == {"compressed": 100, "clustered": 600}  # whose recall is above 0.97 and above 0.985


def test_a_recall_that_is_just_the_target_is_kept_where_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_module, "RERANKS", (100,))
    stored, queries = noise(tmp_path)
    queries = queries[:30]  # of whose shares four digits are not all
    arrays, settings = build_index(stored, queries, method="compressed", target=0.5)
    exact = ExactIndex(stored[:]).search(queries, 10).ids
    found = open_index(stored, arrays, settings).search(queries, 10).ids
    shares = np.array([np.isin(near, own).mean() for near, own in zip(exact, found, strict=True)])
    assert settings["recall_at_10"] == round(shares.mean(), 4) and shares.mean() < 0.95
    assert settings["recall_error"] == round(shares.std() / np.sqrt(30), 4)
    _, same = build_index(stored, queries, method="compressed", target=settings["recall_at_10"])
    assert same["method"] == "compressed"


def test_copies_of_one_row_do_not_count_as_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = grouped(4000, 32)
    gallery[100:1100] = gallery[100]  # more than are candidates: any ten of them are the ten nearest
    way = FlatCodes.candidates

    def last_first(codes: FlatCodes, queries: np.ndarray, c: int) -> np.ndarray:
        found = way(codes, queries, c)
        found[0] = np.arange(1099, 1099 - c, -1)
        return found

    monkeypatch.setattr(FlatCodes, "candidates", last_first)
    stored = on_disk(tmp_path, gallery)
    _, settings = build_index(stored, gallery[[100, 2000]], method="compressed")
    assert (settings["recall_at_10"], settings["stepped_up"]) == (1.0, [])
