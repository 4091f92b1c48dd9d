"""The benchmarks on tiny inputs: what they count and sum, never how long it takes; and what falls short: disk, memory, servers."""

from __future__ import annotations

import asyncio
import io
import json
import math
import mmap
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad.backbones import load_backbone, spec
from aad.calibration import Calibration
from aad.scale.stored import StoredRows
from aad.search import SearchResult
from aad.spaces import SPACES
from benchmarks import (
    common,
    embedding,
    invented,
    out_of_core,
    query_path,
    retrieval,
    scaling,
    search,
    startup,
    visitors,
)
from benchmarks.common import memory_of
from benchmarks.invented import CHUNK, ShortOfDisk, likeness, make_chunk, make_gallery, make_queries, measure_domain
from benchmarks.query_path import STAGES, Stages
from benchmarks.search import Searcher, SearcherError, recall_of, weight_errors
from benchmarks.serving import ServerError, events_of, started
from benchmarks.visitors import Question, Record, fault_of, questions
from tests.pages import MARKS, Page

pytestmark = MARKS
SPACE, DIM = "disentangled", 16


@pytest.fixture(scope="module")
def domain() -> invented.RealDomain:
    return measure_domain(SPACE, DIM)


class Inside(Searcher):
    """A searcher without a process of its own."""

    def __init__(self, limit_gb: float | None = None) -> None:
        pass

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    def memory(self) -> dict[str, float]:
        return {**memory_of("self"), "peak_own_mb": 1.0}


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (retrieval, search):
        monkeypatch.setattr(module, "Searcher", Inside)
    monkeypatch.setattr(search, "N_QUERIES", 6)


def test_a_chunk_follows_from_seed_and_number_only(domain: invented.RealDomain, tmp_path: Path) -> None:
    third, first = make_chunk(domain, 0, 2), make_chunk(measure_domain.__wrapped__(SPACE, DIM), 0, 0)
    path = make_gallery(tmp_path, domain, 2 * CHUNK + 3)
    whole = np.load(path, mmap_mode="r")
    assert path.stat().st_size == whole.offset + whole.nbytes
    assert whole.shape == (2 * CHUNK + 3, DIM) and whole.dtype == np.float16
    assert np.array_equal(whole[:CHUNK], first.astype(np.float16))
    assert np.array_equal(whole[2 * CHUNK :], third[:3].astype(np.float16))
    assert np.allclose(np.linalg.norm(third, axis=1), 1, atol=1e-5)
    assert not np.allclose(first, make_chunk(domain, 1, 0))


