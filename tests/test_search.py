"""Exact search, in memory and from disk, against a full sort; ranks that fold near-copies."""

import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from aad import Attributor, Space
from aad import search as search_module
from aad.scale.stored import StoredRows
from aad.search import NEAR_COPY, ExactIndex, nearest_exactly
from tests.galleries import on_disk, rows
from tests.small import python

Maker = Callable[[np.ndarray], ExactIndex]


@pytest.fixture(params=["memory", "memory in chunks", "disk in chunks"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    if "chunks" in request.param:
        monkeypatch.setattr(search_module, "CHUNK_BYTES", 4096)
    if "memory" in request.param:
        return ExactIndex

    def from_disk(unit_rows: np.ndarray) -> ExactIndex:
        np.save(tmp_path / "rows.npy", unit_rows.astype(np.float32))
        return ExactIndex(StoredRows(tmp_path / "rows.npy"))

    return from_disk


def log_sum(query: np.ndarray, gallery: np.ndarray, beta: float) -> float:
    return float(np.log(sum(np.exp(beta * float(query.astype(float) @ row.astype(float))) for row in gallery)))


def test_search_equals_a_full_sort(make: Maker) -> None:
    gallery, queries = rows(300, 16), rows(20, 16, 1)
    result = make(gallery).search(queries, 10)
    for row, query in enumerate(queries):
        expected = sorted(range(300), key=lambda i: -float(query @ gallery[i]))[:10]
        assert result.ids[row].tolist() == expected
        assert result.similarities[row] == pytest.approx([float(query @ gallery[i]) for i in expected], abs=1e-6)
    assert np.all(np.diff(result.similarities, axis=1) <= 0)
    assert (result.log_mass, result.estimated) == (None, False)
    assert (result.ids.dtype, result.similarities.dtype) == (np.int64, np.float32)
    with pytest.raises(FrozenInstanceError):
        result.estimated = True  # type: ignore[misc]


def test_equal_similarities_are_ordered_by_reference_id(make: Maker) -> None:
    gallery = np.tile(rows(7, 37), (50, 1))  # 50 copies of each, further apart than any kernel of a matrix product
    query = gallery[3:4]
    assert make(gallery).search(query, 50).ids[0].tolist() == list(range(3, 350, 7))
    assert make(gallery).search(query, 5).ids[0].tolist() == [3, 10, 17, 24, 31]


def test_galleries_of_few_rows_of_none_and_of_an_empty_one(make: Maker) -> None:
    assert make(rows(3, 4)).search(rows(1, 4), 50).ids.shape == (1, 3)
    one = make(rows(1, 4)).search(rows(2, 4, 1), 3, inverse_temperature=5.0)
    assert one.ids.tolist() == [[0], [0]]
    assert one.log_mass == pytest.approx(5 * one.similarities[:, 0], abs=1e-5)
    none = make(rows(1, 4)[:0]).search(rows(2, 4), 3, inverse_temperature=5.0)
    alone = make(rows(1, 4)).search(rows(2, 4), 3, without=0, inverse_temperature=5.0)
    for found in (none, alone):
        assert found.ids.shape == (2, 0) and found.log_mass is not None and found.log_mass.tolist() == [-np.inf] * 2
    unasked = make(rows(9, 4)).search(np.zeros((0, 4), np.float32), 3, inverse_temperature=5.0)
    assert (unasked.ids.shape, unasked.ids.dtype) == ((0, 0), np.int64)
    assert unasked.log_mass is not None and unasked.log_mass.shape == (0,) and not unasked.estimated
    gallery = rows(6, 8)
    gallery[[1, 4]] = 0
    result = make(gallery).search(gallery[:1], 6)
    assert result.similarities[0][np.isin(result.ids[0], [1, 4])].tolist() == [0, 0]


def test_only_what_may_be_named_is_named(make: Maker) -> None:
    gallery, queries = rows(300, 16), rows(4, 16, 1)
    for share in (0.02, 0.5):  # few are read one by one, many in one go
        among = np.random.default_rng(2).random(300) < share
        result = make(gallery).search(queries, 5, among=among)
        for row, query in enumerate(queries):
            expected = sorted(np.flatnonzero(among).tolist(), key=lambda i: -float(query @ gallery[i]))[:5]
            assert result.ids[row].tolist() == expected
    assert make(gallery).search(queries, 5, among=np.zeros(300, bool)).ids.shape == (4, 0)


def test_a_row_left_out_is_neither_named_nor_counted(make: Maker) -> None:
    gallery = rows(40, 16)
    among = np.arange(40) < 20
    result = make(gallery).search(gallery[[7]], 30, among=among, without=7, inverse_temperature=9.0)
    assert sorted(result.ids[0].tolist()) == [i for i in range(20) if i != 7]
    assert result.log_mass is not None and not result.estimated
    assert result.log_mass[0] == pytest.approx(log_sum(gallery[7], np.delete(gallery, 7, 0), 9.0), abs=1e-5)
    assert among[7]  # the caller's own


def test_the_mass_is_that_of_the_whole_gallery(make: Maker) -> None:
    gallery, queries = rows(200, 16), rows(3, 16, 1)
    for beta in (0.0, 8.0, 900.0):  # 900: exp of it is beyond a float64
        found = make(gallery).search(queries, 2, among=np.arange(200) < 9, inverse_temperature=beta).log_mass
        assert found is not None
        if beta < 100:
            assert found == pytest.approx([log_sum(query, gallery, beta) for query in queries], abs=1e-5)
        else:
            assert found == pytest.approx(900 * (queries @ gallery.T).max(1), abs=3.0)


def test_memory_and_disk_and_single_questions_give_the_same_bits(tmp_path: Path) -> None:
    stored, queries = on_disk(tmp_path, rows(500, 23)), rows(9, 23, 1)
    memory, disk = ExactIndex(stored[:]).search(queries, 40), ExactIndex(stored).search(queries, 40)
    one_by_one = [ExactIndex(stored).search(query[None], 40) for query in queries]
    assert np.array_equal(memory.ids, disk.ids)
    assert memory.similarities.tobytes() == disk.similarities.tobytes()
    assert memory.similarities.tobytes() == b"".join(one.similarities.tobytes() for one in one_by_one)


def test_the_second_look_takes_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "WIDEN", 10)
    gallery, query, seen = rows(35, 16), rows(1, 16, 1)[0], list[int]()
    ids, similarities = nearest_exactly(query, np.arange(35), lambda ids: (seen.append(len(ids)), gallery[ids])[1], 35)
    assert seen == [10, 10, 10, 5] and sorted(ids.tolist()) == list(range(35))
    assert similarities == pytest.approx(gallery[ids] @ query, abs=1e-6)


def test_all_similarities_and_single_rows(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = rows(300, 8), rows(2, 8, 1)
    index = make(gallery)
    with monkeypatch.context() as patch:  # memory that was never written may hold right values by chance
        patch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, -9, dtype))
        found = index.similarities(queries)
    assert found == pytest.approx(queries @ gallery.T, abs=1e-6)
    assert index.rows(np.array([5, 2, 5])) == pytest.approx(gallery[[5, 2, 5]], abs=1e-6)
    assert (index.rows(np.zeros(0, int)).shape, len(index), index.dim) == ((0, 8), 300, 8)


