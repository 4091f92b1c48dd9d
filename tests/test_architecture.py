"""The arrows between the parts: app -> interface -> aad, precompute -> aad, benchmarks -> interface, aad; none back or sideways."""

import ast
import graphlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def trespasses(part: str, allowed: set[str]) -> list[str]:
    """List the imports by which a part of the project reaches one of ours that it must not know."""
    files = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
    assert files or part == "benchmarks", f"{part} has no Python files; was it moved?"
    found = {(file.relative_to(ROOT).as_posix(), name) for file in files for name in imports(file)}
    return [f"{file} imports {name}" for file, name in sorted(found) if name.split(".")[0] in OURS - allowed]


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


def test_library_knows_nothing_of_its_users() -> None:
    assert trespasses("aad", {"aad"}) == []
    gradio = [file.name for file in (ROOT / "aad").rglob("*.py") if any(n.startswith("gradio") for n in imports(file))]
    assert gradio == []


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


def test_app_and_interface_know_only_the_library() -> None:
    assert trespasses("app.py", {"aad", "interface"}) == []
    assert trespasses("interface", {"aad", "interface"}) == []


def test_precompute_knows_only_the_library_and_itself() -> None:
    assert trespasses("precompute", {"aad", "precompute"}) == []


def test_benchmarks_know_what_they_time_and_nobody_knows_them() -> None:
    assert trespasses("benchmarks", {"aad", "interface", "benchmarks"}) == []  # the page is timed as it is served


def test_precompute_steps_meet_only_through_files() -> None:
    found = []
    for file in sorted((ROOT / "precompute").rglob("*.py")):
        own = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found += [f"{own} imports {name}" for name in sorted(set(imports(file)) & (STEPS - {own}))]
    assert found == []


def modules_after(statement: str) -> set[str]:
    """Import in a fresh interpreter and return the top-level packages that came along."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


# What takes a tenth of a second or more, or is optional. A server needs gradio, but not to print its --help or to refuse a bundle.
HEAVY = {
    *("torch", "torchvision", "timm", "umap", "numba", "matplotlib", "faiss", "sklearn", "scipy", "pandas"),
    *("gradio", "gradio_client", "fastapi", "httpx", "asyncio", "huggingface_hub", "safetensors", "tqdm"),
    *("onnxruntime", "openvino", "ray", "qdrant_client", "pyarrow"),
}


def test_importing_the_app_stays_light() -> None:
    assert modules_after("import app") & HEAVY == set()


def test_importing_any_module_of_the_library_stays_light() -> None:
    every = "import aad, importlib, pkgutil; [importlib.import_module(m.name) for m in pkgutil.walk_packages(aad.__path__, 'aad.')]"
    found = modules_after(every)
    assert found & HEAVY == set()
    assert {"aad", "numpy", "PIL"} <= found


@pytest.mark.parametrize("part", ["app.py", "interface", "aad"])
def test_heavy_packages_are_imported_only_inside_functions(part: str) -> None:
    files = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
    found = [f"{file.name}: {name}" for file in files for name in imported_at_once(file)]
    assert [line for line in found if line.split(": ")[1].split(".")[0] in HEAVY] == []


def imported_at_once(path: Path) -> list[str]:
    """The modules that a file imports as soon as it is imported: not in functions, and not for type checkers alone."""
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    found: list[str] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module or "")
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            waiting += [] if for_checkers else [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
    return found


@pytest.mark.parametrize("host", ["example.com", "192.0.2.1", "2001:db8::1"])
def test_tests_cannot_reach_another_machine(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client, pytest.raises(RuntimeError, match="this machine only"):
        client.connect((host, 80))
    with socket.socket(family, socket.SOCK_DGRAM) as client, pytest.raises(RuntimeError, match="this machine only"):
        client.sendto(b"ping", (host, 80))
    with pytest.raises(RuntimeError, match="this machine only"):
        socket.create_connection((host, 80), timeout=1)


def test_tests_can_reach_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
