"""The benchmarks on tiny inputs: what they count and sum, never how long it takes."""

from __future__ import annotations

import asyncio
import io
import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad import Attributor
from aad.backbones import load_backbone
from aad.calibration import Calibration
from aad.scale.stored import StoredRows
from aad.search import SearchResult
from aad.spaces import SPACES
from benchmarks import common, embedding, invented, search
from benchmarks import page as page_benchmark
from benchmarks.common import memory_of
from benchmarks.invented import CHUNK, make_chunk, make_gallery, make_queries, measure_domain, moved
from benchmarks.search import recall_of, weight_errors
from benchmarks.serving import KINDS, LARGE, USUAL, Question, ServerError, fault_of, questions, started
from tests.pages import MARKS, Page

pytestmark = MARKS
SPACE, DIM = "disentangled", 16


@pytest.fixture(scope="module")
def domain() -> invented.RealDomain:
    return measure_domain(SPACE, DIM)


def test_a_chunk_follows_from_seed_and_number_only(domain: invented.RealDomain, tmp_path: Path) -> None:
    third, first = make_chunk(domain, 0, 2), make_chunk(measure_domain(SPACE, DIM), 0, 0)
    path = make_gallery(tmp_path / "g.npy", domain, 2 * CHUNK + 3)
    whole = np.load(path, mmap_mode="r")
    assert path.stat().st_size == whole.offset + whole.nbytes
    assert whole.shape == (2 * CHUNK + 3, DIM) and whole.dtype == np.float16
    assert np.array_equal(whole[:CHUNK], first.astype(np.float16))
    assert np.array_equal(whole[2 * CHUNK :], third[:3].astype(np.float16))
    assert np.allclose(np.linalg.norm(third, axis=1), 1, atol=1e-5)
    assert not np.allclose(first, make_chunk(domain, 1, 0))


@pytest.mark.parametrize("space", [*(pytest.param(s, marks=pytest.mark.slow) for s in SPACES[:2]), SPACES[2]])
def test_invented_rows_are_no_easier_to_compress_than_the_real_ones(space: str) -> None:
    domain = measure_domain(space, 128)
    variance = ((domain.references - domain.mean) ** 2).sum(1).mean()
    assert (domain.factor**2).sum() + 128 * domain.floor**2 == pytest.approx(variance, rel=1e-4)
    n = len(domain.references)
    cosines = domain.cosines[:, None]
    real_queries = cosines * domain.references[domain.sources] + np.sqrt(1 - cosines**2) * domain.offsets
    rows, ids = make_chunk(domain, 0, 0)[:n], np.random.default_rng(0).integers(n, size=len(cosines))
    real = _figures(domain.references, real_queries, domain.sources)
    made = _figures(rows, moved(rows[ids], domain, np.arange(len(cosines))), ids)
    assert made["participation"] > 0.9 * real["participation"]
    assert 0.75 < made["any_spread"] / real["any_spread"] < 1.1 and abs(made["any"] - real["any"]) < 0.02
    assert real["nearest"] - 0.15 < made["nearest"] < real["nearest"]
    assert abs(made["query_source"] - real["query_source"]) < 0.01


def _figures(rows: np.ndarray, queries: np.ndarray, sources: np.ndarray) -> dict[str, float]:
    """What decides how hard a search is."""
    among = rows @ rows.T
    off = among[~np.eye(len(rows), dtype=bool)]
    np.fill_diagonal(among, -1)
    spectrum = np.linalg.svd(rows - rows.mean(0), compute_uv=False).astype(np.float64) ** 2
    return {
        "nearest": float(among.max(1).mean()),
        "any": float(off.mean()),
        "any_spread": float(off.std()),
        "participation": float(spectrum.sum() ** 2 / (spectrum**2).sum()),
        "query_source": float((queries * rows[sources]).sum(1).mean()),
    }


def test_a_query_is_as_far_from_its_row_as_a_real_pair_of_its_half(domain: invented.RealDomain, tmp_path: Path) -> None:
    path = make_gallery(tmp_path / "g.npy", domain, 500)
    seen = []
    for half in (0, 1):
        queries, ids = make_queries(domain, path, 40, seed=0, half=half)
        measured = (queries * StoredRows(path)[ids]).sum(1)
        pairs = domain.cosines[domain.sources % 2 == half]
        assert np.abs(measured[:, None] - pairs[None]).min(1).max() < 1e-3
        assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
        seen.append(ids.tolist())
    assert seen[0] != seen[1] and seen[1] == make_queries(domain, path, 40, seed=0, half=1)[1].tolist()


