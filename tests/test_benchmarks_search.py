"""The benchmarks of search and embedding: invented galleries, the reports, and what happens when disk or memory is short."""

import json
import math
import mmap
import subprocess
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aad.backbones import BATCH_SIZE, load_backbone
from aad.bundle import DEFAULT_BUNDLE
from aad.calibration import Calibration
from aad.scale.stored import StoredRows
from aad.search import SearchResult
from benchmarks import embedding, invented, measuring, out_of_core, retrieval, scaling
from benchmarks.common import memory_of, percentiles, table
from benchmarks.invented import CHUNK, ShortOfDisk, likeness, make_chunk, make_gallery, make_queries, measure_domain
from benchmarks.measuring import recall_of, weight_errors
from benchmarks.searcher import Searcher, SearcherError, answer

SPACE, DIM = "disentangled", 16


@pytest.fixture(scope="module")
def domain():
    return measure_domain(SPACE, DIM)


class Inside(Searcher):
    """A searcher without a process of its own."""

    def __init__(self, limit_gb=None):
        self.opened = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, do, **values):
        found = answer(json.loads(json.dumps({"do": do, **values})), self.opened)
        assert "error" not in found, found
        return json.loads(json.dumps(found))

    def memory(self):
        return {**memory_of("self"), "peak_own_mb": 1.0}


def test_a_chunk_follows_from_seed_and_number_only(domain, tmp_path):
    third, first = make_chunk(domain, 0, 2), make_chunk(measure_domain(SPACE, DIM), 0, 0)
    path = make_gallery(tmp_path, domain, 2 * CHUNK + 3)
    whole = np.load(path, mmap_mode="r")
    assert path.stat().st_size == whole.offset + whole.nbytes
    assert whole.shape == (2 * CHUNK + 3, DIM) and whole.dtype == np.float16
    assert np.array_equal(whole[:CHUNK], first.astype(np.float16))
    assert np.array_equal(whole[2 * CHUNK :], third[:3].astype(np.float16))
    assert np.allclose(np.linalg.norm(third, axis=1), 1, atol=1e-5)
    assert not np.allclose(first, make_chunk(domain, 1, 0))


