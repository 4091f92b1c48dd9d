"""From shards to a bundle: the files of extract_features, streamed, with pictures to show, and an app that answers from them."""

import json
from pathlib import Path

import numpy as np
import pytest

from aad import Attributor
from aad.backbones import load_backbone
from aad.bundle import DEFAULT_BUNDLE, Bundle, BundleError
from aad.images import load_image
from precompute import assemble, calibrate, project, train_heads
from precompute.common import thumbnails
from precompute.common.embedding import Encoder, embed_sources, loaded, manifest_entry
from precompute.common.sources import checked_sources
from precompute.common.store import ShardError
from tests.small import SPEC, FakeEncoder, embed, encoded, folder_of, picture, tar_of

NAME = "efficientnet_lite0_moments"


def shards_of(out: Path, *sources: Path, size: int = 3) -> Path:
    embed(out, *sources, size=size)
    return out


def make(shards: Path, bundle: Path, *options: object) -> Bundle:
    given = ("--shards", shards, "--bundle", bundle, "--workers", 1, *options)
    assemble.main([str(option) for option in given])
    return Bundle.open(bundle)


def some_tars(folder: Path) -> list[Path]:
    folder.mkdir()
    told = json.dumps({"title": "Ein <b>Boot</b> 🖼", "license": "CC0-1.0", "author": "A. Painter"}).encode()
    first = {"0.png": encoded(0), "0.json": told, "1.png": b"broken"}
    first |= {"my_dog.png": encoded(9, size=(1200, 600)), "3.png": encoded(3)}
    return [tar_of(folder / "a.tar", first), tar_of(folder / "b.tar", {f"{i}.png": encoded(i) for i in range(4, 6)})]


def test_a_folder_of_references_makes_the_bundle_that_extract_features_makes(tmp_path):
    folder = folder_of(tmp_path / "photos", 5)
    (folder / "metadata.csv").write_text("file_name,title,licence\ndeep/001.png,A boat,CC0-1.0\n")
    bundle = make(shards_of(tmp_path / "shards", folder), tmp_path / "bundle")
    references = bundle.read_json("references.json")
    assert [entry["path"] for entry in references] == ["000.png", "002.png", "004.png", "deep/001.png", "deep/003.png"]
    assert references[0] == {"path": "000.png", "title": "000", "source": "photos", "licence": "not stated"}
    assert references[3] == {"path": "deep/001.png", "title": "A boat", "source": "photos", "licence": "CC0-1.0"}
    rows = bundle.read_array("references_backbone.npy", (5, 12))
    fake = FakeEncoder(tmp_path / "log")
    expected = fake.embed([load_image(folder / entry["path"]) for entry in references])
    assert np.array_equal(rows, expected.astype(np.float16).astype(np.float32))
    assert bundle.read_array("queries_backbone.npy", (0, 12)).size == len(bundle.read_json("queries.json")) == 0
    told = {key: bundle.manifest[key] for key in ("name", "images", "examples")}
    assert told == {"name": "photos", "images": "../photos", "examples": []}
    assert bundle.manifest["backbone"] == json.loads(json.dumps(manifest_entry(SPEC)))
    assert not list((tmp_path / "bundle" / ".work").iterdir())


def test_references_in_tar_files_get_small_pictures_below_the_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "FOLDER", 2)
    tars = some_tars(tmp_path / "laion")
    bundle = make(shards_of(tmp_path / "shards", *tars, size=2), tmp_path / "bundle")
    references = bundle.read_json("references.json")
    streamed = (bundle.folder / "references.json").read_bytes()  # as a table that is not
    assert streamed == (json.dumps(references, indent=1, ensure_ascii=False) + "\n").encode()
    assert [entry["title"] for entry in references] == ["Ein <b>Boot</b> 🖼", "my dog", "3", "4", "5"]
    known = {key: references[0][key] for key in ("source", "licence", "author")}
    assert known == {"source": "laion", "licence": "CC0-1.0", "author": "A. Painter"}
    root = bundle.folder / bundle.manifest["images"]
    assert bundle.manifest["images"] == "pictures"
    assert [entry["path"][:15] for entry in references] == [f"{i // 2:05}/{i:08}-" for i in range(5)]
    assert load_image(root / references[1]["path"]).size == (512, 256)
    for entry, seed in zip(references, (0, None, 3, 4, 5), strict=True):
        if seed is not None:
            difference = np.asarray(load_image(root / entry["path"]), float) - np.asarray(picture(seed), float)
            assert np.abs(difference).mean() < 8


