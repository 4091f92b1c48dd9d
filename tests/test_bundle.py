"""The bundle on disk: what is damaged, missing, hostile or half new is refused in one line that names the file and the remedy."""

import gc
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from aad import Attributor
from aad.bundle import DEFAULT_BUNDLE, Bundle, remedy
from aad.scale.stored import StoredRows
from aad.schema import CONTENTS
from aad.spaces import SPACES, Domain
from interface import why
from precompute import build_index
from precompute.common.steps import write_step
from tests import spoilt_bundles as spoilt
from tests.factory import tiny_bundle
from tests.galleries import D, wide_bundle
from tests.spoilt_bundles import MANIFEST, NO_TEXT, NUMBER, Bomb, M, N, as_scanned, linked, npy, refused, signed, told

DEEP = b"[" * 100_000
ROWS = [f"references_{space}.npy" for space in SPACES]
ARRAYS = {**dict.fromkeys(ROWS, (N, D)), "queries_backbone.npy": (M, D), "coordinates.npy": (3, N, 2)}
TABLES = ["references.json", "queries.json"]
HEADS = "heads.safetensors"
NEEDED = [*ARRAYS, *TABLES, HEADS]
MEASURED = ["metrics.json", "generalisation.json", "theory.json"]
DAMAGED = "is damaged: its sha256 is not the manifest's"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoilt.small_bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


@pytest.fixture(params=["in memory", "on disk"])
def rows_anywhere(request: pytest.FixtureRequest, bundle: Path) -> Path:
    """A bundle whose rows are read at once, or at each search."""
    if request.param == "on disk":
        as_scanned(bundle)
    return bundle


# Damage that the manifest knows nothing of


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_is_altered_or_missing_or_not_yet_made_is_refused(rows_anywhere: Path, name: str) -> None:
    bundle = rows_anywhere
    path, data = bundle / name, (bundle / name).read_bytes()
    path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    refused(bundle, name, DAMAGED)
    path.unlink()
    refused(bundle, name, "cannot be read")
    path.write_bytes(data)
    told(bundle, "files", name, value=told)
    refused(bundle, name, "has not been made yet")


def test_what_is_no_plain_file_is_not_waited_for(rows_anywhere: Path) -> None:
    path = rows_anywhere / ROWS[1]
    for make in (os.mkfifo, lambda device: device.symlink_to("/dev/zero"), Path.mkdir):
        path.unlink()
        refused(rows_anywhere, ROWS[1], "cannot be read")
        make(path)
        refused(rows_anywhere, ROWS[1], "no plain file")


# Contents that somebody has signed


@pytest.mark.parametrize("name", NEEDED)
def test_a_pickle_is_refused_and_the_code_in_it_not_run(rows_anywhere: Path, name: str) -> None:
    bomb = Bomb(rows_anywhere.parent / "exploded")
    for content in (pickle.dumps(bomb), npy(np.array([bomb], dtype=object))):
        signed(rows_anywhere, name, content)
        refused(rows_anywhere, name)
    assert not (rows_anywhere.parent / "exploded").exists()
    pickle.loads(pickle.dumps(bomb))
    assert (rows_anywhere.parent / "exploded").exists()


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_is_seen_to_have_its_shape_and_finite_values(rows_anywhere: Path, name: str) -> None:
    longer, *others = ARRAYS[name]
    signed(rows_anywhere, name, npy(np.ones((longer + 1, *others), np.float32)))
    refused(rows_anywhere, name, "has shape")
    spoilt_once = np.ones(ARRAYS[name], np.float16)
    for value in (np.nan, np.inf):
        spoilt_once[(-1,) * spoilt_once.ndim] = value
        signed(rows_anywhere, name, npy(spoilt_once))
        refused(rows_anywhere, name, "not finite")