def test_a_finished_file_is_used_again_an_interrupted_one_leaves_nothing_and_a_short_disk_is_said(
    domain: invented.RealDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(domain: Any, seed: int, i: int) -> np.ndarray:
        if i:
            raise KeyboardInterrupt
        return make_chunk(domain, seed, i)

    monkeypatch.setattr(invented, "make_chunk", breaks)
    with pytest.raises(KeyboardInterrupt):
        make_gallery(tmp_path, domain, 3 * CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(invented, "RESERVE", 10**18)
        with pytest.raises(ShortOfDisk, match=r"need 0\.0 GB in .* ask for fewer"):
            make_gallery(tmp_path, domain, CHUNK)
    assert list(tmp_path.iterdir()) == []
    path = make_gallery(tmp_path, domain, CHUNK)  # its one chunk does not break
    monkeypatch.setattr(invented, "make_chunk", None)  # calling it would fail
    assert make_gallery(tmp_path, domain, CHUNK) == path


@pytest.mark.parametrize("space", [*(pytest.param(s, marks=pytest.mark.slow) for s in SPACES[:2]), SPACES[2]])
def test_invented_rows_are_no_easier_to_compress_than_the_real_ones(space: str) -> None:
    domain = measure_domain(space, 128)
    variance = ((domain.references - domain.mean) ** 2).sum(1).mean()
    assert (domain.factor**2).sum() + 128 * domain.floor**2 == pytest.approx(variance, rel=1e-4)
    real, made = likeness(domain)
    assert made["participation"] > 0.9 * real["participation"]
    assert 0.75 < made["any_spread"] / real["any_spread"] < 1.1 and abs(made["any"] - real["any"]) < 0.02
    assert real["nearest"] - 0.15 < made["nearest"] < real["nearest"]
    assert abs(made["query_source"] - real["query_source"]) < 0.01


def test_a_query_is_as_far_from_its_row_as_a_real_pair_of_its_half(domain: invented.RealDomain, tmp_path: Path) -> None:
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


def test_recall_and_weights_are_off_by_what_they_are_off_by() -> None:
    assert recall_of([[3, 1, 2], [4, 5, 6]], np.array([[1, 3, 9], [6, 7, 8]]), k=3) == pytest.approx(0.5)
    case: Any = SimpleNamespace(calibration=Calibration(10.0, 5.0))
    truth = SearchResult(np.array([[0]]), np.array([[0.5]], np.float32), np.array([6.0]))
    same = {"similarities": [np.array([0.5])], "log_mass": np.array([6.0]), "estimated": False}
    assert weight_errors(case, same, truth)["weight_error"] == 0
    off = weight_errors(case, {**same, "log_mass": np.array([7.0])}, truth)
    whole = [math.exp(mass) + math.exp(5) for mass in (6, 7)]
    for error in ("weight_error", "remainder_error"):
        assert off[error] == pytest.approx(math.exp(5) / whole[0] - math.exp(5) / whole[1])
    assert off["log_mass_error"] == pytest.approx(1)


def test_the_report_has_the_agreed_form_and_exact_methods_are_exact(
    tmp_path: Path, inside: None, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = ["argsort", "topk", "exact", "filtered"]
    options = ["--n", "2000", "--dim", str(DIM), "--spaces", "aligned", "disentangled", "--methods", *methods]
    assert retrieval.main([*options, "--scratch", str(tmp_path), "--json", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == report and printed[0].startswith("| method | median, ms |")
    assert any("targets: meant for 1,000,000 rows" in line for line in printed)
    assert report["default"] == "exact" and [row["method"] for row in report["rows"]] == methods
    wanted = {"method", "n", "dim", "p50_ms", "p95_ms", "speedup_vs_argsort", "recall_at_10", "resident_mb", "build_s"}
    for row in report["rows"]:
        assert wanted <= set(row) and (row["n"], row["dim"]) == (2000, DIM)
        assert row["recall_at_10"] == 1 and 0 < row["p50_ms"] <= row["p95_ms"] and row["resident_mb"] > 10
        assert set(row["by_space"]) == {"aligned", "disentangled"}
        assert row["p50_ms"] == max(figures["p50_ms"] for figures in row["by_space"].values())
    assert report["rows"][1]["weight_error"] < 1e-5


def test_a_method_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(method: str, cases: Any, peer: Any) -> dict[str, Any]:
        if method == "compressed":
            raise SearcherError("no such thing")
        found = {"p50_ms": 1.0, "speedup_vs_argsort": 20.0, "recall_at_10": 1.0, "resident_mb": 9}
        return {"method": method, "n": 2_000_000, **found}

    monkeypatch.setattr(retrieval, "measure_method", measure)
    monkeypatch.setattr(retrieval, "available_gb", lambda: 0.1)
    case: Any = SimpleNamespace(n=2_000_000, dim=768)
    rows = retrieval.measure_methods(["exact", "compressed", "scan"], [case])
    assert rows[0]["note"].startswith("left out: needs 25 GB") and "p50_ms" not in rows[0]
    assert rows[1]["note"] == "failed: no such thing" and rows[1]["failed"]
    verdict = retrieval.verdict(rows, "scan")
    assert "20.0 of 25 times faster: does NOT hold" in verdict and "9 of 500 MB: holds" in verdict


def test_a_process_keeps_to_its_memory_and_tells_what_went_wrong() -> None:
    with Searcher(limit_gb=0.3) as searcher:
        assert searcher.ask(abs, -1) == 1
        with pytest.raises(SearcherError, match=r"bytearray: MemoryError|memory short"):
            searcher.ask(bytearray, 300_000_000)
        assert searcher.memory()["peak_own_mb"] < 300


def test_memory_is_counted_in_millions_of_bytes() -> None:
    before = memory_of("self")["own_mb"]
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # malloc might have such room left
    with mmap.mmap(-1, 50_000_000, flags=kind) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        assert memory_of("self")["own_mb"] - before == pytest.approx(50, rel=0.1)


def test_out_of_core_measures_and_says_where_the_limit_was_met(
    tmp_path: Path, inside: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--n", "1000", "--dim", "16", "--scratch", str(tmp_path), "--json", str(tmp_path / "o.json")]
    assert out_of_core.main(options) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    (row,) = report["rows"]
    assert row["recall_at_10"] == 1 and row["rows_gb"] == pytest.approx(1000 * 16 * 2 / 1e9) and report["within_limit"]

    def short(*_: Any, **__: Any) -> Any:
        raise SearcherError("memory short")

    monkeypatch.setattr(search, "measure_index", short)
    assert out_of_core.main(options) == 1 and "failed: memory short" in capsys.readouterr().out


def test_scaling_goes_on_where_it_stopped_and_its_table_is_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = []

    def size(scratch: Path, n: int, dim: int) -> dict[str, Any]:
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


def test_scaling_measures_a_size_from_end_to_end_and_workers_by_the_step(
    tmp_path: Path, inside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = search.measure_size(tmp_path, 600, DIM)
    assert row["method"] == "exact" and row["recall_at_10"] == 1 and row["build_peak_own_mb"] == 1
    taken, commands = iter([5.0, 37.0]), []

    def runs(command: list[str], **_: Any) -> None:
        commands.append(command)
        if len(commands) > 2:
            raise subprocess.CalledProcessError(1, command, stderr="x\nNo module named y")

    def seconds(work: Any, command: list[str]) -> float:
        work(command)
        return next(taken)

    monkeypatch.setattr(scaling.subprocess, "run", runs)
    monkeypatch.setattr(scaling, "seconds", seconds)
    row = scaling.measure_workers(2)
    assert row["images_per_s"] == pytest.approx((1088 - 64) / 32) and row["start_s"] == pytest.approx(3.0)
    assert commands[0][1:3] == ["-m", "precompute.embed_shards"] and "2" in commands[0]
    assert scaling.measure_workers(1) == {"workers": 1, "note": "failed: No module named y"}


@pytest.mark.slow
def test_embedding_reports_every_engine_and_files_with_and_without_work_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedding.os, "cpu_count", lambda: 1)  # one thread, and that is all
    monkeypatch.setattr(embedding, "engines_for", lambda device: ("torch",))
    path = tmp_path / "report.json"
    assert embedding.main(("--n", "3", "--rounds", "1", "--json", str(path))) == 0
    report = json.loads(path.read_text())
    assert [row["engine"] for row in report["rows"]] == ["plain torch", "torch"]
    for row in report["rows"]:
        assert row["threads"] == 1 and row["images_per_s"] > 0 and row["cosine"] == pytest.approx(1, abs=1e-6)
    assert report["rows"][0]["ratio"] == 1 and report["machine"]["cores"] and str(tmp_path) not in path.read_text()
    ways = {(row["engine"], row["pictures"].split(",")[0]) for row in report["files"]}
    assert len(ways) == 4 and {engine for engine, _ in ways} == {"plain torch", "torch"}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report


def test_the_baseline_is_plain_torch_and_leaves_the_backbone_and_the_threads_as_they_are() -> None:
    import torch

    backbone = load_backbone("efficientnet_lite0")
    batch = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    before = torch.get_num_threads()
    with embedding.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        found = embedding.plain_torch(backbone)(batch)
    assert torch.get_num_threads() == before
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
    records = asyncio.run(visitors.crowd(page.url, own, 3, lambda one: one.n_answers >= 2))
    assert [record.faults for record in records] == [[]] * 3
    assert [(len(one.waits["upload"]), len(one.waits["example"])) for one in records] == [(1, 1)] * 3
    line = visitors.summary("all at once", records, 1.0)
    assert (line["answers"], line["jain"], line["least_of_most"], line["faults"]) == (6, 1.0, 1.0, 0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"status": "error", "text": "too large"}, "too large"),
        ({"query": {"url": "gradio_api/file=/tmp/other.png"}}, "about"),
        ({"spaces": {"backbone": {"matches": [{"id": 8}]}}}, "expected"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(change: dict[str, Any], complaint: str | None) -> None:
    answer = {"status": "answer", "query": {"url": "gradio_api/file=/tmp/mine.png"}}
    answer |= {"spaces": {"backbone": {"matches": [{"id": 7}]}}}
    found = fault_of(Question(None, "mine.png", b"", {"backbone": 7}), answer | change)
    assert found is None if complaint is None else found is not None and complaint in found


def test_fairness_is_one_when_all_got_as_many_and_small_when_one_got_all() -> None:
    def record(*waits: float) -> Record:
        return Record({"example": [], "upload": list(waits)})

    even = visitors.summary("", [record(5.0, 7.0), record(6.0, 6.0)], 2.0)
    assert even["jain"] == even["least_of_most"] == even["mean_wait_most_of_least"] == 1.0
    assert even["answers_per_s"] == 2.0 and even["example_p50_ms"] is None
    greedy = visitors.summary("", [record(1.0, 1.0, 1.0), record(), record()], 1.0)
    assert greedy["jain"] == pytest.approx(1 / 3) and greedy["least_of_most"] == 0.0


def test_scripts_wait_in_a_lane_of_their_own(page: Page) -> None:
    lanes = {function.api_name: function.concurrency_id for function in page.demo.fns.values() if function.queue}
    visitor = {function.concurrency_id for function in page.demo.fns.values() if function.name == "on_upload"}
    assert visitor == {"uploads"}
    assert not visitor & {lanes[name] for name in ("attribute", "attribute_batch", "report", "references")}
    assert page.queue.max_size >= 500, "a script's hundred waiting calls must not turn a visitor away"
    assert page.queue.default_concurrency_limit == 2


def test_another_page_is_refused_and_a_server_that_ends_is_told_with_its_last_words() -> None:
    with pytest.raises(ServerError, match="events select and upload"):
        events_of({"dependencies": [{"id": 1, "targets": [[1, "click"]], "backend_fn": True}]})
    with (
        started("-c", "import sys; sys.exit('no bundle here')") as server,
        pytest.raises(ServerError, match="no bundle here"),
    ):
        server.wait()


def test_stages_of_one_answer_sum_to_its_total(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter(np.arange(0, 10_000, 1.0))  # every look at the clock is a second later
    monkeypatch.setattr("benchmarks.query_path.time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    Image.new("RGB", (64, 48), (3, 40, 90)).save(tmp_path / "a.png")

    class Index:
        def search(self) -> None: ...

    class Backbone:
        def embed(self, image: Any) -> None:
            spec.BackboneSpec.preprocess(SPEC, image)

    class Attributor:
        def __init__(self) -> None:
            self._backbone, self._index = Backbone(), {"aligned": Index()}

        def attribute(self) -> None:
            from aad import attribution

            self._backbone.embed(attribution.load_image(tmp_path / "a.png"))
            self._index["aligned"].search()

        def near_copies(self) -> None: ...

    search, attribute = Index.search, Attributor.attribute
    attributor: Any = Attributor()
    with Stages(attributor) as stages:
        attributor.attribute()
        row = stages.take("a kind", 12_000)
        assert stages.take() == {"kind": "", "rest": 0.0, "total": 0.0} | dict.fromkeys(STAGES, 0.0), "it is gone"
    # decode, preprocess, search: no clock read inside, 1 each; embed: 3 less preprocess; attribute: 9 less decode, embed, search
    assert row == {
        "kind": "a kind", "decode": 1000, "preprocess": 1000, "embed": 2000, "search": 1000, "weigh": 4000, "draw": 0,
        "rest": 3000, "total": 12_000,
    }  # fmt: skip
    assert Index.search is search and Attributor.attribute is attribute, "the wrappers are off again"


SPEC = spec.BackboneSpec("none", 4, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "", "", "")


def test_files_are_of_the_kinds_named_and_no_two_alike(page: Page) -> None:
    made = query_path.files([query.path for query in page.attributor.queries], query_path.KINDS, 2)
    assert [kind for kind, _, _ in made] == 2 * list(query_path.KINDS)
    assert len({content for _, _, content in made}) == len({name for _, name, _ in made}) == len(made)
    for kind, name, content in made:
        size, form, _ = query_path.KINDS[kind]
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == size and picture.format == form.upper() and name.endswith(form)


def test_a_line_sums_up_the_usual_files_and_leaves_out_the_large() -> None:
    usual, large = next(iter(query_path.KINDS)), next(iter(query_path.LARGE))
    stages = dict.fromkeys(STAGES, 1.0) | {"rest": 4.0}
    rows = [{"kind": kind, **stages, "total": total} for kind, total in ((usual, 10.0), (large, 90.0))]
    lines = query_path.summary("HTTP", rows)
    assert [(line["files"], line["n"], line["p50_ms"], line["rest_ms"]) for line in lines] == [
        ("all usual files", 1, 10.0, 4.0), (usual, 1, 10.0, 4.0), (large, 1, 90.0, 4.0),
    ]  # fmt: skip


def test_what_a_user_can_mend_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="2"):
        common.run(lambda: query_path.main([]))
    assert capsys.readouterr().err.startswith("error: Chromium is needed")


def test_a_start_is_the_median_of_its_runs_and_its_ratio_is_to_everything_eager(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seconds = {"app.py": iter((2.0, 9.0, 3.0)), "-c": iter((12.0, 12.0, 12.0))}

    def one_start(command: Any, picture: Path, example: int) -> dict[str, Any]:
        page = next(seconds[command[0]])
        return dict.fromkeys(startup.MARKS, page) | {"before_model": page < 12}

    monkeypatch.setattr(startup, "one_start", one_start)
    assert startup.main(["--runs", "3", "--json", str(tmp_path / "report.json")]) == 0
    lines = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [(line["way"], line["page_s"], line["page_ratio"]) for line in lines] == [
        ("app.py", 3.0, 4.0), ("everything eager", 12.0, 1.0),
    ]  # fmt: skip
    assert [line["before_model"] for line in lines] == [True, False]
    assert "60% of the 5 s" in capsys.readouterr().out
