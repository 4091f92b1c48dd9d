"""The arrows between the parts: app -> interface -> aad, precompute -> aad, benchmarks -> interface, aad; none back or sideways."""

import ast
import graphlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small import python

ROOT = Path(__file__).resolve().parents[1]
OURS = {"aad", "app", "interface", "precompute", "benchmarks", "tests"}
# The steps are the modules directly in precompute/. They meet only through files. Folders below it (precompute/common,
# precompute/demo) hold what steps are made of: steps may import them, they may import each other, but no step.
STEPS = {f"precompute.{path.stem}" for path in (ROOT / "precompute").glob("*.py")}


def imports(path: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield the dotted names a file imports, at its top or inside functions, relative and by import_module too."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*parents, *filter(None, [node.module])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def sources(part: str) -> list[Path]:
    return [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))


def test_every_way_to_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "aad" / "inner").mkdir(parents=True)
    path = tmp_path / "aad" / "inner" / "module.py"
    path.write_text(
        "import numpy as np, precompute.train\n"
        "from . import near\n"
        "from ..heads import Head\n"
        "def later():\n    from app import build_app\n    importlib.import_module('gradio')\n"
    )
    expected = {"numpy", "precompute.train", "aad.inner", "aad.inner.near", "aad.heads", "aad.heads.Head"}
    assert set(imports(path, tmp_path)) == expected | {"app", "app.build_app", "gradio"}


@pytest.mark.parametrize(
    ("part", "allowed"),
    [
        ("aad", {"aad"}),
        ("app.py", {"aad", "interface"}),
        ("interface", {"aad", "interface"}),
        ("precompute", {"aad", "precompute"}),
        ("benchmarks", {"aad", "interface", "benchmarks"}),  # the page is timed as it is served; nobody knows them
    ],
)
def test_no_part_knows_its_users(part: str, allowed: set[str]) -> None:
    files = sources(part)
    found = {(file.relative_to(ROOT).as_posix(), name) for file in files for name in imports(file)}
    assert files and [one for one in sorted(found) if one[1].split(".")[0] in OURS - allowed] == []
    assert part != "aad" or not [one for one in found if one[1].startswith("gradio")]


def test_the_method_knows_rows_and_spaces_only() -> None:
    files = sorted((ROOT / "aad" / "method").glob("*.py"))
    found = {name for file in files for name in imports(file) if name.split(".")[0] in OURS}
    assert {n for n in found if not f"{n}.".startswith(("aad.method.", "aad.vectors.", "aad.spaces."))} == set()
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 450


def test_nothing_imports_in_a_circle() -> None:
    """Neither at once nor later: an import inside a function counts, a package stands for what its ``__init__`` takes."""
    files = [ROOT / "app.py", *(file for part in OURS - {"app", "tests"} for file in (ROOT / part).rglob("*.py"))]
    of = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    arrows = {}
    for own, file in of.items():
        taken = set(imports(file)) & (of.keys() - {own})
        only_passed = {name.rpartition(".")[0] for name in taken} & taken  # `from aad import search` takes aad.search
        arrows[own] = taken - {one for one in only_passed if "__init__" in of[one].name}
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def test_precompute_steps_meet_only_through_files() -> None:
    found = []
    for file in sorted((ROOT / "precompute").rglob("*.py")):
        own = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found += [f"{own} imports {name}" for name in sorted(set(imports(file)) & (STEPS - {own}))]
    assert found == []


# What takes a tenth of a second or more, or is optional. A server needs gradio, but not to print its --help or to refuse a bundle.
HEAVY = {
    *("torch", "torchvision", "timm", "umap", "numba", "matplotlib", "faiss", "sklearn", "scipy", "pandas"),
    *("gradio", "gradio_client", "fastapi", "httpx", "asyncio", "huggingface_hub", "safetensors", "tqdm"),
    *("onnxruntime", "openvino", "ray", "qdrant_client", "pyarrow"),
}


def test_importing_any_module_of_the_app_stays_light() -> None:
    """So what is heavy is imported inside functions only."""
    code = (
        "import app, aad, interface, importlib, json, pkgutil, sys\n"
        "for package in (aad, interface):\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'): importlib.import_module(module.name)\n"
        "print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    )
    found = set(json.loads(python(code).splitlines()[-1]))
    assert found & HEAVY == set() and {"aad", "app", "interface", "numpy", "PIL"} <= found


def test_tests_can_reach_this_machine_and_no_other() -> None:
    for host, family in (
        ("example.com", socket.AF_INET),
        ("192.0.2.1", socket.AF_INET),
        ("2001:db8::1", socket.AF_INET6),
    ):
        with (
            socket.socket(family, socket.SOCK_STREAM) as client,
            pytest.raises(RuntimeError, match="this machine only"),
        ):
            client.connect((host, 80))
        with socket.socket(family, socket.SOCK_DGRAM) as client, pytest.raises(RuntimeError, match="this machine only"):
            client.sendto(b"ping", (host, 80))
        with pytest.raises(RuntimeError, match="this machine only"):
            socket.create_connection((host, 80), timeout=1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
