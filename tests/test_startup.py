"""The start: what loads when, what answers before the network is there, and the few folders that are served."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

import app
from aad.bundle import Bundle, safe_paths
from interface.gradio_gaps import without_stubs
from interface.page import HERE
from interface.pictures import served_paths, whole_folders
from tests.fakes import FakeAttributor

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(name + ' is blocked in this test', name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints in the project's folder."""
    kept = {key: value for key, value in os.environ.items() if key not in ("OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, timeout=120, env=kept | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bundled_examples_answer_without_the_network_that_embeds() -> None:
    blocked = ("torch", "torchvision", "timm", "umap", "onnxruntime", "openvino", "gradio")
    code = BLOCK.format(blocked=blocked) + (
        "import json\nfrom aad import Attributor\nfrom interface import handlers\n"
        "attributor = Attributor.load()\n"
        "answers = [handlers.answer_example(attributor, i, 5) for i in attributor.examples[:3]]\n"
        "answers += [handlers.answer_reference(attributor, 0, 5)]\n"
        "print(json.dumps([[a['status'], a['ready'], len(a['spaces'])] for a in answers]))\n"
    )
    assert json.loads(run(code)) == [["answer", False, 3]] * 4


def test_an_upload_does_need_it() -> None:
    code = BLOCK.format(blocked=("torch",)) + (
        "from PIL import Image\nfrom aad import Attributor\n"
        "try:\n    Attributor.load().attribute(Image.new('RGB', (32, 32)))\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    assert run(code).strip() == "torch is blocked in this test"


WATCH_NUMPY = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'numpy':
            print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ.get('OMP_WAIT_POLICY'))
sys.meta_path.insert(0, Watch())
import app
"""


def test_threads_are_settled_before_numpy_is_imported_and_a_wish_is_kept() -> None:
    assert run(WATCH_NUMPY).split() == ["1", "PASSIVE"]
    assert run(WATCH_NUMPY, OPENBLAS_NUM_THREADS="3", OMP_WAIT_POLICY="ACTIVE").split() == ["3", "ACTIVE"]


def test_warming_up_answers_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attributor = FakeAttributor(tmp_path, n_per_group=2)
    monkeypatch.setattr(app, "outcomes_of", lambda _: None)
    asked: list[object] = []
    attribute = attributor.attribute
    monkeypatch.setattr(attributor, "attribute", lambda image: asked.append(image) or attribute(image))
    app.warm_up(attributor)
    assert attributor.ready and len(asked) == 1


def files_in(entries: Sequence[Path]) -> set[Path]:
    """Every file that serving these folders and files would send."""
    found = {path for path in entries if path.is_file()}
    return found.union(*([path for path in entry.rglob("*") if path.is_file()] for entry in entries))


def tree(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def test_folders_of_nothing_but_pictures_are_served_as_one(tmp_path: Path) -> None:
    pictures = tree(tmp_path, *(f"set/{part}/{item}/{n}.png" for part in "ab" for item in range(3) for n in range(2)))
    (tmp_path / "notes.txt").touch()
    served = served_paths(pictures, private=[])
    assert len(served) == 6
    assert whole_folders(served) == [tmp_path / "set"]


def test_fewer_entries_serve_the_same_files(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "x/a/1.png", "x/b/1.png", "y/a/1.png", "y/b/1.png", "y/b/c/2.png", "z/1.png", "z/d/2.png")
    tree(tmp_path, "y/list.csv", "x/b/beside.txt", "secret/key", "z/d/deep/key")
    served = served_paths(pictures, private=[])
    fewer = whole_folders(served)
    assert files_in(fewer) == files_in(served)
    assert tmp_path / "x" in fewer and tmp_path / "y" not in fewer and len(fewer) < len(served)


def test_a_link_or_a_private_folder_keeps_its_parent_from_being_served(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "linked/a/1.png", "home/pictures/1.png", "elsewhere/1.png")
    (tmp_path / "linked" / "b").symlink_to(tmp_path / "elsewhere")
    served = served_paths(pictures[:2], private=[])
    assert tmp_path / "linked" not in whole_folders(served)
    assert tmp_path / "home" in whole_folders(served)
    assert tmp_path / "home" not in whole_folders(served, private=[tmp_path / "home"])
    assert tmp_path / "home" not in whole_folders(served, private=[tmp_path / "home" / "pictures" / "keys"])


def test_the_demo_is_served_from_two_folders() -> None:
    """Gradio tries every entry for every answer: with one for each query's folder that took half a second."""
    bundle = Bundle.open(None)
    images = (bundle.folder / bundle.section("images", "extract_features")).resolve()
    names = [entry["path"] for name in ("references.json", "queries.json") for entry in bundle.read_json(name)]
    pictures = safe_paths(images, names)
    private = [Path.home(), HERE]
    served = served_paths(pictures, private=private)
    fewer = whole_folders(served, private=private)
    assert [path.name for path in fewer] == ["exemplar", "synth"]
    assert files_in(fewer) == files_in(served)


COMPONENT = "import gradio as gr\n\n\nclass Shown(gr.Image):\n    pass\n"


def component(folder: Path) -> ModuleType:
    folder.mkdir()
    (folder / "shown.py").write_text(COMPONENT)
    spec = importlib.util.spec_from_file_location("shown", folder / "shown.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shown"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["shown"]
    return module


@pytest.mark.filterwarnings("ignore")
def test_no_stub_is_written_beside_a_component(tmp_path: Path) -> None:
    getfile = inspect.getfile
    with without_stubs():
        assert component(tmp_path / "without").Shown.__mro__[1].__name__ == "Image"
        assert Path(inspect.getfile(Path)) == Path(getfile(Path)), "others are not told so"
    assert inspect.getfile is getfile
    assert not list((tmp_path / "without").glob("*.pyi"))
    component(tmp_path / "as usual")
    assert list((tmp_path / "as usual").glob("*.pyi")), "gradio has stopped writing them: without_stubs can go"
