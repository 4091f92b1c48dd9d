"""Codes in memory and rows on disk: what they find, against all rows."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad.backbones import l2_normalise
from aad.retrieval import (
    CompressedIndex,
    ExactIndex,
    ScanIndex,
    StoredRows,
    TailSample,
    build_index,
    method_for,
    open_index,
)
from aad.retrieval import building as building_module
from aad.retrieval import codes as codes_module
from aad.retrieval import compressed as compressed_module
from aad.retrieval import stored as stored_module
from aad.retrieval.building import spread
from aad.retrieval.codes import Codec, FlatCodes, ListedCodes, assign_cells, train_cells, train_codec

Built = tuple[dict[str, np.ndarray], dict[str, Any]]
N, D = 6000, 44  # 44: padded to 48 for the codes


def grouped(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    """Rows around 60 centres, as pictures of 60 concepts."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, d))
    return l2_normalise(centres[rng.integers(60, size=n)] + 0.4 * rng.normal(size=(n, d)))


def asked(gallery: np.ndarray, m: int = 30) -> np.ndarray:
    """Queries from outside: near a row, with a shift that no row has."""
    rng = np.random.default_rng(9)
    shift = 0.3 * l2_normalise(rng.normal(size=(1, gallery.shape[1])))
    near = gallery[rng.integers(len(gallery), size=m)]
    return l2_normalise(near + shift + 0.05 * rng.normal(size=(m, gallery.shape[1])))


def on_disk(folder: Path, gallery: np.ndarray) -> StoredRows:
    np.save(folder / "rows.npy", gallery.astype(np.float16))
    return StoredRows(folder / "rows.npy")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredRows:
    return on_disk(tmp_path_factory.mktemp("rows"), grouped())


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return asked(grouped())


@pytest.fixture(scope="module", params=["compressed", "clustered"])
def built(request: pytest.FixtureRequest, stored: StoredRows, queries: np.ndarray) -> Built:
    return build_index(stored, queries, method=request.param)


@pytest.fixture(scope="module")
def in_cells(stored: StoredRows, queries: np.ndarray) -> Built:
    return build_index(stored, queries, method="clustered", target=0.5)


@pytest.fixture
def index(stored: StoredRows, built: Built) -> CompressedIndex:
    opened = open_index(stored, *built)
    assert isinstance(opened, CompressedIndex)
    return opened


def test_what_is_found_is_exact_to_the_bit(stored: StoredRows, index: CompressedIndex, queries: np.ndarray) -> None:
    exact, found = ExactIndex(stored[:]).search(queries, 10), index.search(queries, 10)
    same = exact.ids == found.ids
    assert same.mean() > 0.97
    assert found.similarities[same].tobytes() == exact.similarities[same].tobytes()
    assert not found.estimated and found.log_mass is None


def test_the_recall_in_the_settings_is_that_of_the_index(
    stored: StoredRows, built: Built, index: CompressedIndex, queries: np.ndarray
) -> None:
    exact, found = ExactIndex(stored[:]).search(queries, 10).ids, index.search(queries, 10).ids
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(exact, found, strict=True)]
    _, settings = built
    assert settings["recall_at_10"] == pytest.approx(sum(shared) / (10 * len(queries)), abs=1e-4)
    assert settings["recall_at_10"] >= settings["target"] == 0.99
    assert (settings["k"], settings["n_queries"], settings["seed"]) == (10, 30, 0)


def test_all_similarities_are_those_of_the_rows(
    stored: StoredRows, index: CompressedIndex, queries: np.ndarray
) -> None:
    assert np.array_equal(index.similarities(queries), ScanIndex(stored).similarities(queries))