def test_recall_and_weights_are_off_by_what_they_are_off_by() -> None:
    assert recall_of([[3, 1, 2], [4, 5, 6]], np.array([[1, 3, 9], [6, 7, 8]]), k=3) == pytest.approx(0.5)
    truth = SearchResult(np.array([[0]]), np.array([[0.5]], np.float32), np.array([6.0]))
    same, calibration = {"similarities": [np.array([0.5])], "log_mass": np.array([6.0])}, Calibration(10.0, 5.0)
    assert weight_errors(calibration, same, truth)["weight_error"] == 0
    off = weight_errors(calibration, {**same, "log_mass": np.array([7.0])}, truth)
    whole = [math.exp(mass) + math.exp(5) for mass in (6, 7)]
    for error in ("weight_error", "remainder_error"):
        assert off[error] == pytest.approx(math.exp(5) / whole[0] - math.exp(5) / whole[1])


def test_the_report_has_the_agreed_form_and_exact_methods_are_exact(
    domain: invented.RealDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(search, "measure_domain", lambda space, _: measured.append(space) or domain)  # takes seconds
    monkeypatch.setattr(search, "apart", lambda work, *told: work(*told))  # in this process
    monkeypatch.setattr(search, "N_QUERIES", 6)
    kept = ("--kept", str(tmp_path / "kept"), "--dim", str(DIM))
    sizes = (*kept, "--n", "500", "2000", "--spaces", "aligned", "disentangled")
    assert search.main([*sizes, "--methods", "exact", "filtered", "--json", str(tmp_path / "r.json")]) == 0
    report, printed = json.loads((tmp_path / "r.json").read_text()), capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == report and search.tables(report) in printed
    rows = report["rows"]
    assert measured == ["aligned", "disentangled"] * 2
    assert [(row["n"], row["method"]) for row in rows] == [
        (n, method) for n in (500, 2000) for method in ("argsort", "exact", "filtered")
    ]
    for row in rows:
        assert {"speedup_vs_argsort", "resident_mb"} <= set(row) and row["dim"] == DIM
        assert row["recall_at_10"] == 1 and 0 < row["p50_ms"] <= row["p95_ms"] and row["resident_mb"] > 10
    for row in rows[1:3]:
        assert set(row["by_space"]) == {"aligned", "disentangled"} and row["rows_gb"] == pytest.approx(500 * DIM * 2e-9)
        assert row["p50_ms"] == max(figures["p50_ms"] for figures in row["by_space"].values())
    assert rows[1]["weight_error"] < 1e-5
    monkeypatch.setattr(search, "make_gallery", None)  # it is there
    assert search.main([*kept, "--n", "500"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"][1]["method"] == "exact", "the library's choice"


def test_memory_is_counted_in_millions_of_bytes() -> None:
    before = memory_of("self")["resident_mb"]
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # malloc might have such room left
    with mmap.mmap(-1, 50_000_000, flags=kind) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        assert memory_of("self")["resident_mb"] - before == pytest.approx(50, rel=0.1)


@pytest.mark.slow
def test_embedding_reports_every_engine_and_folders_of_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedding.os, "cpu_count", lambda: 1)  # one thread, and that is all
    monkeypatch.setattr(embedding, "engines_for", lambda device: ("torch",))
    path = tmp_path / "report.json"
    assert embedding.main(("--n", "3", "--rounds", "1", "--json", str(path), "--folder", str(tmp_path / "cache"))) == 0
    report = json.loads(path.read_text())
    assert [row["engine"] for row in report["rows"]] == ["plain torch", "torch"]
    for row in report["rows"]:
        assert row["threads"] == 1 and row["images_per_s"] > 0 and row["cosine"] == pytest.approx(1, abs=1e-6)
    assert report["rows"][0]["ratio"] == 1 and report["machine"]["cores"] and str(tmp_path) not in path.read_text()
    assert [row["n"] for row in report["folders"]] == [3, 3, 3, 13]
    assert len({*(tmp_path / "cache").rglob("*.jpg")}) == 13
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report


def test_the_baseline_is_plain_torch_and_leaves_the_backbone_as_it_is() -> None:
    backbone = load_backbone("efficientnet_lite0")
    batch = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    found = embedding.plain_torch(backbone)(batch)
    import torch

    stem: Any = backbone.network
    assert stem.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert embedding.least_cosine(found, backbone.embed_pixels(batch)) > 0.999999
    worst = embedding.least_cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [0.0, 5.0]]))
    assert worst == pytest.approx(0.8)


