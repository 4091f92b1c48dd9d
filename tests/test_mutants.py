"""The command that breaks the core: its mutants are sound Python that differs, and what it counts is so."""

import ast
import json
from pathlib import Path

import pytest

from tests.endurance import mutants as check
from tests.endurance.equivalent_mutants import EQUIVALENT
from tests.endurance.mutations_of_code import mutants

MODULES = [check.ROOT / module for module in check.TESTS]
SAMPLE = '''"""About 3 numbers."""


def scaled(rows: "int | None" = 4, k: int = 2) -> "list | None":
    """Rows below 5 + 6."""
    if not rows:
        raise ValueError(f"{k + 7} rows, got {rows}" + str(8))
    total = [1.5]
    total = total + [-k]  # é, a character of two bytes
    total[0] *= 9
    return sorted(min(total, key=len)[: k], reverse=True)
'''
WANTED = {
    "4 -> 5",
    "not rows -> rows",
    "raise ValueError(f'{k + 7} rows, got {rows}' + str(8)) -> pass",
    "1.5 -> 2.5",
    "total = total + [-k] -> pass",
    "total + [-k] -> total - [-k]",
    "-k -> k",
    "total[0] *= 9 -> pass",
    "total[0] *= 9 -> total[0] /= 9",
    "0 -> -1",
    "min(total, key=len) -> max(total, key=len)",
    "k -> k + 1",
    "k -> k - 1",
    "True -> False",
    "return sorted(min(total, key=len)[:k], reverse=True) -> return None",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_mutant_of_the_core_is_python_that_differs_and_keeps_its_docstrings(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    made = mutants(source)
    assert len(made) > 20 and made == mutants(source)
    assert len({mutant.source for mutant in made}) == len(made)
    words, sound = docstrings(source), ast.dump(ast.parse(source))
    for mutant in made[:: max(1, len(made) // 12)]:
        assert ast.dump(ast.parse(mutant.source)) != sound
        assert docstrings(mutant.source) == words
        assert source.splitlines()[mutant.line - 1].strip() == mutant.text


def docstrings(source: str) -> list[str | None]:
    places = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, places)]


def test_mutants_are_of_every_kind_and_leave_words_alone() -> None:
    changes = {mutant.change for mutant in mutants(SAMPLE)}
    assert changes >= WANTED, WANTED - changes
    for text in ("About 3", "below 5 + 6", "k + 7", "str(8)", '"int | None"', '"list | None"', "two bytes"):
        untouched = [mutant for mutant in mutants(SAMPLE) if "raise" not in mutant.change and text not in mutant.source]
        assert untouched == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a is not b", {"a is b"}),
        ("a and b", {"a or b"}),
        ("f(a, b)", {"f(b, a)"}),
        ("max(a, b)", {"min(a, b)"}),
        ("a @ b", {"a * b"}),
        ("a[b:]", {"a[b + 1:]"}),
        ("f'{a + 1}'", set()),
        ("'text'", set()),
    ],
)
def test_an_expression_becomes(before: str, after: set[str]) -> None:
    found = {ast.unparse(ast.parse(mutant.source)) for mutant in mutants(f"x = {before}")}
    assert found == {f"x = {one}" for one in after}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package of one function, and tests that do not look at its boundary."""
    root = tmp_path / "root"
    (root / "tests").mkdir(parents=True)
    (root / "core.py").write_text("def larger(a, b):\n    return a > b\n")
    (root / "tests" / "test_core.py").write_text(
        "from core import larger\n\n\ndef test_larger():\n    assert larger(2, 1) is True and larger(1, 2) is False\n"
    )
    return root


def test_a_weak_test_lets_the_boundary_pass_until_it_is_tested(project: Path, tmp_path: Path) -> None:
    tests, kept = {"core.py": ("tests/test_core.py",)}, tmp_path / "kept"
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    own = check.survey(project, tests, jobs=2, kept=kept)["core.py"]
    assert (own["killed"], own["survived"], own["timed out"]) == (2, 1, 0)
    assert own["survivors"] == ["core.py:2  a > b -> a >= b  in: return a > b"]
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    kept.write_text(kept.read_text() + '\n{"key": "cut sho')
    path = project / "tests" / "test_core.py"
    path.write_text(path.read_text() + "\n\ndef test_equals():\n    assert not larger(1, 1)\n")
    again = check.survey(project, tests, jobs=1, kept=kept)["core.py"]
    assert (again["killed"], again["survived"], again["survivors"]) == (3, 0, [])
    found = [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("}")]
    assert [one["by"] for one in found].count("tests/test_core.py::test_equals") == 1
    assert len(found) == 4  # only the survivor was tried again


def test_a_mutant_that_never_ends_is_killed_and_one_that_is_known_is_not_tried(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "core.py").write_text("def down(n):\n    while n > 0:\n        n -= 1\n    return n\n")
    (project / "tests" / "test_core.py").write_text(
        "from core import down\n\n\ndef test_down():\n    assert down(2) == 0\n"
    )
    monkeypatch.setattr(check, "LEAST_SECONDS", 2.0)
    monkeypatch.setattr(check, "TIMES", 3)
    known = {"n > 0 -> n <= 0", "n > 0 -> n >= 0", "return n -> return None", "0 -> -1", "1 -> 2", "1 -> 0", "1 -> -1"}
    lines = dict.fromkeys(("while n > 0:", "n -= 1", "return n"), dict.fromkeys(known, "for this test"))
    monkeypatch.setitem(EQUIVALENT, "core.py", lines)
    own = check.survey(project, {"core.py": ("tests/test_core.py",)}, jobs=2)["core.py"]
    assert (own["killed"] + own["timed out"], own["survived"], own["equivalent"]) == (3, 0, len(known))
    assert own["timed out"] >= 2  # and the third where this machine is busy


def test_tests_that_fail_on_the_sound_module_or_are_none_stop_the_check(project: Path) -> None:
    (project / "tests" / "test_none.py").write_text("")
    with pytest.raises(RuntimeError, match="cannot be run"):
        check.survey(project, {"core.py": ("tests/test_none.py",)}, jobs=1)
    (project / "core.py").write_text("def larger(a, b):\n    return a < b\n")
    with pytest.raises(RuntimeError, match=r"must pass before it is changed: killed tests/test_core\.py::test_larger"):
        check.survey(project, {"core.py": ("tests/test_core.py",)}, jobs=1)


def test_every_known_equivalent_is_still_a_mutant_of_its_line() -> None:
    for module, lines in EQUIVALENT.items():
        made = {(one.text, one.change) for one in mutants((check.ROOT / module).read_text(encoding="utf-8"))}
        named = {(text, change) for text, changes in lines.items() for change in changes}
        assert named <= made, (module, named - made)
        assert all(reason for changes in lines.values() for reason in changes.values())


def test_every_module_has_its_tests() -> None:
    for module, names in check.TESTS.items():
        assert (check.ROOT / module).is_file() and all(
            (check.ROOT / "tests" / f"{name}.py").is_file() for name in names
        )