def test_bad_questions_are_refused(make: Maker) -> None:
    index, query = make(rows(3, 4)), rows(1, 4)
    for k in (0, -1):
        with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
            index.search(query, k)
    with pytest.raises(ValueError, match=r"queries must be \(m, 4\), got \(1, 5\)"):
        index.search(rows(1, 5), 1)
    for ask in (lambda queries: index.search(queries, 1), index.similarities):
        with pytest.raises(ValueError, match="queries must be finite"):
            ask(np.array([[1, np.nan, 0, 0]], np.float32))
    for among in (np.arange(3), np.ones(4, bool)):
        with pytest.raises(ValueError, match=rf"among must be \(3,\) bool, got \({len(among)},\) {among.dtype}"):
            index.search(query, 1, among=among)
    for without in (3, -1):
        with pytest.raises(ValueError, match=f"without must be the id of a reference, 0 to 2, got {without}"):
            index.search(query, 1, without=without)


def test_few_rows_are_read_alone_and_many_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    index, query, read = ExactIndex(rows(800, 8)), rows(1, 8, 1), list[int]()
    way = ExactIndex._parts
    monkeypatch.setattr(ExactIndex, "_parts", lambda self, ids: read.append(len(ids)) or way(self, ids))
    for n, beta in ((99, None), (100, None), (5, 9.0)):  # one in eight; and a mass is that of all rows
        index.search(query, 3, among=np.arange(800) < n, inverse_temperature=beta)
    assert read == [99, 800, 800]


def test_a_search_holds_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "CHUNK_BYTES", 1 << 18)
    stored = on_disk(tmp_path, rows(20_000, 64))  # 5 MB in float32
    queries, every_ninth = rows(40, 64, 1), np.arange(20_000) % 9 == 0
    for index, asked in ((ExactIndex(stored), queries[:2]), (ExactIndex(stored[:]), queries)):
        tracemalloc.start()
        try:
            for options in ({"inverse_temperature": 5.0}, {"among": every_ninth}):
                index.search(asked, 10, **options)
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()


def test_near_copies_fold_under_the_best_ranked_one_and_never_under_a_folded_one() -> None:
    near = np.degrees(np.arccos(NEAR_COPY))
    at = np.radians([0, 0.9 * near, 90, 1.8 * near, 90.1])
    attributor = Attributor.__new__(Attributor)
    attributor._near_copy, index = NEAR_COPY, ExactIndex(np.stack([np.cos(at), np.sin(at)], 1))
    attributor._index = {Space.BACKBONE: index}
    assert attributor.near_copies(range(5)) == [None, 0, None, None, 2]


def test_a_small_bundle_is_answered_without_network_torch_and_what_is_for_millions(bundle: Path) -> None:
    code = (
        "import sys; from aad import Attributor; a = Attributor.load(sys.argv[1]); a.attribute_query(0, 5); "
        "a.attribute_reference(2, 3); assert not a.ready; "
        "heavy = ('torch', 'timm', 'umap', 'matplotlib', 'gradio', 'faiss', 'aad.scale'); "
        "sys.exit(any(m in sys.modules for m in heavy))"
    )
    python(code, bundle)
