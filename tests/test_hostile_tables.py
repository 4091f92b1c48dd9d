"""Tables of measurements that someone spoilt, checksums and all: refused in words, or drawn. And what is served of odd folders."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aad import Attributor, BundleError
from aad.bundle import Bundle
from interface import why
from interface.pictures import to_serve
from tests.spoilt_bundles import rewritten, small_bundle, told

SPACES = ("backbone", "aligned", "disentangled")
INTERVAL = {"mean": 0.5, "low": 0.4, "high": 0.6}
FAMILY = {space: {"recall@1": INTERVAL, "mrr": INTERVAL} for space in SPACES}
COLUMN = {
    "recall@1": 0.5,
    "spectrum": [0.5, 0.1],
    "canonical_correlations": [0.9, 0.4],
    "closeness": {"0.1": {"subspace": 0.3, "cka": 0.4}},
}
GOOD: dict[str, dict[str, Any]] = {
    "metrics.json": {"held_out_generators": ["filters"]},
    "generalisation.json": {
        "test": {name: {"left_out": "filters", "n_queries": 5, "spaces": FAMILY} for name in ("photo, all", "photo")}
    },
    "theory.json": {
        "n_pairs": {"train": 9, "test": 8},
        "n_sources": {"train": 7, "test": 6},
        "settings": {"subspace": 2, "oracle_rank": {"0.1": 1}, "shrinkage": 0.1},
        "chance": {"0.1": {"subspace": 0.5}},
        "spaces": dict.fromkeys(SPACES, COLUMN),
        "oracle": COLUMN,
    },
}
DROP = object()
WRONG = [DROP, None, True, "x", [], {}, [1], {"a": 1}, float("nan"), float("-inf"), 1e300, 10**400, -1, 0, 2.5]
READ: dict[str, Callable[[Bundle, str], Any]] = dict.fromkeys(why.FORMS, why.table) | {"metrics.json": Bundle.read_json}
DRAWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "metrics.json": lambda told: list(told.get("held_out_generators", ())),
    "generalisation.json": why.families_of,
    "theory.json": why.theory_of,
}
STEP = {"metrics.json": "evaluate", "generalisation.json": "leave_out", "theory.json": "measure_theory"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each part of a table is."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def spoilt(table: dict[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    """The table with another value at one place; it is shared but for the way there."""
    if not path:
        return value
    changed = copy.copy(table)
    if len(path) == 1 and value is DROP:
        del changed[path[0]]
    else:
        changed[path[0]] = spoilt(changed[path[0]], path[1:], value)
    return changed


def opened(folder: Path, tables: dict[str, Any]) -> Bundle:
    files = {}
    for name, table in tables.items():
        content = json.dumps(table).encode()
        (folder / name).write_bytes(content)
        files[name] = {"sha256": hashlib.sha256(content).hexdigest()}
    return Bundle(folder, {"files": files})


@pytest.mark.parametrize("name", STEP)
def test_a_spoilt_table_is_refused_or_drawn(tmp_path: Path, name: str) -> None:
    good = GOOD[name]
    assert READ[name](opened(tmp_path, {name: good}), name) == good
    n_refused, n_drawn = 0, 0
    for path in list(places(good))[1:]:
        if "aligned" in path or "disentangled" in path:
            continue  # as the backbone
        for value in WRONG:
            try:
                table = READ[name](opened(tmp_path, {name: spoilt(good, path, value)}), name)
            except BundleError as error:
                text = str(error)
                assert "\n" not in text and str(tmp_path / name) in text and len(text) < 600 + 2 * len(str(tmp_path))
                assert f"rebuild it with: python -m precompute.{STEP[name]} --bundle" in text
                n_refused += 1
            else:
                json.dumps(DRAWN[name](table), allow_nan=False)  # a browser reads no NaN
                n_drawn += 1
    assert n_refused > 20 and n_drawn > 3, (n_refused, n_drawn)


def test_a_table_of_endless_kinds_is_refused_before_they_are_compared(tmp_path: Path) -> None:
    good = Bundle.open().read_json("generalisation.json")
    row = good["test"]["all families"]
    crowd = {"test": {f"kind {i}": row for i in range(1001)}}
    with pytest.raises(BundleError, match=r"at most 1000 entries as 'test' of the table, got an object of 1001"):
        why.table(opened(tmp_path, {"generalisation.json": crowd}), "generalisation.json")


def test_tables_that_measured_nothing_are_none_to_the_page(tmp_path: Path) -> None:
    for name in STEP:
        assert READ[name](opened(tmp_path, {name: {}}), name) == {}
    assert why.families_of({}) is None


def test_no_kind_with_the_order_is_a_sentence_too() -> None:
    good = Bundle.open().read_json("generalisation.json")
    falling = json.loads(json.dumps(good))
    for row in falling["test"].values():
        for space, mean in (("backbone", 0.5), ("aligned", 0.4), ("disentangled", 0.3)):
            row["spaces"][space]["recall@1"]["mean"] = mean
    families = why.families_of(falling)
    assert families is not None and "for 0 of " in families["sentences"][1]


def test_a_bundle_that_names_a_folder_of_the_system_opens_none_of_it(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path)
    told(folder, "images", value="../" * len(folder.resolve().parts) + "etc")
    rewritten(folder, "references.json", lambda old: [{**old[0], "path": "passwd"}, *old[1:]])
    bundle = Attributor.load(folder)
    pictures = [one.path for one in (*bundle.references, *bundle.queries)]
    served = to_serve(pictures, private=[])
    assert Path("/etc/passwd").is_file() and {path.parent for path in served} == {Path("/etc")}
    assert {path.suffix for path in served} == {".png"}, "what it names, which is not there"