def test_one_candidate_is_enough_and_an_eighth_of_the_rows_is_all(stored: StoredRows, built: Built) -> None:
    arrays, settings = built
    assert open_index(stored, arrays, settings | {"rerank": 1}).rerank == 1
    for rerank, everything in ((N // 8 - 1, False), (N // 8, True)):
        assert open_index(stored, arrays, settings | {"rerank": rerank}).reads_all(1) is everything


def test_ten_candidates_are_compared_for_each_that_is_named_and_one_at_least(
    stored: StoredRows, index: CompressedIndex
) -> None:
    assert (index.n_candidates(1), index.n_candidates(2000)) == (index.rerank, 20_000)
    with pytest.raises(ValueError, match="rerank must be at least 1, got 0"):
        CompressedIndex(stored, index._codes, index._sample, 0)


def test_only_what_may_be_among_the_named_is_compared_twice(
    index: CompressedIndex, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    way = compressed_module.nearest_exactly
    monkeypatch.setattr(
        compressed_module,
        "nearest_exactly",
        lambda query, ids, *more: compared.append(len(ids)) or way(query, ids, *more),
    )
    found = index.search(queries, 20)
    assert found.ids.shape == (30, 20) and min(compared) >= 20 and max(compared) < 30


def test_codes_are_of_rows_around_their_middle(stored: StoredRows) -> None:
    codec = train_codec(stored[:], 0)
    assert np.abs(codec.rotate(stored[:]).mean(0)).max() < 1e-5


def test_an_exact_index_is_done_at_once(stored: StoredRows, queries: np.ndarray) -> None:
    seen: list[int] = []
    arrays, settings = build_index(stored, queries, method="exact", progress=seen.append)
    assert seen == [N] and arrays == {}
    assert (settings["recall_at_10"], settings["recall_error"], settings["stepped_up"]) == (1.0, 0.0, [])


def test_the_page_tells_what_is_built(stored: StoredRows, built: Built) -> None:
    page = " ".join((Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8").split())
    assert f"above the target ({built[1]['target']}) by two of its standard errors" in page
    assert (building_module.N_ERRORS, method_for(200_000), method_for(200_001)) == (2, "exact", "compressed")
    rerank = building_module.RERANKS
    assert f"more candidates are compared, up to {rerank[-1]:,}, then" in page
    assert list(rerank) == sorted(rerank) and all(2 * a >= b for a, b in pairwise(rerank[1:]))  # no step is too far
    assert f"{building_module.N_SAMPLE:,} rows stand for the rest" in page and "| up to 200,000 | `exact`" in page


def test_a_gallery_that_is_easy_to_tell_apart_is_searched_as_if_exactly(tmp_path: Path) -> None:
    gallery = grouped(4000, 32)
    stored = on_disk(tmp_path, gallery)
    arrays, settings = build_index(stored, gallery[:40], method="compressed", target=1)
    assert (settings["recall_at_10"], settings["stepped_up"]) == (1.0, [])
    index = open_index(stored, arrays, settings)
    exact, found = ScanIndex(stored).search(gallery[:40], 3), index.search(gallery[:40], 3)
    assert np.array_equal(exact.ids, found.ids)
    assert exact.similarities.tobytes() == found.similarities.tobytes()


def test_filters_are_exact(stored: StoredRows, index: CompressedIndex, queries: np.ndarray) -> None:
    exact = ScanIndex(stored)
    for share in (0.01, 0.7):
        among = np.random.default_rng(3).random(N) < share
        for more in ({}, {"without": 17}):
            wanted, found = exact.search(queries, 8, among=among, **more), index.search(queries, 8, among=among, **more)
            assert np.array_equal(wanted.ids, found.ids)
            assert wanted.similarities.tobytes() == found.similarities.tobytes()
    assert index.search(queries, 8, among=np.zeros(N, bool)).ids.shape == (30, 0)


def test_a_row_left_out_is_not_named(stored: StoredRows, index: CompressedIndex) -> None:
    itself = stored[np.array([123])]
    assert index.search(itself, 1).ids.tolist() == [[123]]
    found = index.search(itself, 5, without=123, inverse_temperature=20.0)
    exact = ScanIndex(stored).search(itself, 5, without=123, inverse_temperature=20.0)
    assert np.array_equal(found.ids, exact.ids)
    assert found.log_mass == pytest.approx(exact.log_mass, abs=0.2)


@pytest.mark.parametrize("beta", [5.0, 20.0, 60.0])
def test_the_mass_is_near_and_called_an_estimate(
    stored: StoredRows, index: CompressedIndex, queries: np.ndarray, beta: float
) -> None:
    exact = ScanIndex(stored).search(queries, 5, inverse_temperature=beta)
    few = ScanIndex(stored).search(queries, 5, among=np.arange(N) < 50)
    found = index.search(queries, 5, inverse_temperature=beta)
    among = index.search(queries, 5, among=np.arange(N) < 50, inverse_temperature=beta)
    assert found.estimated and among.estimated and not exact.estimated
    assert found.log_mass == pytest.approx(exact.log_mass, abs=0.15)  # 15 % of the mass
    assert found.log_mass is not None and among.log_mass is not None
    assert np.array_equal(found.log_mass, among.log_mass)  # a filter moves no weight
    assert np.array_equal(among.ids, few.ids) and np.array_equal(among.similarities, few.similarities)


def test_nearly_all_rows_wanted_are_read_and_the_mass_is_exact(
    stored: StoredRows, index: CompressedIndex, queries: np.ndarray
) -> None:
    found = index.search(queries[:2], N + 5, inverse_temperature=9.0)
    exact = ScanIndex(stored).search(queries[:2], N + 5, inverse_temperature=9.0)
    assert found.ids.shape == (2, N) and np.array_equal(found.ids, exact.ids)
    assert not found.estimated and np.array_equal(found.log_mass, exact.log_mass)


def test_cells_with_too_few_rows_are_made_up_for(stored: StoredRows, in_cells: Built) -> None:
    arrays, settings = in_cells
    far = arrays["cells"].copy()
    far[:] = 0
    far[:3] = 1  # a cell of three rows
    probed = open_index(stored, arrays | {"cells": far}, settings | {"n_probe": 1})
    towards = (arrays["rotation"] @ arrays["centroids"][1])[None]
    towards /= np.linalg.norm(towards)
    assert np.array_equal(probed.search(towards, 10).ids, ScanIndex(stored).search(towards, 10).ids)


def test_building_twice_gives_the_same_bytes(stored: StoredRows, built: Built, queries: np.ndarray) -> None:
    seen: list[int] = []
    arrays, settings = build_index(stored, queries, method=built[1]["method"], progress=seen.append)
    assert settings == built[1]
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in built[0].items()
    }
    assert sum(seen) == N * (1 + ("cells" in arrays))  # a second pass puts rows in cells
    other, _ = build_index(stored, queries, method=built[1]["method"], seed=1)
    assert other["codebook"].tobytes() != arrays["codebook"].tobytes()


def test_every_piece_of_a_code_has_as_much_to_say() -> None:
    d, n_pieces = 36, 12
    sample = np.random.default_rng(5).normal(size=(20_000, d)) * 0.8 ** np.arange(d)
    codec = train_codec(sample.astype(np.float32), 0)
    spreads = np.log(np.var(sample @ codec.rotation, axis=0)).reshape(n_pieces, 3).sum(1)
    assert np.ptp(spreads) < 5  # axes dealt in one direction only: 14.7


def test_axes_are_the_principal_ones_around_the_middle_and_the_least_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codes_module, "N_PIECES", 4)
    turned, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(36, 36)))
    variances = 0.8 ** np.arange(36)
    sample = (np.random.default_rng(5).normal(size=(20_000, 36)) * np.sqrt(variances)) @ turned.T + 3 * turned[:, 0]
    codec = train_codec(sample.astype(np.float32), 0)
    found = np.cov(sample @ codec.rotation, rowvar=False)
    assert np.sort(np.diag(found))[::-1] == pytest.approx(variances[:12], rel=0.05)
    assert np.abs(found - np.diag(np.diag(found))).max() < 1e-4
    plain = Codec(codec.rotation, codec.codebook)  # as it is opened: where the middle is moves no rank
    assert plain.rotate(sample[:9]) - codec.centre == pytest.approx(codec.rotate(sample[:9]), abs=1e-5)


def test_codes_in_cells_that_are_all_scanned_are_the_same_codes(in_cells: Built, queries: np.ndarray) -> None:
    arrays, _ = in_cells
    codec = Codec(arrays["rotation"], arrays["codebook"])
    flat = FlatCodes(codec, arrays["codes"]).candidates(queries, 500)
    n_cells = len(arrays["centroids"])
    listed = ListedCodes(codec, arrays["codes"], arrays["centroids"], arrays["cells"], n_cells)
    found = listed.candidates(queries, 500)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(flat, found, strict=True)]) > 0.99  # but for ties at the end
    everything = listed.candidates(queries[:1], N)
    assert sorted(everything[0].tolist()) == list(range(N))


