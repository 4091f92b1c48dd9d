"""What is built of a gallery, stored and opened."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aad.retrieval import (
    CompressedIndex,
    ExactIndex,
    ScanIndex,
    StoredRows,
    build_index,
    method_for,
    open_index,
)
from aad.retrieval import building as building_module
from aad.retrieval import stored as stored_module
from aad.retrieval.building import spread
from tests.retrieval.invented import Built, D, N, grouped, on_disk


def test_the_recall_in_the_settings_is_that_of_the_index(
    stored: StoredRows, built: Built, index: CompressedIndex, queries: np.ndarray
) -> None:
    exact, found = ExactIndex(stored[:]).search(queries, 10).ids, index.search(queries, 10).ids
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(exact, found, strict=True)]
    _, settings = built
    assert settings["recall_at_10"] == pytest.approx(sum(shared) / (10 * len(queries)), abs=1e-4)
    assert settings["recall_at_10"] >= settings["target"] == 0.99
    assert (settings["k"], settings["n_queries"], settings["seed"]) == (10, 30, 0)


def test_an_exact_index_is_done_at_once(stored: StoredRows, queries: np.ndarray) -> None:
    seen: list[int] = []
    arrays, settings = build_index(stored, queries, method="exact", progress=seen.append)
    assert seen == [N] and arrays == {}
    assert (settings["recall_at_10"], settings["recall_error"], settings["stepped_up"]) == (1.0, 0.0, [])


def test_the_page_tells_what_is_built(stored: StoredRows, built: Built) -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8").split())
    assert f"above the target ({built[1]['target']}) by two of its standard errors" in page
    assert (building_module.N_ERRORS, method_for(200_000), method_for(200_001)) == (2, "exact", "compressed")
    rerank = building_module.RERANKS
    assert f"more candidates are compared, up to {rerank[-1]:,}, then" in page
    assert list(rerank) == sorted(rerank) and all(2 * a >= b for a, b in pairwise(rerank[1:]))  # no step is too far
    assert f"{building_module.N_SAMPLE:,} rows stand for the rest" in page and "| up to 200,000 | `exact`" in page


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


def test_settings_that_do_not_fit_are_refused(stored: StoredRows, built: Built) -> None:
    arrays, settings = built
    for wrong in ({"method": "magic"}, {"rerank": 0}, {"rerank": "many"}, {"rerank": True}, {"rerank": 10**9 + 1}):
        with pytest.raises(ValueError, match="of the index must be"):
            open_index(stored, arrays, settings | wrong)
    assert open_index(stored, arrays, settings | {"rerank": 10**9}).search(stored[:1], 1).ids.tolist() == [[0]]
    if settings["method"] == "clustered":
        with pytest.raises(ValueError, match="n_probe of the index must be a whole number, 1 to"):
            open_index(stored, arrays, settings | {"n_probe": 10**6})
