"""LAION features are converted once and whole; test cases are read whole; each departure is named with file and remedy."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from precompute.abc import laion
from precompute.abc.features import open_laion, read_test_case
from precompute.abc.splits import BenchmarkError
from tests.abc_files import case_content, write_laion

FEATS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
PATHS = [f"laion/{i}, with \u2028 and \n.png" for i in range(50)]


def content() -> dict[str, Any]:
    generator = np.random.default_rng(1)
    queries = {kind: generator.normal(size=(4, 6)).astype(np.float32) for kind in ("gpt", "object")}
    ids = {kind: np.array([0, 0, 1, 1]) for kind in queries}
    return case_content(generator.normal(size=(5, 6)).astype(np.float32), [2, 3], queries, ids)


def save(folder: Path, value: Any) -> Path:
    torch.save(value, folder / "test_artchive.pth")
    return folder / "test_artchive.pth"


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_row_and_path_arrives_as_released(
    tmp_path: Path, dtype: Any, old_format: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laion, "COPY_BYTES", 7 * 6 * np.dtype(dtype).itemsize)  # seven rows at a time
    monkeypatch.setattr(laion, "REOPEN_BYTES", 2 * laion.COPY_BYTES)
    source = write_laion(tmp_path / "laion_subset.pth", FEATS.astype(dtype), PATHS, old_format=old_format)
    opened = open_laion(source)
    assert opened.features.dtype == dtype and isinstance(opened.features, np.memmap)
    np.testing.assert_array_equal(opened.features, FEATS.astype(dtype))
    np.testing.assert_array_equal(opened.rows(10, 13), opened.features[10:13])
    np.testing.assert_array_equal(opened.rows(48, 99), opened.features[48:])
    assert list(opened.paths) == PATHS


def test_conversion_happens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    folder = open_laion(source).folder
    assert folder == tmp_path / "laion_subset.converted"
    monkeypatch.setattr(laion, "_convert", lambda *_: pytest.fail("converted again"))
    for again in (source, folder):
        np.testing.assert_array_equal(open_laion(again).features, FEATS)
    source.unlink()  # 3 GB that are not needed twice
    np.testing.assert_array_equal(open_laion(source).features, FEATS)


def test_another_file_of_that_name_is_converted_anew(tmp_path: Path) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    open_laion(source)
    write_laion(source, FEATS[:20] + 1)
    np.testing.assert_array_equal(open_laion(source).features, FEATS[:20] + 1)


def test_cache_names_the_folder(tmp_path: Path) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    assert open_laion(source, tmp_path / "elsewhere" / "dino").folder == tmp_path / "elsewhere" / "dino"
    assert not (tmp_path / "laion_subset.converted").exists()


def test_interrupted_conversion_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    with monkeypatch.context() as patch:
        patch.setattr(laion.json, "dumps", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_laion(source)
    assert [path.name for path in tmp_path.iterdir()] == ["laion_subset.pth"]
    np.testing.assert_array_equal(open_laion(source).features, FEATS)


def test_leftovers_of_a_killed_conversion_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    dead = tmp_path / ".laion_subset.converted.99999999.partial"  # above any process number
    alive = tmp_path / f".laion_subset.converted.{os.getppid()}.partial"
    foreign = tmp_path / ".other.99999999.partial"
    for folder in (dead, alive, foreign):
        folder.mkdir()
    open_laion(source)
    assert (dead.exists(), alive.exists(), foreign.exists()) == (False, True, True)


def test_folder_with_other_files_is_never_deleted(tmp_path: Path) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(BenchmarkError, match=r"new, empty or one of ours.*--cache"):
        open_laion(source, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_too_little_disk_is_said_before_copying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_laion(tmp_path / "laion_subset.pth", FEATS)
    monkeypatch.setattr(laion.shutil, "disk_usage", lambda _: Disk)
    with pytest.raises(BenchmarkError, match=r"needs .* GB of disk .*--cache"):
        open_laion(source)
    assert not (tmp_path / "laion_subset.converted").exists()


class Disk:
    free = 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "must be a dictionary, got list"),
        ({"features": 1}, "must have the key `feats`, got keys features"),
        ({"feats": torch.ones(3)}, "must have the key `paths`"),
        ({"feats": torch.ones(3), "paths": ["a"] * 3}, r"must be an \(n, d\) tensor, got \(3,\)"),
        ({"feats": [[1.0]], "paths": ["a"]}, r"must be an \(n, d\) tensor, got list"),
        ({"feats": torch.ones(3, 2, dtype=torch.int64), "paths": ["a"] * 3}, "float32, float64, got torch.int64"),
        ({"feats": torch.ones(3, 2, dtype=torch.bfloat16), "paths": ["a"] * 3}, "float32, float64, got torch.bfloat16"),
        ({"feats": torch.ones(3, 2), "paths": ["a"] * 2}, "a list of 3 texts.*got 2 entries"),
        ({"feats": torch.ones(3, 2), "paths": [1, 2, 3]}, "a list of 3 texts"),
        ({"feats": torch.tensor([[1.0], [float("nan")]]), "paths": ["a", "b.png"]}, r"finite.*row 1 \(b.png\)"),
        ({"feats": torch.tensor([[1.0], [float("inf")]]), "paths": ["a", "b.png"]}, r"finite.*row 1 \(b.png\)"),
        ({"feats": Path("code"), "paths": []}, "must be a torch.save file of tensors"),
    ],
)
def test_laion_file_in_another_form_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    torch.save(value, tmp_path / "wrong.pth")
    with pytest.raises(BenchmarkError, match=said) as refusal:
        open_laion(tmp_path / "wrong.pth")
    assert str(tmp_path / "wrong.pth") in str(refusal.value) and ";" in str(refusal.value)
    assert not (tmp_path / "wrong.converted").exists()


def test_missing_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="check the path"):
        open_laion(tmp_path / "none.pth")
    whole = write_laion(tmp_path / "whole.pth", FEATS).read_bytes()
    for name, data in (("half.pth", whole[: len(whole) // 2]), ("text.pth", b"404 not found"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BenchmarkError, match="download the file again"):
            open_laion(tmp_path / name)
        with pytest.raises(BenchmarkError, match="download the file again"):
            read_test_case(tmp_path / name)


def test_damaged_converted_folder_is_refused(tmp_path: Path) -> None:
    folder = open_laion(write_laion(tmp_path / "laion_subset.pth", FEATS)).folder
    facts = json.loads((folder / "laion.json").read_text())
    (folder / "laion.json").write_text(json.dumps(facts | {"n": 51}))
    with pytest.raises(BenchmarkError, match="delete the folder"):
        open_laion(folder)
    (folder / "laion.json").write_text(json.dumps(facts))
    (folder / "paths.jsonl").write_text('"one"\n')
    with pytest.raises(BenchmarkError, match="1 paths for 50 rows"):
        _ = open_laion(folder).paths
    (folder / "features.npy").write_bytes((folder / "features.npy").read_bytes()[:-8])
    with pytest.raises(BenchmarkError, match=r"features\.npy cannot be read"):
        open_laion(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchmarkError, match=r"give the released \.pth file"):
        open_laion(tmp_path / "empty")


@pytest.mark.parametrize("ids_as_tensor", [False, True])
def test_every_field_of_a_test_case_is_read(tmp_path: Path, ids_as_tensor: bool) -> None:
    saved = content()
    if ids_as_tensor:
        saved["synth_ids"] = {kind: torch.tensor(ids) for kind, ids in saved["synth_ids"].items()}
    case = read_test_case(save(tmp_path, saved))
    assert case.exemplar_paths == saved["exemplar_paths"] and case.chunks == [(0, 2), (2, 5)]
    np.testing.assert_array_equal(case.exemplars, saved["exemplar_tensors"].numpy())
    assert list(case.queries) == ["gpt", "object"]
    for kind, queries in case.queries.items():
        assert queries.paths == saved["synth_paths"][kind] and queries.ids.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(queries.features, saved["synth_tensors"][kind].numpy())
        assert queries.features.dtype == case.exemplars.dtype == np.float32


def broken(key: str, value: Any, kind: str | None = None) -> dict[str, Any]:
    saved = content()
    if kind:
        saved[key][kind] = value
    else:
        saved[key] = value
    return saved


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({k: v for k, v in content().items() if k != "synth_ids"}, "must have the key `synth_ids`"),
        (
            {"feats": torch.ones(2, 2), "paths": ["a", "b"]},
            "must have the key `exemplar_tensors`, got keys feats, paths",
        ),
        (broken("exemplar_tensors", torch.ones(5)), "`exemplar_tensors` must be a float tensor"),
        (broken("exemplar_tensors", torch.ones(5, 6, dtype=torch.int32)), "`exemplar_tensors` must be a float tensor"),
        (broken("exemplar_tensors", torch.full((5, 6), float("nan"))), "`exemplar_tensors` must be finite.*row 0"),
        (broken("exemplar_paths", ["a"] * 4), "`exemplar_paths` must be a list of 5 texts.*4 entries"),
        (broken("exemplar_chunks", []), "`exemplar_chunks` must be a list.*got an empty list"),
        (broken("exemplar_chunks", [(0, 2), (2, 6)]), r"exemplar_chunks\[1\].*end <= 5, got \(2, 6\)"),
        (broken("exemplar_chunks", [(0, 0), (0, 5)]), r"exemplar_chunks\[0\].*start < end"),
        (broken("exemplar_chunks", [(0, 2), (2, 5.0)]), r"exemplar_chunks\[1\]"),
        (broken("synth_tensors", torch.ones(4, 6)), "`synth_tensors` must be a dictionary.*got Tensor"),
        (broken("synth_tensors", {}), "`synth_tensors` must be a dictionary.*an empty one"),
        (
            broken("synth_paths", {"gpt": ["a"] * 4}),
            "`synth_paths` must be about the prompt types gpt, object, got gpt",
        ),
        (broken("synth_tensors", torch.ones(4, 7), "gpt"), r"synth_tensors\['gpt'\].*\(m, 6\).*\(4, 7\)"),
        (broken("synth_tensors", torch.ones(0, 6), "gpt"), r"synth_tensors\['gpt'\].*at least one row"),
        (broken("synth_paths", ["a"] * 3, "object"), r"synth_paths\['object'\].*4 texts"),
        (broken("synth_ids", [0, 1, 2, 1], "object"), r"synth_ids\['object'\]\[2\].*0 to 1, got 2"),
        (broken("synth_ids", [0, 1, -1, 1], "object"), r"synth_ids\['object'\]\[2\].*0 to 1, got -1"),
        (broken("synth_ids", [0, 1, 1], "object"), r"synth_ids\['object'\].*3 entries"),
        (broken("synth_ids", [0, 1, True, 1], "object"), r"synth_ids\['object'\]\[2\].*got True"),
    ],
)
def test_test_case_in_another_form_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(BenchmarkError, match=said) as refusal:
        read_test_case(save(tmp_path, value))
    assert str(tmp_path) in str(refusal.value) and ";" in str(refusal.value)


def test_half_precision_and_tensors_with_gradients_are_read(tmp_path: Path) -> None:
    saved = broken("exemplar_tensors", torch.ones(5, 6, dtype=torch.float16))
    saved["synth_tensors"]["gpt"].requires_grad_()
    assert read_test_case(save(tmp_path, saved)).exemplars.dtype == np.float32
