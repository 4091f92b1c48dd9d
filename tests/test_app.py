"""The program: what it says and refuses, what loads when, and what answers before the network is there."""

from __future__ import annotations

import importlib
import inspect
import json
import random
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

import aad
import app
from aad.backbones import BackboneError
from benchmarks.serving import free_port
from interface.gradio_gaps import without_stubs
from interface.serving import Stop
from tests import served
from tests.factory import tiny_bundle
from tests.fakes import FakeAttributor
from tests.small import python


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        app.main(["--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0
    for option in ("--bundle", "--weights", "--device", "--qdrant", "--host", "--port", "--share"):
        assert option in told


def test_missing_bundle_is_told_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--bundle", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_bundle_whose_rows_are_damaged_is_served_until_that_is_known(tmp_path: Path) -> None:
    (tiny_bundle(tmp_path) / "references_aligned.npy").write_bytes(b"damaged")
    command = [sys.executable, "app.py", "--port", str(free_port()), "--bundle", str(tmp_path / "bundle")]
    ended = subprocess.run(command, cwd=served.ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and "references_aligned.npy" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "folder", "words"),
    [
        (["--port", "TAKEN"], None, "got 127.0.0.1 and"),
        (["--port", "TAKEN", "--host", "[::1]"], None, "got ::1 and"),
        (["--port", "0"], None, "a port is from 1 to 65535"),
        (["--port", "65536"], None, "a port is from 1 to 65535"),
        ([], "/proc/nowhere", "set GRADIO_TEMP_DIR to another"),
    ],
)
def test_a_server_that_cannot_be_says_so_in_one_line(
    options: list[str],
    folder: str | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(aad, "Attributor", lambda *_: None)
    monkeypatch.setattr(app, "build_app", lambda _: None)
    monkeypatch.setattr(app, "warm_up", lambda *_: None)
    if folder:
        monkeypatch.setenv("GRADIO_TEMP_DIR", folder)
    with socket.socket(socket.AF_INET6 if "[::1]" in options else socket.AF_INET) as other:
        other.bind(("::1" if "[::1]" in options else "127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        assert app.main([taken if option == "TAKEN" else option for option in options]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1 and "Traceback" not in told


def test_whenever_it_is_stopped_it_ends_soon_with_0(tmp_path: Path) -> None:
    draw = random.Random(0)
    # It starts; it has just answered; it warms up; and at any moment.
    moments = (-0.3, 0.0, 2.3, *(draw.uniform(-1, 0.3) for _ in range(7)))

    def stop(seconds: float) -> tuple[int, bool]:
        (folder := tmp_path / str(seconds)).mkdir()
        code, took, _ = served.stopped(folder, seconds)
        return code, took < 5

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(stop, moments)) == [(0, True)] * len(moments)


ANYWHERE = """
import os, signal, sys, threading
from interface.serving import Stop
signal.alarm(30)
for n in range(25):
    stop, lines = Stop(), iter(range(99))
    def trace(frame, event, _):
        if event == "line" and next(lines) == n: signal.raise_signal(signal.SIGTERM)
        return trace
    with stop:
        stop.serving = True
        threading.Timer(0.02, lambda: stop.told or os.kill(os.getpid(), signal.SIGTERM)).start()
        sys.settrace(trace)
        stop.wait()
        sys.settrace(None)
print("ended")
"""


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="needs POSIX signals")
def test_told_in_the_middle_of_its_waiting_it_does_not_wait_for_ever() -> None:
    assert python(ANYWHERE) == "ended\n"


@pytest.mark.parametrize("serving", [False, True])
def test_what_becomes_of_an_end_in_the_code_it_came_into_is_no_fault_until_somebody_may_have_asked(
    serving: bool,
) -> None:
    stop = Stop()
    with suppress(RuntimeError) if serving else nullcontext(), stop:
        stop.serving = serving
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            assert not serving
        raise RuntimeError("what an import has made of it")
    assert stop.told


def test_bundled_examples_answer_without_the_network_that_embeds_and_an_upload_does_need_it() -> None:
    needless = ("torchvision", "timm", "torch._dynamo")  # each takes as long as all of torch
    blocked = ("torch", *needless, "umap", "onnxruntime", "openvino", "gradio")
    code = (
        f"import json, sys\nsys.modules.update(dict.fromkeys({blocked}))\n"  # so that importing one fails
        "from PIL import Image\nfrom aad import Attributor\nfrom interface import handlers\n"
        "attributor = Attributor.load()\n"
        "answers = [handlers.answer(attributor, 'query', i, 5) for i in attributor.examples[:3]]\n"
        "answers += [handlers.answer(attributor, 'reference', 0, 5)]\n"
        "print(json.dumps([[a['status'], a['ready'], len(a['spaces'])] for a in answers]))\n"
        "try:\n    attributor.attribute(Image.new('RGB', (32, 32)))\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
        "del sys.modules['torch']\nprint(len(attributor.attribute(Image.new('RGB', (32, 32)), 3)['aligned'].matches))\n"
    )
    answers, upload, with_torch = python(code).splitlines()
    assert json.loads(answers) == [["answer", False, 3]] * 4
    assert upload == "import of torch halted; None in sys.modules" and with_torch == "3"


WATCH_NUMPY = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'numpy':
            print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ.get('OMP_WAIT_POLICY'))
            sys.exit()  # enough was seen
sys.meta_path.insert(0, Watch())
import app
"""


def test_threads_are_settled_before_numpy_is_imported_and_a_wish_is_kept() -> None:
    assert python(WATCH_NUMPY, OPENBLAS_NUM_THREADS=None, OMP_WAIT_POLICY=None).split() == ["1", "PASSIVE"]
    assert python(WATCH_NUMPY, OPENBLAS_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE").split() == ["3", "ACTIVE"]


def test_warming_up_answers_a_picture_and_tells_of_missing_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise BackboneError("weights.pth is missing: give --weights FILE")

    attributor, made = FakeAttributor(tmp_path, n_per_group=1), list[object]()
    monkeypatch.setattr(app, "outcomes_of", made.append)
    monkeypatch.setattr(app, "QUIET_SECONDS", 0)
    app.warm_up(attributor, Stop())
    assert attributor.ready and attributor.n_backbone_calls == 1 and made == [attributor]
    attributor.references[0].path.unlink()
    monkeypatch.setattr(attributor, "warm_up", missing)
    app.warm_up(attributor, Stop())
    told = capsys.readouterr().err
    assert (
        "1 of 25 pictures are not where the bundle says" in told
        and "weights.pth is missing" in told
        and made == 2 * [attributor]
    )


@pytest.mark.filterwarnings("ignore")
def test_no_stub_is_written_beside_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("shown_without", "shown_as_usual"):
        (tmp_path / f"{name}.py").write_text("import gradio as gr\n\n\nclass Shown(gr.Image):\n    pass\n")
    getfile = inspect.getfile
    with without_stubs():
        importlib.import_module("shown_without")
        assert Path(inspect.getfile(Path)) == Path(getfile(Path)), "others are not told so"
    assert inspect.getfile is getfile
    importlib.import_module("shown_as_usual")
    written = [path.name for path in tmp_path.glob("*.pyi")]
    assert written == ["shown_as_usual.pyi"], (
        "where there is none gradio has stopped writing them: without_stubs can go"
    )
