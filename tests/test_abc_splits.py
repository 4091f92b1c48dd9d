"""AbC's own split files parse completely when they are at hand; a small file in the same form always does.

Set AAD_ABC_SPLITS to the folder with the released `test_*.json` (or `.json.gz`).
"""

import gzip
import json
import os
from pathlib import Path

import pytest

from precompute.abc.splits import Case, load_split

# models, exemplars, the fewest and the most of one model, queries of each prompt type; test_unobserved_imagenet was not at hand
PUBLISHED = {
    "test_artchive": (255, 3_081, (1, 67), {"gpt": 10_200, "object": 10_200}),
    "test_bamfg": (250, 1_692, (4, 12), {"gpt": 10_000, "object": 10_000}),
    "test_observed_imagenet": (593, 593, (1, 1), {"gpt": 23_720, "media": 23_720}),
}
FOLDER = os.environ.get("AAD_ABC_SPLITS")
FILES = sorted(path for path in Path(FOLDER).iterdir() if path.name.endswith((".json", ".json.gz"))) if FOLDER else []


def count(cases: list[Case]) -> tuple[int, int, tuple[int, int], dict[str, int]]:
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
            assert count(cases) == PUBLISHED[name]
        assert all(len(case.queries) == 2 and "gpt" in case.queries for case in cases)
        assert all(exemplar.startswith("dataset/exemplar/") for case in cases for exemplar in case.exemplars)
        assert all(q.startswith("dataset/synth/") for case in cases for kind in case.queries.values() for q in kind)


@pytest.mark.parametrize("packed", [False, True])
def test_small_file_in_the_released_form_parses(tmp_path: Path, packed: bool) -> None:
    split = [
        {
            "exemplar": [f"dataset/exemplar/artchive/painter_{i}/{j}.jpg" for j in range(i + 1)],
            "synth": {
                kind: [f"dataset/synth/artchive/{kind}/painter_{i}/samples/{q:05d}.png" for q in range(4)]
                for kind in ("gpt", "object")
            },
            "category": None,
            "class_id": f"painter_{i}",
        }
        for i in range(3)
    ]
    path = tmp_path / ("small.json.gz" if packed else "small.json")
    data = json.dumps(split).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert count(load(path, tmp_path)) == (3, 6, (1, 3), {"gpt": 12, "object": 12})
