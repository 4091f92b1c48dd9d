"""The arrows between the parts: app -> interface -> aad, precompute -> aad, benchmarks -> aad, and none back or sideways."""

import ast
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
# precompute/abc_mini) hold what steps are made of: steps may import them, they may import each other, but no step.
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


def test_app_and_interface_know_only_the_library() -> None:
    assert trespasses("app.py", {"aad", "interface"}) == []
    assert trespasses("interface", {"aad", "interface"}) == []


@pytest.mark.parametrize("part", ["precompute", "benchmarks"])
def test_precompute_and_benchmarks_know_only_the_library_and_themselves(part: str) -> None:
    assert trespasses(part, {"aad", part}) == []


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


def test_importing_the_app_stays_light() -> None:
    heavy = {"torch", "torchvision", "timm", "umap", "numba", "matplotlib", "faiss", "sklearn", "scipy", "onnxruntime"}
    assert modules_after("import app") & heavy == set()


def test_importing_the_library_stays_light() -> None:
    heavy = {"torch", "torchvision", "timm", "umap", "numba", "matplotlib", "gradio", "sklearn", "scipy", "onnxruntime"}
    assert modules_after("import aad") & heavy == set()


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
