"""What the JSON of a spoilt bundle says is checked entry by entry: types, ranges, paths that stay inside."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aad import Attributor
from aad.spaces import SPACES
from precompute.common.steps import write_step
from tests.spoilt_bundles import DEEP, NO_TEXT, NUMBER, TABLES, M, N, refused, signed, small_bundle, told


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        DEEP,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b'{"format": 1' + b"0" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_a_manifest_is_an_object_in_json(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refused(bundle, "manifest.json")


MANIFEST: list[tuple[tuple[str, ...], list[Any]]] = [
    (("format",), [told, 0, 2, 99, "1", True, 1.0, None, [1]]),
    (
        ("files",),
        [told, None, [], "x", {"../heads.safetensors": {"sha256": "0" * 64}}, {"/etc/passwd": {"sha256": "0" * 64}}],
    ),
    (
        ("files", "heads.safetensors"),
        [None, "0" * 64, {}, [], {"sha256": None}, {"sha256": "xyz"}, {"sha256": ["0" * 64]}],
    ),
    (("steps",), [told, None, [], 3]),
    (("steps", "calibrate"), [None, [], "x", {"sections": "files"}, {"sections": ["files"]}, {"sections": [[]]}]),
    (("steps", "extract_features"), [{"versions": []}, {"versions": "1"}]),
    (("name",), NO_TEXT),
    (("images",), [told, *NO_TEXT, "", "/etc", "//x", "a\0b", "..\\..\\x", "\\\\host\\share"]),
    (("backbone",), [told, None, [], "efficientnet_lite0", {}]),
    (("backbone", "dim"), [told, *NUMBER, "64", 64.0, 0, -1]),
    (("backbone", "name"), [told, *NO_TEXT]),
    (("backbone", "sha256"), NO_TEXT),
    (("backbone", "engine"), NO_TEXT),
    (("examples",), [None, {}, "01", [[0]], ["0"], [True], [0.0], [-1], [M], [10**30]]),
    (("calibration",), [told, None, [], {}, "x"]),
    (("calibration", "aligned"), [told, None, [], {}, 20.0, {"inverse_temperature": 20.0}]),
    (("calibration", "aligned", "inverse_temperature"), [told, *NUMBER, 0, -3.0]),
    (("calibration", "disentangled", "null_logit"), [told, *NUMBER]),
    (("calibration", "backbone", "more"), [1.0]),
    (("neighbour_preservation",), [told, None, [], {}, 0.5]),
    (("neighbour_preservation", "aligned"), [told, *NUMBER, -0.1, 1.1]),
    (("retrieval",), [None, [], "scan", {}, {"aligned": {}}]),
    (("retrieval",), [dict.fromkeys(SPACES, wrong) for wrong in NO_TEXT[:3]]),
]


@pytest.mark.parametrize(
    ("keys", "values"), MANIFEST, ids=lambda value: ".".join(value) if isinstance(value, tuple) else ""
)
def test_every_section_of_the_manifest_is_of_its_type_and_range(
    bundle: Path, keys: tuple[str, ...], values: list[Any]
) -> None:
    good = (bundle / "manifest.json").read_bytes()
    for value in values:
        (bundle / "manifest.json").write_bytes(good)
        told(bundle, *keys, value=value)
        text = refused(bundle, "manifest.json")
        assert any(key in text.partition("manifest.json")[2].partition(";")[0] for key in keys), (value, text)


def test_a_damaged_section_is_mended_by_the_step_that_writes_it(bundle: Path) -> None:
    calibration = json.loads((bundle / "manifest.json").read_bytes())["calibration"]
    told(bundle, "calibration", value="spoilt")
    assert "precompute.calibrate --bundle" in refused(bundle, "manifest.json")
    write_step(bundle, "calibrate", {}, command="x", sections={"calibration": calibration})
    assert "has not been made yet" in refused(bundle, "coordinates.npy")


PATHS = [
    "../x.png", "a/../../x.png", "/etc/passwd", "//x", "", ".", "..", "a/..", "x\0.png", "..\\x.png", "a\\b.png",
    "\udcff.png", None, 3, ["x.png"], {"a": 1}, "x/../../../../../etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_path_of_a_picture_stays_below_the_folder_of_pictures(bundle: Path, name: str, tmp_path: Path) -> None:
    entries = json.loads((bundle / name).read_bytes())
    for path in PATHS:
        signed(bundle, name, json.dumps([*entries[:-1], entries[-1] | {"path": path}]).encode())
        assert "path" in refused(bundle, name), path
    (tmp_path / "secret").mkdir()
    (bundle / "pictures").mkdir()
    (bundle / "pictures" / "way_out").symlink_to(tmp_path / "secret")
    signed(bundle, name, json.dumps([*entries[:-1], entries[-1] | {"path": "way_out/x.png"}]).encode())
    assert "is a link to" in refused(bundle, name)
    (bundle / "pictures" / "way_out").unlink()
    (bundle / "pictures" / "below").mkdir()
    (bundle / "pictures" / "way_out").symlink_to(bundle / "pictures" / "below")  # it stays inside
    Attributor.load(bundle)


def test_a_table_is_a_list_of_objects_with_what_is_needed(bundle: Path) -> None:
    for name in TABLES:
        good = (bundle / name).read_bytes()
        for content in (b"", b"{", DEEP, b"{}", b"null", b"7", b'"text"', b"[1]", b"[null]", b"[[]]", b"[{}]", b"\xff"):
            signed(bundle, name, content)
            text = refused(bundle, name)
            assert ("is no JSON" in text) == (content in (b"", b"{", DEEP, b"\xff")), (content, text)
        for other in (json.loads(good)[:-1], json.loads(good) * 2):  # fewer and more entries than rows
            signed(bundle, name, json.dumps(other).encode())
            text = refused(bundle, "")
            assert ".npy has shape" in text or "exemplar_ids" in text
        signed(bundle, name, good)


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("references.json", "title", [told, [], {}]),
        ("references.json", "source", [told, [], {}]),
        ("references.json", "licence", [told, [], {}]),
        ("references.json", "concept", [[], {}]),
        ("references.json", "split", [[], {}]),
        ("queries.json", "type", [told, *NO_TEXT]),
        ("queries.json", "concept", NO_TEXT),
        ("queries.json", "split", NO_TEXT),
        ("queries.json", "recipe", [3, "x", []]),
        (
            "queries.json",
            "exemplar_ids",
            [told, None, {}, 3, "0", [-1], [N], [0, 0], [True], [0.0], ["0"], [None], [[0]], [10**30]],
        ),
    ],
)
def test_every_field_of_an_entry_is_of_its_type(bundle: Path, name: str, key: str, values: list[Any]) -> None:
    good = json.loads((bundle / name).read_bytes())
    for value in values:
        entry = {k: v for k, v in good[1].items() if k != key} | ({} if value is told else {key: value})
        signed(bundle, name, json.dumps([good[0], entry, *good[2:]]).encode())
        assert key in refused(bundle, name), value


def test_measurements_are_objects(bundle: Path) -> None:
    for name in ("metrics.json", "generalisation.json", "theory.json"):
        before = (bundle / "manifest.json").read_bytes()
        for content in (b"[]", b"3", b"null", b"{", DEEP):
            signed(bundle, name, content)
            refused(bundle, name)
        (bundle / "manifest.json").write_bytes(before)