def test_pictures_are_written_once_and_again_only_where_a_shard_changed(tmp_path):
    tars = some_tars(tmp_path / "laion")
    shards, bundle = shards_of(tmp_path / "shards", *tars), tmp_path / "bundle"
    make(shards, bundle)
    before = {path: path.stat().st_mtime_ns for path in (bundle / "pictures").rglob("*.webp")}
    lost = sorted(before)[1]
    lost.unlink()
    (lost.parent / f".{lost.name}.77.partial").write_bytes(b"what a power cut leaves")
    (lost.parent / "mine.webp").write_bytes(b"not ours")
    make(shards, bundle)
    after = {path: path.stat().st_mtime_ns for path in (bundle / "pictures").rglob("*.webp")}
    assert {path for path, time in after.items() if before.get(path) != time} == {lost, lost.parent / "mine.webp"}
    assert not list(lost.parent.glob(".*"))
    tar_of(tars[1], {f"{i}.png": encoded(i + 1) for i in range(4, 6)})
    for path in sorted(before)[3:]:
        path.unlink()
    with pytest.raises(ShardError, match=r"b\.tar, 4\.png to 5\.png has changed since .*embed_shards --out"):
        make(shards, bundle)
    make(shards_of(shards, *tars), bundle)
    names = sorted(path.name for path in (bundle / "pictures").rglob("*.webp"))
    assert len(names) == 6 and names[:3] == sorted(path.name for path in before)[:3]
    assert not set(names[3:5]) & {path.name for path in before}


def test_queries_are_embedded_as_the_references_were_and_the_bundle_answers(tmp_path):
    folder, queries = folder_of(tmp_path / "photos", 6), folder_of(tmp_path / "generated", 2)
    shards, out, encoder = tmp_path / "shards", tmp_path / "bundle", Encoder(NAME)
    embed_sources(checked_sources([folder]), encoder, loaded(encoder).spec, shards, size=3, workers=1)
    bundle = make(shards, out, "--queries", queries)
    assert [entry["path"] for entry in bundle.read_json("references.json")][:2] == ["photos/000.png", "photos/002.png"]
    asked = bundle.read_json("queries.json")
    assert asked[1] == {"path": "generated/deep/001.png", "type": "upload", "exemplar_ids": []}
    assert bundle.manifest["images"] == ".." and bundle.manifest["examples"] == [0, 1]
    rows = bundle.read_array("queries_backbone.npy", (2, load_backbone(NAME).spec.dim))
    assert np.array_equal(rows[0], bundle.read_array("references_backbone.npy", (6, None))[0])  # the same picture
    train_heads.main(["--bundle", str(out), "--heads-from", str(DEFAULT_BUNDLE)])
    calibrate.main(["--bundle", str(out)])
    project.main(["--bundle", str(out)])
    attributor = Attributor.load(out)
    answer = attributor.attribute(queries / "deep" / "001.png", k=2)
    assert attributor.references[answer["disentangled"].matches[0].reference_id].path == folder / "deep" / "001.png"


def test_other_weights_are_refused_for_queries(tmp_path, monkeypatch):
    folder, queries = folder_of(tmp_path / "photos", 2), folder_of(tmp_path / "generated", 1)
    shards = shards_of(tmp_path / "shards", folder)
    other = FakeEncoder(tmp_path / "log", spec=load_backbone(NAME).spec)
    monkeypatch.setattr(assemble, "load_backbone", lambda *given: other)
    with pytest.raises(ShardError, match=r"name the same weights with --weights"):
        make(shards, tmp_path / "bundle", "--queries", queries)
    monkeypatch.setattr(assemble, "load_backbone", lambda *given: FakeEncoder(tmp_path / "log"))
    assert make(shards, tmp_path / "bundle", "--queries", queries).manifest["examples"] == [0]


def test_a_folder_that_has_moved_is_found_with_pictures(tmp_path):
    shards = shards_of(tmp_path / "shards", folder_of(tmp_path / "photos", 2))
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(ShardError, match="say where it is with --pictures"):
        make(shards, tmp_path / "bundle")
    bundle = make(shards, tmp_path / "bundle", "--pictures", tmp_path / "elsewhere")
    assert bundle.manifest["images"] == "../elsewhere"


def test_damaged_shards_and_bundles_on_the_hub_are_refused(tmp_path):
    shards = shards_of(tmp_path / "shards", folder_of(tmp_path / "photos", 4))
    (shards / "00001.npy").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"00001\.npy is missing or damaged; run .*embed_shards --out"):
        make(shards, tmp_path / "bundle")
    (shards / "00001.json").write_text("{}")
    with pytest.raises(ShardError, match=r"00001\.json is missing, damaged"):
        make(shards, tmp_path / "bundle")
    for content in (b"{", b"[]", b'{"format": 2}'):
        (shards / "embedded.json").write_bytes(content)
        with pytest.raises(ShardError, match=r"embedded\.json is missing, damaged or of another version; run "):
            make(shards, tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "manifest.json").exists()
    with pytest.raises(BundleError, match=r"folder of this machine, got hf://someone/bundle; copy that bundle first"):
        make(shards, Path("hf://someone/bundle"))
