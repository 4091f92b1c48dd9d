"""Split files in AbC's form are read whole, and each departure from the form is named with its place.

Set AAD_ABC_SPLITS to the folder with the released `test_*.json` (or `.json.gz`) to have those read as well.
"""

import copy
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from precompute.abc.splits import BenchmarkError, Case, load_split, missing_files

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


def count(cases: list[Case]) -> tuple[int, int, dict[str, int]]:
    kinds = sorted({kind for case in cases for kind in case.queries})
    n_queries = {kind: sum(len(case.queries.get(kind, ())) for case in cases) for kind in kinds}
    return len(cases), sum(len(case.exemplars) for case in cases), n_queries


def test_every_case_is_read_in_order(tmp_path: Path) -> None:
    cases = load_split(write(tmp_path, SPLIT))
    assert count(cases) == (2, 3, {"gpt": 2, "media": 1, "object": 1})
    assert [case.class_id for case in cases] == ["harbour", "n01_0007"]
    assert [case.category for case in cases] == [None, "bird"]
    for case, entry in zip(cases, SPLIT, strict=True):
        assert list(case.exemplars) == entry["exemplar"]
        assert {kind: list(paths) for kind, paths in case.queries.items()} == entry["synth"]


def test_case_without_queries_is_read(tmp_path: Path) -> None:
    (case,) = load_split(write(tmp_path, [{**SPLIT[0], "synth": {}}]))
    assert (case.queries, case.paths) == ({}, case.exemplars)


def test_keys_beyond_the_form_are_left_alone(tmp_path: Path) -> None:
    assert load_split(str(write(tmp_path, [{**SPLIT[0], "note": "hand-made"}])))[0].class_id == "harbour"


@pytest.mark.parametrize(
    ("entry", "key", "value", "words"),
    [
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
        (1, "class_id", "harbour", "`class_id` must be unique in its file, got 'harbour', as in entry 0"),
    ],
)
def test_departure_is_named_with_file_entry_and_key(
    entry: int, key: str, value: object, words: str, tmp_path: Path
) -> None:
    content = copy.deepcopy(SPLIT)
    content[entry][key] = value
    path = write(tmp_path, content)
    with pytest.raises(BenchmarkError) as caught:
        load_split(path)
    assert words in str(caught.value)
    assert f"in {path}, entry {entry};" in str(caught.value)


@pytest.mark.parametrize("key", ["exemplar", "synth", "category", "class_id"])
def test_missing_key_is_named(key: str, tmp_path: Path) -> None:
    content = copy.deepcopy(SPLIT)
    del content[1][key]
    with pytest.raises(BenchmarkError, match=f"`{key}` must be present, got only .* entry 1;"):
        load_split(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "words"), [([], "got an empty list"), ({}, "got dict"), (None, "got NoneType"), (["x"], "got str")]
)
def test_file_of_another_form_is_refused(content: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=words):
        load_split(write(tmp_path, content))


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"none\.json \(No such file"):
        load_split(tmp_path / "none.json")
    with pytest.raises(BenchmarkError, match="readable JSON file"):
        load_split(tmp_path)
    for content in (b"[{", b"\xff\xfe\x00"):
        (tmp_path / "damaged.json").write_bytes(content)
        with pytest.raises(BenchmarkError, match=r"must be JSON, got .*damaged\.json"):
            load_split(tmp_path / "damaged.json")


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


# models, exemplars, the fewest and the most of one model, queries of each prompt type; test_unobserved_imagenet was not at hand
PUBLISHED = {
    "test_artchive": (255, 3_081, (1, 67), {"gpt": 10_200, "object": 10_200}),
    "test_bamfg": (250, 1_692, (4, 12), {"gpt": 10_000, "object": 10_000}),
    "test_observed_imagenet": (593, 593, (1, 1), {"gpt": 23_720, "media": 23_720}),
}
FOLDER = os.environ.get("AAD_ABC_SPLITS")
FILES = sorted(path for path in Path(FOLDER).iterdir() if path.name.endswith((".json", ".json.gz"))) if FOLDER else []


def sizes_of(cases: list[Case]) -> tuple[int, int, tuple[int, int], dict[str, int]]:
    sizes = [len(case.exemplars) for case in cases]
    kinds = sorted({kind for case in cases for kind in case.queries})
    n_queries = {kind: sum(len(case.queries.get(kind, ())) for case in cases) for kind in kinds}
    return len(cases), sum(sizes), (min(sizes), max(sizes)), n_queries


def load(path: Path, scratch: Path) -> list[Case]:
    if path.suffix != ".gz":
        return load_split(path)
    plain = scratch / path.stem
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return load_split(plain)


@pytest.mark.skipif(not FOLDER, reason="AAD_ABC_SPLITS does not name a folder with AbC's split files")
def test_released_splits_parse_completely_with_the_published_counts(tmp_path: Path) -> None:
    assert FILES, f"no .json or .json.gz in {FOLDER}"
    for path in FILES:
        cases, name = load(path, tmp_path), path.name.partition(".")[0]
        if name in PUBLISHED:
            assert sizes_of(cases) == PUBLISHED[name]
        assert all(len(case.queries) == 2 and "gpt" in case.queries for case in cases)
        assert all(exemplar.startswith("dataset/exemplar/") for case in cases for exemplar in case.exemplars)
        assert all(q.startswith("dataset/synth/") for case in cases for kind in case.queries.values() for q in kind)