def test_a_finished_file_is_used_again_an_interrupted_one_leaves_nothing_and_a_short_disk_is_said(
    domain, tmp_path, monkeypatch
):
    def breaks(domain, seed, i):
        if i:
            raise KeyboardInterrupt
        return make_chunk(domain, seed, i)

    monkeypatch.setattr(invented, "make_chunk", breaks)
    with pytest.raises(KeyboardInterrupt):
        make_gallery(tmp_path, domain, 3 * CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(invented, "_free", lambda folder: 1000)
        with pytest.raises(ShortOfDisk, match=r"need 0\.0 GB in .* ask for fewer"):
            make_gallery(tmp_path, domain, CHUNK)
    assert list(tmp_path.iterdir()) == []
    path = make_gallery(tmp_path, domain, CHUNK)  # its one chunk does not break
    monkeypatch.setattr(invented, "make_chunk", None)  # calling it would fail
    assert make_gallery(tmp_path, domain, CHUNK) == path


@pytest.mark.parametrize("space", ["backbone", "aligned", "disentangled"])
def test_invented_rows_are_no_easier_to_compress_than_the_real_ones(space):
    domain = measure_domain(space, 128)
    variance = ((domain.references - domain.mean) ** 2).sum(1).mean()
    assert (domain.factor**2).sum() + 128 * domain.floor**2 == pytest.approx(variance, rel=1e-4)
    real, made = likeness(domain)
    assert made["participation"] > 0.9 * real["participation"]
    assert 0.75 < made["any_spread"] / real["any_spread"] < 1.1 and abs(made["any"] - real["any"]) < 0.02
    assert real["nearest"] - 0.15 < made["nearest"] < real["nearest"]
    assert abs(made["query_source"] - real["query_source"]) < 0.01


def test_a_query_is_as_far_from_its_row_as_a_real_pair_of_its_half(domain, tmp_path):
    path = make_gallery(tmp_path, domain, 500)
    seen = []
    for half in (0, 1):
        queries, ids = make_queries(domain, path, 40, seed=0, half=half)
        measured = (queries * StoredRows(path)[ids]).sum(1)
        pairs = domain.cosines[domain.sources % 2 == half]
        assert np.abs(measured[:, None] - pairs[None]).min(1).max() < 1e-3
        assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
        seen.append(ids.tolist())
    assert seen[0] != seen[1] and seen[1] == make_queries(domain, path, 40, seed=0, half=1)[1].tolist()


def test_recall_and_weights_are_off_by_what_they_are_off_by():
    assert recall_of([[3, 1, 2], [4, 5, 6]], np.array([[1, 3, 9], [6, 7, 8]]), k=3) == pytest.approx(0.5)
    case = SimpleNamespace(calibration=Calibration(10.0, 5.0))
    truth = SearchResult(np.array([[0]]), np.array([[0.5]], np.float32), np.array([6.0]))
    same = {"similarities": [[0.5]], "log_mass": [6.0], "estimated": False}
    assert weight_errors(case, same, truth)["weight_error"] == 0
    off = weight_errors(case, {**same, "log_mass": [7.0]}, truth)
    whole = [math.exp(mass) + math.exp(5) for mass in (6, 7)]
    for error in ("weight_error", "remainder_error"):
        assert off[error] == pytest.approx(math.exp(5) / whole[0] - math.exp(5) / whole[1])
    assert off["log_mass_error"] == pytest.approx(1)


def test_the_report_has_the_agreed_form_and_exact_methods_are_exact(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(retrieval, "Searcher", Inside)
    monkeypatch.setattr(measuring, "Searcher", Inside)
    options = ["--n", "2000", "--dim", "32", "--queries", "6", "--spaces", "aligned", "disentangled"]
    methods = ["argsort", "topk", "exact", "filtered"]
    kept = ["--scratch", str(tmp_path), "--json", str(tmp_path / "r.json")]
    assert retrieval.main([*options, "--methods", *methods, *kept]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == report and printed[0].startswith("| method | median, ms |")
    assert any("targets: meant for 1,000,000 rows" in line for line in printed)
    assert report["default"] == "exact" and [row["method"] for row in report["rows"]] == methods
    wanted = {"method", "n", "dim", "p50_ms", "p95_ms", "speedup_vs_argsort", "recall_at_10", "resident_mb", "build_s"}
    for row in report["rows"]:
        assert wanted <= set(row) and (row["n"], row["dim"]) == (2000, 32)
        assert row["recall_at_10"] == 1 and 0 < row["p50_ms"] <= row["p95_ms"] and row["resident_mb"] > 10
        assert set(row["by_space"]) == {"aligned", "disentangled"}
        assert row["p50_ms"] == max(figures["p50_ms"] for figures in row["by_space"].values())
    assert report["rows"][1]["weight_error"] < 1e-5


def test_a_method_that_fails_says_so_and_the_others_go_on(monkeypatch):
    def measure(method, cases, peer):
        if method == "compressed":
            raise SearcherError("no such thing")
        found = {"p50_ms": 1.0, "speedup_vs_argsort": 20.0, "recall_at_10": 1.0, "resident_mb": 9}
        return {"method": method, "n": 2_000_000, **found}

    monkeypatch.setattr(retrieval, "measure_method", measure)
    monkeypatch.setattr(retrieval, "available_gb", lambda: 0.1)
    rows = retrieval.measure_methods(["exact", "compressed", "scan"], [SimpleNamespace(n=2_000_000, dim=768)])
    assert rows[0]["note"].startswith("left out: needs 25 GB") and "p50_ms" not in rows[0]
    assert rows[1]["note"] == "failed: no such thing" and rows[1]["failed"]
    verdict = retrieval.verdict(rows, "scan")
    assert "20.0 of 25 times faster: does NOT hold" in verdict and "9 of 500 MB: holds" in verdict


def test_a_process_keeps_to_its_memory_and_tells_what_went_wrong(tmp_path):
    from safetensors.numpy import save_file

    np.save(tmp_path / "large.npy", np.ones((400_000, 128), np.float16))  # 205 MB as float32
    np.save(tmp_path / "queries.npy", np.eye(1, 128, dtype=np.float32))
    opening = {"rows": str(tmp_path / "large.npy"), "queries": str(tmp_path / "queries.npy"), "method": "exact"}
    (tmp_path / "index.json").write_text('{"method": "exact"}')
    save_file({}, tmp_path / "index.safetensors")
    with Searcher(limit_gb=0.2) as searcher:
        with pytest.raises(SearcherError, match=r"open: MemoryError|memory short"):
            searcher.ask("open", **opening, index=str(tmp_path / "index.safetensors"))
        assert searcher.memory()["peak_own_mb"] < 200


def test_memory_is_counted_in_millions_of_bytes():
    before = memory_of("self")["own_mb"]
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # malloc might have such room left
    with mmap.mmap(-1, 50_000_000, flags=kind) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        assert memory_of("self")["own_mb"] - before == pytest.approx(50, rel=0.1)


def test_out_of_core_measures_and_says_where_the_limit_was_met(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "Searcher", Inside)
    options = ["--n", "1000", "--dim", "16", "--queries", "4"]
    options += ["--scratch", str(tmp_path), "--json", str(tmp_path / "o.json")]
    assert out_of_core.main(options) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    (row,) = report["rows"]
    assert row["recall_at_10"] == 1 and row["rows_gb"] == pytest.approx(1000 * 16 * 2 / 1e9) and report["within_limit"]

    def short(*_, **__):
        raise SearcherError("memory short")

    monkeypatch.setattr(out_of_core, "measure_index", short)
    assert out_of_core.main(options) == 1 and "failed: memory short" in capsys.readouterr().out


def test_scaling_goes_on_where_it_stopped_and_its_table_is_its_file(tmp_path, monkeypatch, capsys):
    measured = []

    def size(scratch, n, options):
        measured.append(n)
        if n == 10_000 and measured.count(n) == 1:
            raise KeyboardInterrupt
        return {"n": n, "method": "exact", "p50_ms": n / 3000}

    monkeypatch.setattr(scaling, "measure_size", size)
    monkeypatch.setattr(scaling, "measure_workers", lambda n: {"workers": n, "images_per_s": 30.0 * n})
    command = ["--json", str(tmp_path / "s.json"), "--to", "10000"]
    with pytest.raises(KeyboardInterrupt):
        scaling.main(command)
    assert scaling.main(command) == 0 and scaling.main(command) == 0
    assert measured == [1000, 10_000, 10_000]
    shown = scaling.tables(json.loads((tmp_path / "s.json").read_text()))
    assert shown in capsys.readouterr().out and "| 10,000 | exact |" in shown and "| 2 | 60.0 | 2 |" in shown


def test_scaling_measures_a_size_from_end_to_end_and_workers_by_the_step(tmp_path, monkeypatch):
    row = scaling.measure_size(tmp_path, 600, Namespace(dim=16, space=SPACE, seed=0, queries=3))
    assert row["method"] == "exact" and row["recall_at_10"] == 1 and row["build_peak_own_mb"] > 1
    clock, commands = iter([0.0, 5.0, 10.0, 47.0, 0.0, 0.0]), []

    def runs(command, **kwargs):
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) > 2, "", "x\nNo module named y")

    monkeypatch.setattr(scaling.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(scaling, "subprocess", SimpleNamespace(run=runs))
    row = scaling.measure_workers(2)
    assert row["images_per_s"] == pytest.approx((1088 - 64) / 32) and row["start_s"] == pytest.approx(3.0)
    assert commands[0][1:3] == ["-m", "precompute.embed_shards"] and "2" in commands[0]
    assert scaling.measure_workers(1) == {"workers": 1, "note": "failed: No module named y"}


def test_percentiles_and_tables_say_what_they_were_given():
    assert percentiles([1, 2, 3, 4, 101]) == (3, pytest.approx(81.6))
    assert table([{"a": None, "b": True, "c": 123.4}, {"a": 1e-5}], ["a", "b", "c"]).splitlines()[2:] == [
        "|  | yes | 123 |",
        "| 1e-05 |  |  |",
    ]


def test_embedding_reports_every_engine_and_files_with_and_without_work_ahead(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embedding.os, "cpu_count", lambda: 1)  # one thread, and that is all
    monkeypatch.setattr(embedding, "engines_for", lambda device: ("torch", "openvino"))
    path = tmp_path / "report.json"
    assert embedding.main(("--n", "3", "--rounds", "1", "--json", str(path))) == 0
    report = json.loads(path.read_text())
    assert [row["engine"] for row in report["rows"]] == ["plain torch", "torch", "openvino"]
    for row in report["rows"]:
        assert row["threads"] == 1 and row["images_per_s"] > 0 and row["cosine"] == pytest.approx(1, abs=1e-6)
    assert report["rows"][0]["ratio"] == 1 and report["machine"]["cores"] and str(tmp_path) not in path.read_text()
    ways = {(row["engine"], row["pictures"].split(",")[0]) for row in report["files"]}
    fast = "torch" if report["best"] == "plain torch" else report["best"]
    assert len(ways) == 4 and {engine for engine, _ in ways} == {"plain torch", fast}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report


def test_the_baseline_is_plain_torch_and_leaves_the_backbone_and_the_threads_as_they_are():
    backbone = load_backbone("efficientnet_lite0")
    batch = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    before = torch.get_num_threads()
    with embedding.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        found = embedding.plain_torch(backbone)(batch)
    assert torch.get_num_threads() == before
    assert backbone.network.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert embedding.least_cosine(found, backbone.embed_pixels(batch)) > 0.999999
    worst = embedding.least_cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [0.0, 5.0]]))
    assert worst == pytest.approx(0.8)


def test_pictures_come_in_order_in_turn_and_in_threads():
    files = sorted((DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar").rglob("*.webp"))[: BATCH_SIZE + 2]
    for prepare in (embedding.in_turn, embedding.in_threads):
        with prepare(lambda path: path.name, files) as names:
            assert list(names) == [path.name for path in files]
