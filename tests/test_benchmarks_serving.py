"""The benchmarks of the page on tiny inputs: what they count and sum, never how long it takes."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import app
from aad.backbones import spec
from benchmarks import query_path, serving, startup, visitors
from benchmarks.query_path import STAGES, Stages
from benchmarks.serving import Server, ServerError, events_of, free_port, started
from benchmarks.visitors import Question, Record, fault_of, questions
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=3)


@pytest.fixture(scope="module")
def address(attributor: FakeAttributor) -> Iterator[str]:
    url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
    yield url
    stop()


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 40, 90)).save(buffer, "png")
    return buffer.getvalue()


def test_five_visitors_get_two_right_answers_each(address: str, attributor: FakeAttributor) -> None:
    asked = questions(attributor, 5, 10)
    records = asyncio.run(visitors.crowd(address, [theirs[1:] for theirs in asked], 5, lambda one: one.n_answers >= 2))
    assert [record.faults for record in records] == [[]] * 5
    assert [(len(one.waits["upload"]), len(one.waits["example"])) for one in records] == [(1, 1)] * 5
    line = visitors.summary("all at once", records, 1.0)
    assert (line["answers"], line["jain"], line["least_of_most"], line["faults"]) == (10, 1.0, 1.0, 0)


def test_no_two_visitors_bring_the_same_file_and_all_have_the_same_mix(attributor: FakeAttributor) -> None:
    asked = questions(attributor, 3, 10)
    uploads = [one for theirs in asked for one in theirs if one.query_id is None]
    assert len({one.content for one in uploads}) == len({one.name for one in uploads}) == len(uploads) == 21
    assert len({tuple(one.query_id is None for one in theirs) for theirs in asked}) == 1


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


def test_scripts_wait_in_a_lane_of_their_own(attributor: FakeAttributor) -> None:
    demo = app.build_app(attributor)
    lanes = {function.api_name: function.concurrency_id for function in demo.fns.values() if function.queue}
    page = {function.concurrency_id for function in demo.fns.values() if function.name == "on_upload"}
    assert page == {"uploads"}
    assert not page & {lanes[name] for name in ("attribute", "attribute_batch", "report", "references")}
    assert demo._queue.max_size >= 500, "a script's hundred waiting calls must not turn a visitor away"
    assert demo._queue.default_concurrency_limit == 2


def test_another_page_is_refused() -> None:
    with pytest.raises(ServerError, match="events select and upload"):
        events_of({"dependencies": [{"id": 1, "targets": [[1, "click"]], "backend_fn": True}]})


def test_a_server_that_ends_is_told_with_its_last_words() -> None:
    with started(["-c", "import sys; sys.exit('no bundle here')"]) as server:
        with pytest.raises(ServerError, match="no bundle here"):
            server.wait_for_port(free_port(), patience=20)
        assert isinstance(server, Server)


def test_stages_of_one_answer_sum_to_its_total(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter(np.arange(0, 10_000, 1.0))  # every look at the clock is a second later
    monkeypatch.setattr("benchmarks.query_path.time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    picture = tmp_path / "a.png"
    picture.write_bytes(png(3))

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

            self._backbone.embed(attribution.load_image(picture))
            self._index["aligned"].search()

        def near_copies(self) -> None: ...

    search, attribute = Index.search, Attributor.attribute
    attributor = Attributor()
    with Stages(attributor) as stages:
        attributor.attribute()
        taken = stages.take()
        assert stages.take() == dict.fromkeys(STAGES, 0.0), "what was taken is gone"
    # decode, preprocess, search: no clock read inside, 1 each; embed: 3 less preprocess; attribute: 9 less decode, embed, search
    assert {stage: round(ms) for stage, ms in taken.items()} == {
        "decode": 1000, "preprocess": 1000, "embed": 2000, "search": 1000, "weigh": 4000, "draw": 0,
    }  # fmt: skip
    assert Index.search is search and Attributor.attribute is attribute, "the wrappers are off again"


SPEC = spec.BackboneSpec("none", 4, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "", "", "")


def test_files_are_of_the_kinds_named_and_no_two_alike(attributor: FakeAttributor) -> None:
    made = query_path.files([query.path for query in attributor.queries], query_path.KINDS, 2)
    assert [kind for kind, _, _ in made] == 2 * list(query_path.KINDS)
    assert len({content for _, _, content in made}) == len({name for _, name, _ in made}) == len(made)
    for kind, name, content in made:
        size, form, _ = query_path.KINDS[kind]
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == size and picture.format == form.upper() and name.endswith(form)


def test_a_line_sums_up_the_usual_files_and_leaves_out_the_large() -> None:
    usual, large = next(iter(query_path.KINDS)), next(iter(query_path.LARGE))
    rows = [query_path._row(kind, dict.fromkeys(STAGES, 1.0), total) for kind, total in ((usual, 10.0), (large, 90.0))]
    lines = query_path.summary("HTTP", rows)
    assert [(line["files"], line["n"], line["p50_ms"]) for line in lines] == [
        ("all usual files", 1, 10.0), (usual, 1, 10.0), (large, 1, 90.0),
    ]  # fmt: skip
    assert lines[0]["rest_ms"] == 10.0 - len(STAGES)


def test_without_chromium_the_exit_status_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    assert query_path.main([]) == 2
    assert "Chromium" in capsys.readouterr().err


@pytest.mark.parametrize("module", [query_path, startup, visitors])
def test_without_a_port_the_exit_status_is_2(
    module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none_free(*_: object, **__: object) -> Any:
        raise ServerError("a free port of this machine is needed, got none (all taken)")

    for name in ("measure", "free_port"):
        monkeypatch.setattr(module, name, none_free, raising=False)
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    assert module.main(["--no-browser"] if module is query_path else []) == 2
    assert "a free port" in capsys.readouterr().err


def test_no_free_port_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object) -> None:
        raise OSError("address in use")

    monkeypatch.setattr(serving.socket.socket, "bind", taken)
    with pytest.raises(ServerError, match="free port"):
        free_port()


def test_a_start_is_the_median_of_its_runs_and_its_ratio_is_to_everything_eager(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seconds = {"app.py": iter((2.0, 9.0, 3.0)), "-c": iter((12.0, 12.0, 12.0))}

    def one_start(command: Any, picture: Path, example: int) -> dict[str, Any]:
        page = next(seconds[command[0]])
        return {"port_s": 1.0, "page_s": page, "example_s": page, "upload_s": page, "before_model": page < 12}

    monkeypatch.setattr(startup, "one_start", one_start)
    assert startup.main(["--runs", "3", "--json", str(tmp_path / "report.json")]) == 0
    lines = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [(line["way"], line["page_s"], line["page_ratio"]) for line in lines] == [
        ("app.py", 3.0, 4.0), ("everything eager", 12.0, 1.0),
    ]  # fmt: skip
    assert [line["before_model"] for line in lines] == [True, False]
    assert "60% of the 5 s" in capsys.readouterr().out