def test_the_fewest_pieces_are_two_and_they_are_even(tmp_path: Path) -> None:
    gallery = grouped(40, 6)
    stored = on_disk(tmp_path, gallery)
    arrays, settings = build_index(stored, gallery[:3], method="compressed")
    assert len(arrays["codebook"]) == 2
    assert np.array_equal(
        open_index(stored, arrays, settings).search(gallery, 4).ids, ScanIndex(stored).search(gallery, 4).ids
    )
    for pieces in (0, 1, 3):
        fitting = {
            "rotation": np.ones((6, 3 * pieces), np.float32),
            "codebook": np.ones((pieces, 16, 3), np.float32),
            "codes": np.zeros((40, pieces // 2), np.uint8),
        }
        with pytest.raises(
            ValueError, match=f"codebook of the index must be of an even number of pieces, got {pieces}"
        ):
            open_index(stored, arrays | fitting, settings)


def noise(folder: Path) -> tuple[StoredRows, np.ndarray]:
    """A gallery of pure noise, the hardest there is: nothing is much nearer than the rest."""
    rng = np.random.default_rng(4)
    return on_disk(folder, l2_normalise(rng.normal(size=(5000, 64)))), l2_normalise(rng.normal(size=(40, 64)))


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
    arrays, settings = build_index(stored, queries, method="compressed", target=0.5)
    exact = ExactIndex(stored[:]).search(queries, 10).ids
    found = open_index(stored, arrays, settings).search(queries, 10).ids
    shares = np.array([np.isin(near, own).mean() for near, own in zip(exact, found, strict=True)])
    assert settings["recall_at_10"] == pytest.approx(shares.mean(), abs=1e-4) and shares.mean() < 0.95
    assert settings["recall_error"] == pytest.approx(shares.std() / np.sqrt(40), abs=1e-4)
    _, same = build_index(stored, queries, method="compressed", target=settings["recall_at_10"])
    assert same["method"] == "compressed"


@pytest.mark.parametrize(("n", "n_train", "n_cells"), [(1100, 1100, 32), (1100, 341, 10), (1100, 320, 10)])
def test_cells_are_near_the_root_of_the_gallery_and_one_in_32_of_what_they_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, n_train: int, n_cells: int
) -> None:
    asked: list[int] = []
    way = building_module.train_cells
    monkeypatch.setattr(building_module, "N_TRAIN", n_train)
    monkeypatch.setattr(building_module, "train_cells", lambda rows, n, seed: asked.append(n) or way(rows, n, seed))
    gallery = grouped(n, 10)
    build_index(on_disk(tmp_path, gallery), gallery[:5], method="clustered", target=0.3)
    assert asked == [n_cells] and isinstance(asked[0], int)


def test_a_sample_has_one_row_of_each_stretch_and_any_of_them() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([spread(100, 10, rng) for _ in range(300)])
    assert np.array_equal(drawn // 10, np.tile(np.arange(10), (300, 1)))
    assert drawn.min() == 0 and drawn.max() == 99


def test_a_gallery_that_is_read_in_pieces_is_built_and_measured_the_same(
    stored: StoredRows, queries: np.ndarray, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_module, "CHUNK_BYTES", 4 * D * 2500)
    seen: list[int] = []
    arrays, settings = build_index(stored, queries, method=built[1]["method"], progress=seen.append)
    assert seen == [2500, 2500, 1000] * (1 + ("cells" in arrays)) and settings == built[1]
    assert (arrays["codes"] == built[0]["codes"]).mean() > 0.999  # other products round otherwise
    assert ("cells" not in arrays) or (arrays["cells"] == built[0]["cells"]).mean() > 0.999


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


@pytest.mark.parametrize("method", ["exact", "scan", "compressed", "clustered"])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_tiny_gallery_works_with_every_method(tmp_path: Path, method: str, n: int) -> None:
    gallery = grouped(n, 10)
    gallery[0] = 0
    stored = on_disk(tmp_path, gallery)
    arrays, settings = build_index(stored, gallery[-1:], method=method)
    assert settings["method"] == method
    index = open_index(stored, arrays, settings)
    assert np.array_equal(index.search(gallery, 4).ids, ScanIndex(stored).search(gallery, 4).ids)
    assert len(index) == n and index.dim == 10


def test_what_cannot_be_built_is_refused(stored: StoredRows, queries: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="method must be one of exact, compressed"):
        build_index(stored, queries, method="fast")
    for target in (1.2, 0, -0.5):
        with pytest.raises(ValueError, match="target must be a recall above 0"):
            build_index(stored, queries, target=target)
    assert build_index(stored, queries, target=1, method="scan")[1]["target"] == 1
    with pytest.raises(ValueError, match=r"queries must be \(m, 44\)"):
        build_index(stored, queries[:, :9])
    with pytest.raises(ValueError, match="needs rows, and queries to measure it on, got 6000 and 0"):
        build_index(stored, queries[:0], method="compressed")
    with pytest.raises(ValueError, match="got 0 and 30"):
        build_index(on_disk(tmp_path, grouped()[:0]), queries, method="clustered")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rotation", lambda a: a[:-1]),
        ("rotation", lambda a: np.where(np.arange(a.shape[1]) == 1, np.nan, a).astype(np.float32)),
        ("codebook", lambda a: a.astype(np.float64)),
        ("codebook", lambda a: a[:-1]),
        ("codebook", lambda a: a[0, 0, 0]),
        ("codes", lambda a: a[:-1]),
        ("codes", lambda a: a.astype(np.int16)),
        ("sample_ids", lambda a: a + N),
        ("sample_ids", lambda a: np.append(a[:-1], N)),
        ("sample_ids", lambda a: np.append(a[:-1], -1)),
        ("sample_ids", lambda a: a[[0, 0, 1]]),
        ("centroids", lambda a: a[:, :-1]),
        ("cells", lambda a: a - 1),
        ("cells", lambda a: a[:9]),
    ],
)
def test_stored_arrays_that_do_not_fit_are_refused(stored: StoredRows, in_cells: Built, name: str, change: Any) -> None:
    arrays, settings = in_cells
    with pytest.raises(ValueError, match=r"of the index must be|of a sample must be"):
        open_index(stored, arrays | {name: change(arrays[name])}, settings)
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_index(stored, {key: array for key, array in arrays.items() if key != name}, settings)