def wrong_rows() -> Iterator[tuple[bytes, str]]:
    right = np.ones((N, D), np.float32)
    for kind in (np.float64, np.int64, np.bool_, np.complex64, ">f4", "S4", "U4", "M8[s]"):
        yield npy(right.astype(kind)), "float16 or float32"
    yield npy(np.zeros((N, D), [("a", "f4")])), "float16 or float32"
    for other in ((N - 1, D), (N,), (N, D, 1), (), (0,)):
        yield npy(np.ones(other, np.float32)), re.escape(str(other))
    yield b"no array", "not a plain"
    yield b"", "not a plain"
    yield npy(right)[:-9], "shorter than its header says"
    yield npy(right) + npy(right), "longer than its header says"
    for shape, says in (((10**12,), "header says"), ((2**62, 2**62), "header says"), ((-1, -4), "not a plain")):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        yield file.getvalue() + bytes(64), says
    file = io.BytesIO()
    np.savez(file, right)
    yield file.getvalue(), "not a plain"
    for text in (b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': '<f4'}", b"__import__('os').abort()", b"\xff" * 20):
        yield b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text, "not a plain"


def test_rows_that_are_none_are_refused(rows_anywhere: Path) -> None:
    for content, says in wrong_rows():
        signed(rows_anywhere, ROWS[1], content)
        refused(rows_anywhere, ROWS[1], says)


def test_heads_that_are_none_are_refused(bundle: Path) -> None:
    tensors = {f"{s}.weight": np.eye(D, dtype=np.float16) for s in SPACES[1:]}
    one = dict(tensors)
    tensors |= {f"{s}.{d}.centre": np.ones(D, np.float32) for s in SPACES[1:] for d in Domain}
    weight, right, size = tensors["aligned.weight"], save(tensors), (100).to_bytes(8, "little")
    bfloat = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    for says, content in (
        ("lacks aligned.real.centre", {k: v for k, v in tensors.items() if k != "aligned.real.centre"}),
        ("lacks aligned.real.weight", {k: v for k, v in tensors.items() if k != "aligned.weight"}),
        ("lacks", {}),
        ("basis must be finite and of shape (64, 64)", tensors | {"basis": np.ones((3, D), np.float16)}),
        (
            "aligned.weight must be finite and of shape (64, 64)",
            tensors | {"aligned.weight": weight[:, :3].copy(), "basis": weight},
        ),
        ("aligned.weight must be finite", tensors | {"aligned.weight": np.full_like(weight, np.inf)}),
        ("synthetic.centre must be finite", tensors | {"aligned.synthetic.centre": np.full(D, np.nan, np.float32)}),
        ("finite and of shape (64,)", tensors | {"aligned.real.centre": np.ones((1, D), np.float32)}),
        ("finite and of shape (0, 64), got ()", tensors | {"aligned.weight": np.array(1, np.float16)}),
        ("must be float16 or float32, got float64", tensors | {"aligned.weight": np.eye(D)}),
        ("must be float16 or float32, got int8", tensors | {"aligned.weight": np.eye(D, dtype=np.int8)}),
        ("to 32 dimensions in aligned", tensors | {key: value[: len(value) // 2] for key, value in one.items()}),
        ("maps 63 to", {k: np.ascontiguousarray(v[..., :63]) for k, v in tensors.items()}),
        *(("no safetensors file", data) for data in (b"", right[:100], right + b"more", DEEP, size + b"{" * 100)),
        ("no safetensors file", (2**60).to_bytes(8, "little") + b"{}"),
        ("", len(bfloat).to_bytes(8, "little") + bfloat + bytes(2)),
    ):
        signed(bundle, HEADS, content if isinstance(content, bytes) else save(content))
        refused(bundle, HEADS, re.escape(says))


NO_MANIFEST = [
    b"", b"{", b"[]", b"null", b"7", b'"text"', DEEP, b'{"a":' * 100_000, b"\xff\xfe", b'{"format": 1' + b"0" * 5000 + b"}",
    b'{"format": 99, "files": {}}', b'{"format": 1}',
]  # fmt: skip
ENTRIES: dict[str, list[Any]] = {
    "format": [told, 0, 2, 99, "1", True, 1.0, None, [1]],
    "files": [told, None, [], "x", *({name: {"sha256": "0" * 64}} for name in ("../heads.safetensors", "/etc/passwd"))],
    f"files/{HEADS}": [None, "0" * 64, {}, [], {"sha256": None}, {"sha256": "xyz"}, {"sha256": ["0" * 64]}],
    "steps": [told, None, [], 3],
    "steps/calibrate": [None, [], "x", {"sections": "files"}, {"sections": ["files"]}, {"sections": [[]]}],
    "steps/extract_features": [{"versions": []}, {"versions": "1"}],
    "name": NO_TEXT,
    "images": [told, *NO_TEXT, "", "/etc", "//x", "a\0b", "..\\..\\x", "\\\\host\\share"],
    "backbone": [told, None, [], "efficientnet_lite0", {}],
    "backbone/dim": [told, *NUMBER, "64", 64.0, 0, -1],
    "backbone/name": [told, None],
    "backbone/sha256": [None],
    "backbone/engine": [3],
    "examples": [None, {}, "01", [[0]], ["0"], [True], [0.0], [-1], [M], [10**30]],
    "absent": [None, {}, "01", [0]],
    "calibration": [told, None, [], {}, "x"],
    "calibration/aligned": [told, None, [], {}, 20.0, {"inverse_temperature": 20.0}],
    "calibration/aligned/inverse_temperature": [told, *NUMBER, 0, -3.0],
    "calibration/disentangled/null_logit": [told, None, float("nan")],
    "calibration/backbone/more": [1.0],
    "neighbour_preservation": [told, None, [], {}, 0.5],
    "neighbour_preservation/aligned": [told, None, -0.1, 1.1],
    "retrieval": [None, [], "scan", {}, {"aligned": {}}, *(dict.fromkeys(SPACES, wrong) for wrong in NO_TEXT[:3])],
}


def test_what_is_no_manifest_is_refused(bundle: Path) -> None:
    for content in NO_MANIFEST:
        (bundle / MANIFEST).write_bytes(content)
        refused(bundle, MANIFEST)
    (bundle / MANIFEST).rename(bundle / f".{MANIFEST}.7.partial")
    assert f"no bundle at {bundle}" in refused(bundle, "")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_wrong_entry_of_the_manifest_is_refused(bundle: Path, entry: str) -> None:
    keys, right = entry.split("/"), (bundle / MANIFEST).read_bytes()
    for value in ENTRIES[entry]:
        (bundle / MANIFEST).write_bytes(right)
        told(bundle, *keys, value=value)
        refused(bundle, MANIFEST, f"[^;]*(?:{'|'.join(keys)})")


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", ".."])
def test_a_picture_that_the_page_offers_lies_in_the_folder_of_pictures(bundle: Path, path: str) -> None:
    told(bundle, "absent", value=[path])
    refused(bundle, MANIFEST, "image path")


PATHS = [
    "../x.png", "a/../../x.png", "/etc/passwd", "//x", "", ".", "..", "a/..", "x\0.png", "..\\x.png", "a\\b.png",
    "\udcff.png", None, 3, ["x.png"], {"a": 1}, "x/../../../../../etc/passwd",
]  # fmt: skip
FIELDS: dict[tuple[str, str], list[Any]] = {
    **{("references.json", key): [told, [], {}] for key in ("title", "source", "licence")},
    **{("references.json", key): [[], {}] for key in ("concept", "split")},
    ("references.json", "path"): [told, *PATHS],
    ("queries.json", "type"): [told, *NO_TEXT],
    ("queries.json", "concept"): [None, {}],
    ("queries.json", "split"): [None, 3],
    ("queries.json", "recipe"): [3, "x", []],
    ("queries.json", "exemplar_ids"): [
        *(told, None, {}, 3, "0", [-1], [N], [0, 0], [True], [0.0], ["0"], [None], [[0]], [10**30]),
    ],
    ("queries.json", "path"): [told, *PATHS],
}


@pytest.mark.parametrize(("name", "key"), FIELDS)
def test_a_wrong_entry_of_a_table_is_refused(bundle: Path, name: str, key: str) -> None:
    right = (bundle / name).read_bytes()
    for value in FIELDS[name, key]:
        (bundle / name).write_bytes(right)
        spoilt.with_entry(bundle, name, key, value)
        refused(bundle, name, key)


@pytest.mark.parametrize("name", [*TABLES, *MEASURED])
def test_what_is_no_table_is_refused_before_the_page_is_served(bundle: Path, name: str) -> None:
    wrong = b'{"test": 3, "spaces": 3, "held_out_generators": 3}'
    others = [b"{}", b"[1]", b"[null]", b"[[]]", b"[{}]"] if name in TABLES else [b"[]", wrong]
    for content in (b"", b"{", DEEP, b"\xff", b"null", b"7", b'"text"', *others):
        signed(bundle, name, content)
        says = "is no JSON" if content in (b"", b"{", DEEP, b"\xff") else "it must hold"
        refused(bundle, name, says, lambda folder: why.value(Attributor.load(folder)))


@pytest.mark.parametrize("name", TABLES)
def test_a_picture_that_a_link_takes_out_of_the_folder_is_refused(bundle: Path, name: str) -> None:
    for target in ("/etc/passwd", "/not there", "../../secret.png"):
        for path in ("way_out.png", "below/way_out.png"):
            linked(bundle, name, path, target)
            refused(bundle, name, rf"the picture '{path}' is a link to .*; copy what it leads to there")
    linked(bundle, name, "way_out/x.png", "/tmp")
    refused(bundle, name, "is a link to")


def test_a_row_for_each_entry_is_wanted(bundle: Path) -> None:
    spoilt.rewritten(bundle, "queries.json", lambda old: old * 2)
    refused(bundle, "queries_backbone.npy", "has shape")
    spoilt.rewritten(bundle, "queries.json", lambda old: old[: len(old) // 2])
    spoilt.rewritten(bundle, "references.json", lambda old: old[:-1])
    refused(bundle, "coordinates.npy", "has shape")


# What is right


def test_the_good_one_loads(bundle: Path) -> None:
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0
    (bundle / ".heads.safetensors.123.partial").write_bytes(b"half")  # of a step that was killed: nobody reads it
    assert len(Attributor.load(bundle).references) == N
    as_scanned(bundle)
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0


def test_an_array_by_columns_is_the_same_in_memory_and_refused_on_disk(bundle: Path) -> None:
    name = "references_aligned.npy"
    right = np.load(bundle / name)
    signed(bundle, name, npy(np.asfortranarray(right)))
    np.testing.assert_array_equal(Bundle.open(bundle).read_array(name, right.shape), right.astype(np.float32))
    as_scanned(bundle)
    refused(bundle, name, r"must hold an \(n, d\) array of float16 or float32 by rows, got .* by columns")


@pytest.mark.parametrize("name", TABLES)
def test_a_link_among_the_pictures_that_stays_inside_is_followed(bundle: Path, name: str) -> None:
    for path, target in (("way_in.png", "other.png"), ("way/x.png", "below")):
        linked(bundle, name, path, target)
        Attributor.load(bundle)
    spoilt.rewritten(bundle, name, lambda old: [entry | {"path": f"{i}.png"} for i, entry in enumerate(old)])
    (bundle / "pictures" / "nobody_names_it.png").symlink_to("/etc/passwd")
    Attributor.load(bundle)


def test_a_damaged_section_is_mended_by_the_step_that_writes_it(bundle: Path) -> None:
    calibration = json.loads((bundle / MANIFEST).read_bytes())["calibration"]
    told(bundle, "calibration", value="spoilt")
    refused(bundle, MANIFEST, r"precompute\.calibrate --bundle")
    write_step(bundle, "calibrate", {}, command="x", sections={"calibration": calibration})
    refused(bundle, "coordinates.npy", "has not been made yet")


def test_a_refusal_is_one_line_whatever_it_quotes(bundle: Path) -> None:
    assert "one two three;" in str(Bundle.open(bundle).refusal("x.json", "one\n  two\tthree"))


def test_only_what_came_from_the_hub_is_loaded_from_there_again(tmp_path: Path) -> None:
    own = tmp_path / "models--me--mine"
    for place in (tmp_path / "aad" / "0123", own / "snapshots" / "0123", own / "0123"):
        assert remedy(place, "project").startswith("rebuild it with: python -m precompute.project")
    assert remedy(own / "aad" / "0123", "project") == f"it came from the hub: delete {own} and load it again"


def test_the_shipped_bundle_is_of_this_format_and_names_no_machine() -> None:
    shipped = Bundle.open()
    assert shipped.folder == DEFAULT_BUNDLE and shipped.has(MANIFEST) is False and shipped.has("references.json")
    assert set(shipped.manifest["files"]) <= set(CONTENTS) and "theory.json" in CONTENTS
    text = (DEFAULT_BUNDLE / MANIFEST).read_text()
    assert "/home" not in text and "/root" not in text and "/tmp" not in text, "it names a machine"


# An index is of its own references, and an open bundle answers from what it opened, whatever is written over it


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = wide_bundle(tmp_path_factory.mktemp("large") / "bundle", 300, M)
    build_index.main(["--bundle", str(folder), "--method", "compressed", "--target", "0.1"])
    return folder


def test_an_index_is_of_these_references(compressed: Path, tmp_path: Path) -> None:
    folder, name = Path(shutil.copytree(compressed, tmp_path / "bundle")), "index_aligned.safetensors"
    assert Attributor.load(folder).attribute_query(0, 3)["aligned"].matches[0].reference_id == 0
    good, right = (folder / "manifest.json").read_bytes(), (folder / name).read_bytes()
    for key, values in (("references", ["0" * 64]), *((k, [*NUMBER, told, -1, "x"]) for k in ("method", "rerank"))):
        for value in values:
            (folder / "manifest.json").write_bytes(good)
            told(folder, "retrieval", "aligned", key, value=value)
            refused(folder, name, "index of other references" if key == "references" else "")
    (folder / "manifest.json").write_bytes(good)
    arrays = load(right)
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
    name = "references_backbone.npy"
    for method in ("scan", "compressed"):
        folder = Path(shutil.copytree(compressed, tmp_path / method))
        if method == "scan":
            as_scanned(folder)
        opened = Attributor.load(folder)
        opened.attribute_query(0, 5)
        rows = np.load(folder / name)
        with (folder / name).open("r+b") as file:
            file.seek(-rows[100:].nbytes, os.SEEK_END)
            file.write(np.ascontiguousarray(rows[100:][::-1]).tobytes())
        os.utime(folder / name, ns=(0, 12345))  # as if a second later
        for ask in (opened.attribute_query, opened.attribute_reference):
            with pytest.raises(OSError, match=rf"{name} was changed in place .* load the bundle again"):
                ask(1, 3)
        refused(folder, name, "is damaged")


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


# What steps write


def test_a_step_of_this_version_writes_into_no_bundle_of_a_newer_one(bundle: Path) -> None:
    told(bundle, "files", "thumbnails.bin", value={"sha256": "0" * 64, "bytes": 1})
    assert len(Attributor.load(bundle).references) == N  # what is not known is not read
    write = partial(write_step, step="project", files={}, command="x")
    refused(bundle, MANIFEST, "'thumbnails.bin', which this version does not know", load_it=write)


def test_the_same_contents_give_the_same_bytes_also_from_a_finished_file_that_is_moved(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}
    places = np.load(first / "coordinates.npy")
    np.save(tmp_path / "ready.npy", places)
    for folder, content in ((first, places), (second, tmp_path / "ready.npy")):
        write_step(folder, "project", {"coordinates.npy": content}, command="x")
    for name in ("coordinates.npy", MANIFEST):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert not (tmp_path / "ready.npy").exists()
    with pytest.raises(OSError, match="gone"):
        write_step(second, "project", {"coordinates.npy": tmp_path / "gone.npy"}, command="x")
