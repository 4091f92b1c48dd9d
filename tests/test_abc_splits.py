"""Split files in AbC's form are read whole, and each departure from the form is named with its place."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from precompute.abc.splits import BenchmarkError, load_split, missing_files

# A small made-up split in the published form: an artist set without category, and a single exemplar of a class.
SPLIT: list[dict[str, Any]] = [
    {
        "exemplar": ["dataset/exemplar/art/harbour/dawn.jpg", "dataset/exemplar/art/harbour/dusk.jpg"],
        "synth": {
            "gpt": [
                "dataset/synth/art/gpt/harbour/samples/00000.png",
                "dataset/synth/art/gpt/harbour/samples/00001.png",
            ],
            "object": ["dataset/synth/art/object/harbour/samples/00000.png"],
        },
        "category": None,
        "class_id": "harbour",
    },
    {
        "exemplar": ["dataset/exemplar/class/n01/0007.JPEG"],
        "synth": {"media": ["dataset/synth/class/media/n01_0007/samples/00020.png"], "gpt": []},
        "category": "bird",
        "class_id": "n01_0007",
    },
]


def write(folder: Path, content: Any) -> Path:
    path = folder / "split.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_every_case_is_read_in_order_and_keys_beyond_the_form_are_left_alone(tmp_path: Path) -> None:
    cases = load_split(str(write(tmp_path, [{**SPLIT[0], "note": "hand-made"}, SPLIT[1]])))
    assert [(case.class_id, case.category) for case in cases] == [("harbour", None), ("n01_0007", "bird")]
    for case, entry in zip(cases, SPLIT, strict=True):
        assert list(case.exemplars) == entry["exemplar"]
        assert {kind: list(paths) for kind, paths in case.queries.items()} == entry["synth"]
    (case,) = load_split(write(tmp_path, [{**SPLIT[0], "synth": {}}]))
    assert (case.queries, case.paths) == ({}, case.exemplars)


DEPARTURES: list[tuple[int, str, object, str]] = [
    (0, "exemplar", [], "`exemplar` must be a list of at least one path, got none"),
    (0, "exemplar", "a.jpg", "`exemplar` must be a list of paths, got str"),
    (1, "exemplar", ["a.jpg", 7], "`exemplar[1]` must be a relative path that stays in the dataset, got 7"),
    (1, "exemplar", ["../a.jpg"], "`exemplar[0]`"),
    (1, "exemplar", ["/etc/a.jpg"], "`exemplar[0]`"),
    (1, "exemplar", ["C:\\a.jpg"], "`exemplar[0]`"),
    (1, "exemplar", [""], "`exemplar[0]`"),
    (1, "exemplar", ["a.jpg", "b.jpg", "a.jpg"], "'a.jpg' twice"),
    (0, "synth", ["a.png"], "`synth` must be an object from query type to a list of paths, got list"),
    (0, "synth", {"gpt": None}, "`synth.gpt` must be a list of paths, got NoneType"),
    (1, "synth", {"gpt": ["a.png", "x/../../b.png"]}, "`synth.gpt[1]`"),
    (1, "category", 3, "`category` must be text or null, got 3"),
    (1, "class_id", None, "`class_id` must be text that is not empty, got None"),
    (1, "class_id", "", "`class_id` must be text that is not empty"),
    (1, "class_id", "harbour", "`class_id` must be unique in its file, got 'harbour'"),
    *((1, key, ..., f"`{key}` must be present, got only") for key in ("exemplar", "synth", "category", "class_id")),
]


def test_departure_is_named_with_file_entry_and_key(tmp_path: Path) -> None:
    for entry, key, value, words in DEPARTURES:
        content = copy.deepcopy(SPLIT)
        content[entry][key] = value
        if value is ...:
            del content[entry][key]
        path = write(tmp_path, content)
        with pytest.raises(BenchmarkError) as caught:
            load_split(path)
        assert words in str(caught.value)
        assert f"in {path}, entry {entry};" in str(caught.value)


def test_file_that_cannot_be_read_or_has_another_form_is_named(tmp_path: Path) -> None:
    for content, words in (([], "an empty list"), ({}, "dict"), (None, "NoneType"), (["x"], "str")):
        with pytest.raises(BenchmarkError, match=f"got {words} in"):
            load_split(write(tmp_path, content))
    (tmp_path / "damaged.json").write_bytes(b"[{")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "damaged.json", tmp_path / "binary.json"):
        with pytest.raises(BenchmarkError, match=f"must be a readable JSON file, got {path} "):
            load_split(path)


def test_all_missing_images_are_listed_at_once(tmp_path: Path) -> None:
    cases = load_split(write(tmp_path, SPLIT))
    everything = [path for case in cases for path in case.paths]
    assert missing_files(cases, tmp_path) == everything
    assert len(everything) == 7
    for path in everything[1:-1]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / everything[-1]).mkdir(parents=True)  # a folder is no image
    assert missing_files(cases * 2, tmp_path) == [everything[0], everything[-1]]