def test_settings_that_do_not_fit_are_refused(stored: StoredRows, built: Built) -> None:
    arrays, settings = built
    for wrong in ({"method": "magic"}, {"rerank": 0}, {"rerank": "many"}, {"rerank": True}, {"rerank": 10**9 + 1}):
        with pytest.raises(ValueError, match="of the index must be"):
            open_index(stored, arrays, settings | wrong)
    assert open_index(stored, arrays, settings | {"rerank": 10**9}).search(stored[:1], 1).ids.tolist() == [[0]]
    if settings["method"] == "clustered":
        with pytest.raises(ValueError, match="n_probe of the index must be a whole number, 1 to"):
            open_index(stored, arrays, settings | {"n_probe": 10**6})


def test_a_sample_that_is_the_gallery_gives_the_exact_mass() -> None:
    gallery = grouped(300)
    query, beta = gallery[:1], 7.0
    exact = ExactIndex(gallery).search(query, 20, without=4, inverse_temperature=beta)
    found = TailSample(gallery, np.arange(300), 300).log_mass(query, beta, exact.ids, exact.similarities, without=4)
    assert found == pytest.approx(exact.log_mass, abs=1e-6)


def test_places_without_a_candidate_count_for_nothing() -> None:
    gallery = grouped(300)
    sample = TailSample(gallery, np.arange(300), 300)
    near = ExactIndex(gallery).search(gallery[:1], 20, without=4)
    more = np.append(near.ids, [[-1, 4]], axis=1), np.append(near.similarities, [[1, 1]], axis=1).astype(np.float32)
    for without in (None, 4):
        kept = slice(0, 21 if without is None else 22)  # a row that is left out may be among the candidates
        found = sample.log_mass(gallery[:1], 7.0, more[0][:, kept], more[1][:, kept], without)
        assert found == pytest.approx(sample.log_mass(gallery[:1], 7.0, near.ids, near.similarities, without), abs=1e-9)