def test_three_visitors_get_two_right_answers_each(page: Page) -> None:
    asked = questions(page.attributor, 3, 4)
    uploads = [one for theirs in asked for one in theirs if one.query_id is None]
    assert len({one.content for one in uploads}) == len({one.name for one in uploads}) == len(uploads) == 9
    assert len({tuple(one.query_id is None for one in theirs) for theirs in asked}) == 1, "the same mix for all"
    own = [theirs[1:] for theirs in asked]
    visits = asyncio.run(page_benchmark.crowd(page.url, own, 3, lambda rows: len(rows) >= 2))
    told = [sorted((kind, fault) for kind, _, fault in rows) for rows in visits]
    assert told == [[("example", None), ("upload", None)]] * 3
    line = page_benchmark.visitor_line("all at once", visits, 1.0)
    assert (line["answers"], line["jain"], line["faults"]) == (6, 1.0, 0)


def test_what_is_wrong_with_an_answer_is_said() -> None:
    answer: dict[str, Any] = {"status": "answer", "query": {"url": "gradio_api/file=/tmp/mine.png"}}
    answer |= {"spaces": {"backbone": {"matches": [{"id": 7}]}}}
    question = Question(None, "", "mine.png", b"", {"backbone": 7})
    assert fault_of(question, answer) is None
    for change, complaint in (
        ({"status": "error", "text": "too large"}, "too large"),
        ({"query": {"url": "gradio_api/file=/tmp/other.png"}}, "about"),
        ({"spaces": {"backbone": {"matches": [{"id": 8}]}}}, "expected"),
    ):
        assert complaint in (fault_of(question, answer | change) or ""), complaint


def test_fairness_is_one_when_all_got_as_many_and_small_when_one_got_all() -> None:
    def record(*waits: float) -> page_benchmark.Asked:
        return [("upload", wait, None) for wait in waits]

    even = page_benchmark.visitor_line("", [record(5.0, 7.0), record(6.0, 6.0)], 2.0)
    assert even["jain"] == 1.0
    assert even["answers_per_s"] == 2.0 and even["example_p50_ms"] is None
    greedy = page_benchmark.visitor_line("", [record(1.0, 1.0, 1.0), record(), record()], 1.0)
    assert greedy["jain"] == pytest.approx(1 / 3)


def test_scripts_wait_in_a_lane_of_their_own(page: Page) -> None:
    lanes = {function.api_name: function.concurrency_id for function in page.demo.fns.values() if function.queue}
    visitor = {function.concurrency_id for function in page.demo.fns.values() if function.name == "on_upload"}
    assert visitor == {"uploads"}
    assert not visitor & {lanes[name] for name in ("attribute", "attribute_batch", "report", "references")}
    assert page.queue.max_size >= 500, "a script's hundred waiting calls must not turn a visitor away"
    assert page.queue.default_concurrency_limit == 2


def test_a_server_that_ends_is_told_with_its_last_words() -> None:
    with pytest.raises(ServerError, match="no bundle here"), started("-c", "import sys; sys.exit('no bundle here')"):
        pass


def test_files_are_of_the_kinds_named_and_a_line_sums_up_the_usual_ones(page: Page, tmp_path: Path) -> None:
    (asked,) = questions(page.attributor, 1, 7)
    files = [one for one in asked if one.query_id is None]
    assert len({one.kind for one in files}) > 3
    for one in files:
        size, form, _ = KINDS[one.kind]
        with Image.open(io.BytesIO(one.content)) as picture:
            assert picture.size == size and picture.format == form.upper() and one.name.endswith(form)
    rows = [{"kind": kind, "rest": 4.0, "total": total} for kind, total in ((USUAL[0], 10.0), (LARGE, 90.0))]
    lines = page_benchmark.answer_lines("Chromium", rows)
    assert [(line["files"], line["n"], line["p50_ms"], line["rest_ms"]) for line in lines] == [
        ("all usual files", 1, 10.0, 4.0), (LARGE, 1, 90.0, 4.0),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_parts_of_one_answer_sum_to_its_total() -> None:
    attributor = Attributor.load()
    asked = [one for one in questions(attributor, 1, 2)[0] if one.query_id is None]
    rows = page_benchmark.in_process(attributor, asked)
    for row in rows:
        parts = [row[part] for part in ("decode", "preprocess", "embed", "rest")]
        assert sum(parts) == pytest.approx(row["total"]) and min(parts[:3]) > 0


def test_what_a_user_can_mend_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="2"):
        common.run(lambda: page_benchmark.main([]))
    assert capsys.readouterr().err.startswith("error: Chromium is needed")


def test_a_start_is_the_median_of_its_runs_and_its_ratio_is_to_everything_eager() -> None:
    early, eager = [{"page_s": 2.0}, {"page_s": 9.0}, {"page_s": 3.0}], [{"page_s": 12.0}] * 3
    lines = page_benchmark.start_lines({"app.py": early, "everything eager": eager})
    assert [(line["way"], line["page_s"], line["page_ratio"]) for line in lines] == [
        ("app.py", 3.0, 4.0), ("everything eager", 12.0, 1.0),
    ]  # fmt: skip
