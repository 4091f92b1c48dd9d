"""Tables of measurements that someone spoilt, checksums and all: refused in words, or drawn. And what is served of odd folders."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aad import Attributor, BundleError
from aad.bundle import Bundle
from interface import why
from interface.pictures import to_serve
from tests.spoilt_bundles import refused, rewritten, signed, small_bundle, told

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


def read(folder: Path, name: str) -> Any:
    return READ[name](Bundle.open(folder), name)


def refilled(folder: Path, name: str, table: Any) -> None:
    signed(folder, name, json.dumps(table).encode())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small_bundle(tmp_path)


@pytest.mark.parametrize("name", GOOD)
def test_a_spoilt_table_is_refused_or_drawn(bundle: Path, name: str) -> None:
    good, n_refused, n_drawn = GOOD[name], 0, 0
    for table in (good, {}):  # the last measured nothing
        refilled(bundle, name, table)
        assert read(bundle, name) == table
    for path in list(places(good))[1:]:
        if "aligned" in path or "disentangled" in path:
            continue  # as the backbone
        for value in WRONG:
            refilled(bundle, name, spoilt(good, path, value))
            try:
                table = read(bundle, name)
            except BundleError:
                refused(bundle, name, load_it=lambda folder: read(folder, name))
                n_refused += 1
            else:
                json.dumps(DRAWN[name](table), allow_nan=False)  # a browser reads no NaN
                n_drawn += 1
    assert n_refused > 20 and n_drawn > 3, (n_refused, n_drawn)


def test_a_table_of_endless_kinds_is_refused_before_they_are_compared(bundle: Path) -> None:
    name = "generalisation.json"
    row = Bundle.open().read_json(name)["test"]["all families"]
    refilled(bundle, name, {"test": {f"kind {i}": row for i in range(1001)}})
    said = "at most 1000 entries as 'test' of the table, got an object of 1001"
    refused(bundle, name, said, lambda folder: read(folder, name))


def test_no_kind_or_none_with_the_order_is_a_sentence_or_none() -> None:
    assert why.families_of({}) is None
    falling = Bundle.open().read_json("generalisation.json")
    for row in falling["test"].values():
        for space, mean in (("backbone", 0.5), ("aligned", 0.4), ("disentangled", 0.3)):
            row["spaces"][space]["recall@1"]["mean"] = mean
    families = why.families_of(falling)
    assert families is not None and "for 0 of " in families["sentences"][1]


def test_a_bundle_that_names_a_folder_of_the_system_opens_none_of_it(bundle: Path) -> None:
    told(bundle, "images", value="../" * len(bundle.resolve().parts) + "etc")
    rewritten(bundle, "references.json", lambda old: [{**old[0], "path": "passwd"}, *old[1:]])
    attributor = Attributor.load(bundle)
    pictures = [one.path for one in (*attributor.references, *attributor.queries)]
    served = to_serve(pictures, private=[])
    assert Path("/etc/passwd").is_file() and {path.parent for path in served} == {Path("/etc")}
    assert {path.suffix for path in served} == {".png"}, "what it names, which is not there"