def test_candidates_that_are_the_gallery_have_no_tail() -> None:
    gallery = grouped(30)
    everything = ExactIndex(gallery).search(gallery[:2], 30, inverse_temperature=7.0)
    sample = TailSample(gallery[:3], np.arange(3), 30)
    found = sample.log_mass(gallery[:2], 7.0, everything.ids, everything.similarities)
    assert found == pytest.approx(everything.log_mass, abs=1e-6)
    last = everything.ids[:, -1:]
    sample = TailSample(gallery[last[0]], last[0], 30)  # the one row of the first query's tail
    found = sample.log_mass(gallery[:1], 7.0, everything.ids[:1, :-1], everything.similarities[:1, :-1])
    assert everything.log_mass is not None and found == pytest.approx(everything.log_mass[:1], abs=1e-6)


def test_a_sample_that_is_all_near_is_bounded_by_the_last_that_is() -> None:
    gallery = grouped(300)
    near = ExactIndex(gallery).search(gallery[:1], 20)
    sample = TailSample(gallery[near.ids[0, :5]], near.ids[0, :5], 300)
    found = sample.log_mass(gallery[:1], 7.0, near.ids, near.similarities)
    each = np.exp(7.0 * near.similarities[0].astype(float))
    assert found == pytest.approx(np.log(each.sum() + 280 * each.min()), abs=1e-5)


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(s, d\) rows with \(s,\) ids"):
        TailSample(grouped(4), np.arange(3), 9)
    for ids in ([0, 1, 1], [0, 1, 9], [-1, 0, 1]):
        with pytest.raises(ValueError, match="ids of a sample must be different and within 0 to 8"):
            TailSample(grouped(3), np.array(ids), 9)
