"""The page's modules: who imports whom, read from the files themselves; and how they are served."""

import graphlib
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from interface import scripts

ROOT = Path(__file__).resolve().parents[1]
IMPORT = re.compile(r'^import \{ ([^}]*) \} from "([^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:const|let|function|class) (\w+(?:, \w+)*)|^export \{ ([^}]*) \};$", re.MULTILINE)
TEXTS = {name: (scripts.UI / name).read_text("utf-8") for name in scripts.modules()}
#: folder -> folders that its modules may import from; page.js, the door, may import all
ARROWS = {
    "core": {"core"},
    "charts": {"core", "charts"},
    "maps": {"core", "maps"},
    "views": {"core", "charts", "maps", "views"},
}


def imports(name: str) -> dict[str, set[str]]:
    """Module -> names taken from it."""
    found: dict[str, set[str]] = {}
    for names, address in IMPORT.findall(TEXTS[name]):
        target = ((scripts.UI / name).parent / address).resolve().relative_to(scripts.UI).as_posix()
        found.setdefault(target, set()).update(part.split(" as ")[0] for part in names.split(", "))
    return found


def exports(name: str) -> set[str]:
    return {word for found in EXPORT.findall(TEXTS[name]) for names in found if names for word in names.split(", ")}


@pytest.mark.parametrize("name", scripts.modules())
def test_a_module_imports_what_is_there_from_where_it_may(name: str) -> None:
    assert len(re.findall(r"\bimport\b(?=[\s(]+[^*]*[\"'])", TEXTS[name].split("\nexport", 1)[0])) == len(
        IMPORT.findall(TEXTS[name])
    ), "an import must be one line of names in braces, so that it is seen here"
    for target, names in imports(name).items():
        assert names <= exports(target), f"{target} must export {names - exports(target)}"
        own, other = name.partition("/")[0], target.partition("/")[0]
        assert name == scripts.ENTRY or other in ARROWS[own], f"{name} must not import {target}"


def test_no_module_comes_back_to_itself_and_every_one_is_reached_from_the_door() -> None:
    arrows = {name: set(imports(name)) for name in TEXTS}
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle
    assert set(TEXTS) - set().union(*arrows.values()) == {scripts.ENTRY}


def test_nothing_is_exported_that_nobody_takes_and_nothing_is_global() -> None:
    taken = {word for name in TEXTS for words in imports(name).values() for word in words}
    python = "".join(
        path.read_text("utf-8")
        for part in ("interface", "benchmarks", "tests/browser")
        for path in (ROOT / part).glob("*.py")
    )
    for name, text in TEXTS.items():
        idle = {word for word in exports(name) - taken if not re.search(rf"\b{word}\b", python)}
        assert not idle, f"{name} exports {idle}, which nobody imports"
        assert not re.search(r"\b(?:window|globalThis)\.\w+\s*(?:\?\?)?=[^=]", text), f"{name} must leave no global"


def test_modules_are_kept_for_good_under_an_address_of_their_own() -> None:
    client = TestClient(Starlette(routes=scripts.routes()))
    for name in scripts.modules():
        address = f"{scripts.folder()}/{name}"
        assert f'<link rel="modulepreload" href="{address}">' in scripts.preloads()
        answer = client.get("/" + address)
        kind = answer.headers["content-type"]  # text/ or, once gradio is imported, application/: both are modules
        assert answer.status_code == 200 and kind.partition(";")[0].endswith("/javascript"), kind
        assert answer.text == TEXTS[name] and "immutable" in answer.headers["cache-control"]
    for other in ("ui/000000000000/page.js", "ui/page.js", f"{scripts.folder()}/../../app.py"):
        assert client.get("/" + other).status_code == 404, "no other version, and nothing beside the modules"


def test_the_address_changes_with_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "UI", tmp_path)
    seen = set()
    for name, text in (("page.js", "1"), ("page.js", "2"), ("core/a.js", "2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        seen.add(scripts.folder.__wrapped__())
    assert len(seen) == 3
