"""Bundles that someone spoilt on purpose, checksums and all: each is refused in one line that names the file and the remedy."""

import ast
import gc
import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from aad import Attributor, BundleError
from aad.artifacts import WRITTEN_BY, Bundle, write_step
from aad.retrieval import StoredRows, build_index
from aad.spaces import SPACES
from tests.galleries import D, wide_bundle

N, M = 12, 3
ROOT = Path(__file__).resolve().parents[1]
DEEP = b"[" * 100_000
ARRAYS = {
    "references_backbone.npy": (N, D),
    "references_aligned.npy": (N, D),
    "references_disentangled.npy": (N, D),
    "queries_backbone.npy": (M, D),
    "coordinates.npy": (3, N, 2),
}
ROWS = [name for name in ARRAYS if name.startswith("references")]
TABLES = ["references.json", "queries.json"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wide_bundle(tmp_path_factory.mktemp("good") / "bundle", N, M)


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def signed(bundle: Path, name: str, content: bytes) -> None:
    """Another content, and its sha256 in the manifest: what whoever makes a bundle can write."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def told(bundle: Path, *keys: str, value: Any) -> None:
    """Another value in the manifest; the name of no value takes the entry out."""
    manifest = entry = json.loads((bundle / "manifest.json").read_bytes())
    for key in keys[:-1]:
        entry = entry[key]
    if value is told:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def lying(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    """The header of an array that is not there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


def header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def refused(folder: Path, name: str, load_it: Callable[[Path], Any] = Attributor.load) -> str:
    """What is said, after seeing that it is one line with the file and the remedy, and no other kind of error."""
    with pytest.raises(BundleError) as caught:
        load_it(folder)
    text = str(caught.value)
    assert type(caught.value) is BundleError and "\n" not in text and len(text) < 600 + 2 * len(str(folder)), text
    assert str(folder / name) in text and "rebuild it with: python -m precompute." in text, text
    assert caught.value.__cause__ is None, text  # all is in the text: no second traceback above it
    return text


def as_scanned(folder: Path) -> None:
    """The same bundle with its rows read from disk at each search."""
    told(folder, "retrieval", value={space: {"method": "scan"} for space in SPACES})


def test_the_good_one_loads(bundle: Path) -> None:
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0
    (bundle / ".heads.safetensors.123.partial").write_bytes(b"half")  # of a step that was killed: nobody reads it
    assert len(Attributor.load(bundle).references) == N
    as_scanned(bundle)
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0


@pytest.mark.parametrize("name", [*ARRAYS, *TABLES, "heads.safetensors"])
def test_every_file_is_compared_with_its_sha256(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[-3] ^= 1
    (bundle / name).write_bytes(data)
    assert "is damaged: its sha256 is not the manifest's" in refused(bundle, name)
    (bundle / name).unlink()
    assert "cannot be read" in refused(bundle, name)
    (bundle / name).mkdir()
    assert "cannot be read" in refused(bundle, name)
    (bundle / name).rmdir()
    os.mkfifo(bundle / name)  # would be waited for, for ever
    assert "no plain file" in refused(bundle, name)


def wrong_arrays(shape: tuple[int, ...]) -> Iterator[tuple[str, bytes, str]]:
    right = np.ones(shape, np.float32)
    for kind in (np.float64, np.int64, np.bool_, np.complex64, ">f4", "S4", "U4", "M8[s]"):
        yield f"of {kind}", npy(right.astype(kind)), "expected float16 or float32"
    yield "of records", npy(np.zeros(shape, [("a", "f4")])), "expected float16 or float32"
    for value in (np.nan, np.inf):
        spoilt = right.astype(np.float16)
        spoilt[(-1,) * len(shape)] = value
        yield f"with {value}", npy(spoilt), "not finite"
    for other in ((shape[0] + 1, *shape[1:]), (shape[0] - 1, *shape[1:]), shape[:-1], (*shape, 1), (), (0,)):
        yield f"of shape {other}", npy(np.ones(other, np.float32)), f"has shape {other}, expected"
    yield "of objects", npy(np.array([{"a": 1}], dtype=object)), "not a plain array"
    yield "of no array", b"no array", "not a plain array"
    yield "of nothing", b"", "not a plain array"
    yield "cut short", npy(right)[:-9], "header says"
    yield "with more behind it", npy(right) + npy(right), "longer than its header says"
    yield "of 4 TB", lying((10**12,)), "header says"
    yield "of more than there are numbers", lying((2**62, 2**62)), "header says"
    yield "of less than nothing", lying((-1, -4)), "not a plain array"
    file = io.BytesIO()
    np.savez(file, right)
    yield "zipped", file.getvalue(), "not a plain array"
    for text in (b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': '<f4'}", b"__import__('os').abort()", b"\xff" * 20):
        yield f"headed {text[:6]!r}", header(text), "not a plain array"


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_must_have_its_type_its_shape_and_finite_values(bundle: Path, name: str) -> None:
    manifest = (bundle / "manifest.json").read_bytes()
    for label, content, why in wrong_arrays(ARRAYS[name]):
        (bundle / "manifest.json").write_bytes(manifest)
        signed(bundle, name, content)
        text = refused(bundle, name)
        assert why in text or "header says" in text, (label, text)
        if name in ROWS:
            as_scanned(bundle)
            refused(bundle, name)


def test_an_array_by_columns_is_the_same_in_memory_and_refused_on_disk(bundle: Path) -> None:
    name = "references_aligned.npy"
    right = np.load(bundle / name)
    signed(bundle, name, npy(np.asfortranarray(right)))
    np.testing.assert_array_equal(Bundle.open(bundle).read_array(name, right.shape), right.astype(np.float32))
    as_scanned(bundle)
    assert "by columns" in refused(bundle, name)


def test_no_pickle_is_opened_under_any_name(bundle: Path, tmp_path: Path) -> None:
    manifest, mark = (bundle / "manifest.json").read_bytes(), tmp_path / "exploded"
    bombs = (pickle.dumps(Bomb(mark)), npy(np.array([Bomb(mark)], dtype=object)))
    for name in [*ARRAYS, *TABLES, "heads.safetensors"]:
        before = (bundle / name).read_bytes()
        for bomb in bombs:
            signed(bundle, name, bomb)
            refused(bundle, name)
            if name in ROWS:
                as_scanned(bundle)
                refused(bundle, name)
            (bundle / "manifest.json").write_bytes(manifest)
        (bundle / name).write_bytes(before)
    assert not mark.exists()
    pickle.loads(bombs[0])  # it does explode
    assert mark.exists()


def test_heads_must_be_whole_and_nothing_else(bundle: Path) -> None:
    name = "heads.safetensors"
    tensors = load((bundle / name).read_bytes())
    half = {key: value[: len(value) // 2] for key, value in tensors.items() if key.endswith("weight")}
    wrong = {
        "lacks aligned.real.centre": {k: v for k, v in tensors.items() if k != "aligned.real.centre"},
        "lacks aligned.real.weight": {k: v for k, v in tensors.items() if k != "aligned.weight"},
        "lacks": {},
        "'other' among them": tensors | {"other": np.ones(3, np.float32)},
        "'aligned.real.weight' among them": tensors | {"aligned.real.weight": tensors["aligned.weight"]},
        "aligned.weight must be finite": tensors | {"aligned.weight": np.full_like(tensors["aligned.weight"], np.inf)},
        "aligned.synthetic.centre must be finite": tensors
        | {"aligned.synthetic.centre": np.full(D, np.nan, np.float32)},
        "aligned.real.centre must be finite and of shape (0,)": tensors
        | {"aligned.real.centre": np.ones((1, D), np.float32)},
        "aligned.weight must be finite and of shape (0, 64), got ()": tensors
        | {"aligned.weight": np.array(1, np.float16)},
        "must be float16 or float32, got float64": tensors | {"aligned.weight": np.eye(D)},
        "must be float16 or float32, got int8": tensors | {"aligned.weight": np.eye(D, dtype=np.int8)},
        "gives 32 dimensions in aligned": tensors | half,
        "is for 63 features": {k: np.ascontiguousarray(v[..., :63]) for k, v in tensors.items()},
    }
    for why, content in wrong.items():
        signed(bundle, name, save(content))
        assert why in refused(bundle, name)
    right = save(tensors)
    size = (100).to_bytes(8, "little")
    for data in (b"", right[:100], right + b"more", DEEP, size + b"{" * 100, (2**60).to_bytes(8, "little") + b"{}"):
        signed(bundle, name, data)
        assert "no safetensors file" in refused(bundle, name)
    told_by_it = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    signed(bundle, name, len(told_by_it).to_bytes(8, "little") + told_by_it + bytes(2))
    refused(bundle, name)


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


NUMBER: list[Any] = [None, True, "20", [], {}, float("nan"), float("inf"), 10**400]
NO_TEXT: list[Any] = [None, 3, [], {}]
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
            refused(bundle, name)
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


def test_a_half_written_bundle_names_what_is_missing(bundle: Path) -> None:
    good = (bundle / "manifest.json").read_bytes()
    for name in [*ARRAYS, *TABLES, "heads.safetensors"]:
        told(bundle, "files", name, value=told)  # the file is there, the manifest does not know it yet
        assert "has not been made yet" in refused(bundle, name)
        (bundle / "manifest.json").write_bytes(good)
    (bundle / "manifest.json").rename(bundle / ".manifest.json.7.partial")
    refused(bundle, "", lambda folder: Attributor.load(folder))


def test_rows_of_two_tables_cannot_be_swapped_alone(bundle: Path) -> None:
    """The order of entries and of rows is one: each file's sha256 is in the manifest."""
    for name in TABLES:
        entries = json.loads((bundle / name).read_bytes())
        before = (bundle / name).read_bytes()
        (bundle / name).write_text(
            json.dumps([entries[1], entries[0], *entries[2:]], indent=1, ensure_ascii=False) + "\n"
        )
        assert "sha256" in refused(bundle, name)
        (bundle / name).write_bytes(before)


def test_a_step_of_this_version_writes_into_no_bundle_of_a_newer_one(bundle: Path) -> None:
    told(bundle, "files", "thumbnails.bin", value={"sha256": "0" * 64, "bytes": 1})
    assert len(Attributor.load(bundle).references) == N  # what is not known is not read
    text = refused(bundle, "manifest.json", lambda folder: write_step(folder, "project", {}, command="x"))
    assert "'thumbnails.bin', which this version does not know" in text and "thumbnails.bin" not in WRITTEN_BY


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = wide_bundle(tmp_path_factory.mktemp("large") / "bundle", 300, M)
    queries = np.load(folder / "queries_backbone.npy").astype(np.float32)
    files, sections = {}, {}
    for space in SPACES:
        name = f"references_{space}.npy"
        arrays, settings = build_index(StoredRows(folder / name), queries, method="compressed", target=0.1)
        files[f"index_{space}.safetensors"] = arrays
        sections[space] = settings | {"references": Bundle.open(folder).manifest["files"][name]["sha256"]}
    write_step(folder, "build_index", files, command="x", sections={"retrieval": sections})
    return folder


def test_an_index_is_of_these_references(compressed: Path, tmp_path: Path) -> None:
    folder, name = Path(shutil.copytree(compressed, tmp_path / "bundle")), "index_aligned.safetensors"
    assert Attributor.load(folder).attribute_query(0, 3)["aligned"].matches[0].reference_id == 0
    good, right = (folder / "manifest.json").read_bytes(), (folder / name).read_bytes()
    arrays = load(right)
    told(folder, "retrieval", "aligned", "references", value="0" * 64)
    assert "index of other references" in refused(folder, name)
    for key in ("method", "rerank"):
        for value in [*NUMBER, told, -1, "x", 10**30]:
            (folder / "manifest.json").write_bytes(good)
            told(folder, "retrieval", "aligned", key, value=value)
            refused(folder, name)
    (folder / "manifest.json").write_bytes(good)
    wrong = [{k: v for k, v in arrays.items() if k != key} for key in arrays]
    wrong += [arrays | {key: value[:-1]} for key, value in arrays.items() if key != "sample_ids"]
    wrong += [arrays | {key: value.astype(np.float64)} for key, value in arrays.items()]
    wrong += [arrays | {key: np.full_like(arrays[key], np.nan)} for key in ("rotation", "codebook")]
    wrong += [arrays | {"sample_ids": np.array(ids)} for ids in ([300], [-1], [1, 1])]
    for content in [*(save(one) for one in wrong), b"", right[:-5], pickle.dumps([1])]:
        signed(folder, name, content)
        refused(folder, name)


def test_an_open_bundle_answers_from_what_it_opened_while_another_is_written_over_it(
    compressed: Path, tmp_path: Path
) -> None:
    scanned = Path(shutil.copytree(compressed, tmp_path / "scanned"))
    as_scanned(scanned)
    for folder in (Path(shutil.copytree(compressed, tmp_path / "compressed")), scanned):
        opened = Attributor.load(folder)
        asked = [opened.attribute_query(i, 7).to_dict() for i in range(M)]
        stamp, near = opened.stamp, opened.attribute_reference(5, 4).to_dict()
        other = wide_bundle(tmp_path / f"other_{folder.name}", 300, M, noise=0.9)
        for name in ROWS:  # a step again, and a copy that deletes first
            rows = np.load(other / name)[::-1].astype(np.float16)
            write_step(folder, "train_heads", {name: rows}, command="x")
            assert [opened.attribute_query(i, 7).to_dict() for i in range(M)] == asked
        shutil.rmtree(folder)
        shutil.copytree(other, folder)
        assert [opened.attribute_query(i, 7).to_dict() for i in range(M)] == asked
        assert opened.attribute_reference(5, 4).to_dict() == near and opened.stamp == stamp
        now = Attributor.load(folder)
        assert now.stamp["bundle"] != stamp["bundle"] and now.attribute_query(0, 7).to_dict() != asked[0]


def test_rows_that_are_changed_in_place_are_refused_and_never_mixed(compressed: Path, tmp_path: Path) -> None:
    for method in ("scan", "compressed"):
        folder = Path(shutil.copytree(compressed, tmp_path / method))
        if method == "scan":
            as_scanned(folder)
        opened, name = Attributor.load(folder), "references_backbone.npy"
        opened.attribute_query(0, 5)
        rows = np.load(folder / name)
        with (folder / name).open("r+b") as file:
            file.seek(-rows[100:].nbytes, os.SEEK_END)
            file.write(np.ascontiguousarray(rows[100:][::-1]).tobytes())
        os.utime(folder / name, ns=(0, 12345))  # as if a second later
        for ask in (lambda: opened.attribute_query(0, 5), lambda: opened.attribute_reference(7, 3)):  # noqa: B023
            with pytest.raises(
                OSError, match=r"references_backbone\.npy was changed in place .* load the bundle again"
            ):
                ask()
        assert "is damaged" in refused(folder, name)


def test_rows_held_open_are_let_go(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((4, 3), np.float32))
    descriptors = Path("/proc/self/fd")
    gc.collect()  # of what earlier tests left
    before = len(list(descriptors.iterdir())) if descriptors.exists() else None
    for _ in range(50):
        assert StoredRows(tmp_path / "rows.npy")[:].shape == (4, 3)
    (tmp_path / "rows.npy").write_bytes((tmp_path / "rows.npy").read_bytes() + b"12")
    with pytest.raises(ValueError, match="longer than its header says"):
        StoredRows(tmp_path / "rows.npy")
    gc.collect()
    assert before is None or len(list(descriptors.iterdir())) == before


def unsafe(source: str) -> list[str]:
    """What in a source could run code out of a file: a reader of pickles, or of text as code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            banned = {"joblib", "shelve", "dill", "cloudpickle", "marshal", "jsonpickle"}
            found += [name for name in modules if name.split(".")[0] in banned]
            names = (
                {alias.name for alias in node.names} if getattr(node, "module", "") in ("pickle", "_pickle") else set()
            )
            found += sorted(names & {"load", "loads", "Unpickler"})
        if not isinstance(node, ast.Call):
            continue
        call, told_ = ast.unparse(node.func), {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        last = call.rsplit(".", 1)[-1]
        if call in ("eval", "exec", "compile", "builtins.eval", "builtins.exec") or last in (
            "read_pickle", "read_index", "read_index_binary", "deserialize_index", "Unpickler", "unsafe_load", "full_load",
        ):  # fmt: skip
            found.append(call)
        if told_.get("allow_pickle", False) is not False:  # which is numpy's default
            found.append(f"{call} with allow_pickle")
        if call == "torch.load" and told_.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if call in ("pickle.load", "pickle.loads", "yaml.load", "torch.jit.load", "torch.hub.load", "faiss.load"):
            found.append(ast.unparse(node))
    return found


def test_what_could_run_code_is_seen() -> None:
    for source in (
        "import joblib", "from shelve import open", "from pickle import loads", "eval('1')", "exec(x)",
        "np.load(x, allow_pickle=True)", "np.save(x, y, allow_pickle=True)", "torch.load(x)", "torch.load(x, weights_only=False)",
        "pickle.loads(data)", "yaml.load(x)", "faiss.read_index(x)",
        "pd.read_pickle(x)", "torch.jit.load(x)", "pickle.Unpickler(f)",
    ):  # fmt: skip
        assert unsafe(source), source
    for source in (
        "model.eval()",
        "torch.load(x, weights_only=True)",
        "np.load(x, allow_pickle=False)",
        "import pickle",
    ):
        assert not unsafe(source), source


# An exception that was pickled in the same breath, to see whether a pool can carry it; and TorchScript where a release is one.
ALLOWED = {
    ("precompute/common/runners.py", "pickle.loads(pickle.dumps(error))"),
    ("aad/backbones/checkpoints.py", "torch.jit.load(str(path), map_location='cpu')"),
}


def test_no_source_reads_a_pickle_or_runs_what_a_file_says() -> None:
    files = [
        ROOT / "app.py",
        *(p for part in ("aad", "interface", "precompute", "benchmarks") for p in (ROOT / part).rglob("*.py")),
    ]
    assert len(files) > 100
    found = {
        (path.relative_to(ROOT).as_posix(), what) for path in files for what in unsafe(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_checkpoint_of_abc_with_code_in_it_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from aad.benchmark import BenchmarkError
    from precompute.abc.checkpoints import read_calibrator, read_mapper
    from precompute.abc.torch_file import load as load_file

    mark = tmp_path / "exploded"
    torch.save({"real_mapper": Bomb(mark), "inv_tau": Bomb(mark)}, tmp_path / "zip.pth")
    torch.save({"inv_tau": Bomb(mark)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    for path in sorted(tmp_path.iterdir()):
        for read in (read_mapper, read_calibrator, lambda path: load_file(path, "LAION features")):
            with pytest.raises(BenchmarkError) as caught:
                read(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not mark.exists()
