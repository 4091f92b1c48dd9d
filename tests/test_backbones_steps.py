"""Backbones in the steps: chosen once, kept in the bundle, and refused where they contradict it."""

import importlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from aad import Attributor
from aad.backbones import BACKBONES, BackboneError, build_network, load_backbone
from aad.backbones.loading import state_fingerprint
from aad.bundle import DEFAULT_BUNDLE, Bundle, BundleError
from precompute import extract_features
from precompute import run as run_steps
from precompute.abc.splits import BenchmarkError
from precompute.common import gallery
from precompute.common.embedding import manifest_entry
from precompute.common.gallery import from_benchmark
from precompute.pictures.drawing import open_backbone
from tests.release_files import few_blocks, randomise, saved, variants  # noqa: F401 - a fixture
from tests.small import picture


def extract(*options: object) -> None:
    extract_features.main([str(option) for option in (*options, "--threads", 1)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for i in range(3):
        picture(i).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", pytest.param("sscd_disc_mixup", marks=pytest.mark.slow), "dino_vits16"]
)
def test_a_backbone_goes_through_a_bundle_and_comes_out_with_the_same_weights(name, folder, tmp_path):
    network = randomise(build_network(name))
    weights = variants(name, network)["own"](tmp_path)
    extract("--references", folder, "--backbone", name, "--weights", weights, "--bundle", tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    spec = load_backbone(name, weights).spec
    assert bundle.manifest["backbone"] == json.loads(json.dumps(manifest_entry(spec)))
    assert bundle.manifest["backbone"]["sha256"] == state_fingerprint(network) and asdict(spec)["dim"] == spec.dim
    backbone = open_backbone(bundle, weights)
    features = bundle.read_array("references_backbone.npy", (3, spec.dim))
    assert np.allclose(features, backbone.embed([picture(i) for i in range(3)]), atol=1e-3)
    assert not np.allclose(features[0], features[1], atol=1e-3)
    next(network.parameters()).add_(1)
    other = saved(dict(network.state_dict()), "other.safetensors")(tmp_path)
    said = r"with other weights: .*tuned.*now .*other.*--weights FILE.*extract_features"
    with pytest.raises(BundleError, match=said):
        open_backbone(bundle, other)


def test_the_shipped_bundle_opens_as_before():
    bundle = Bundle.open(DEFAULT_BUNDLE)
    backbone = open_backbone(bundle)
    assert manifest_entry(backbone.spec) == bundle.manifest["backbone"] | {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def test_the_page_does_not_answer_with_weights_that_the_bundle_was_not_made_with(bundle, tmp_path):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    network = build_network("efficientnet_lite0")
    manifest["backbone"]["sha256"] = state_fingerprint(network)
    path.write_text(json.dumps(manifest))
    with pytest.raises(BackboneError, match=r"with other weights.*weights= of Attributor\.load.*\$AAD_WEIGHTS"):
        Attributor.load(bundle).attribute(picture(0))
    weights = variants("efficientnet_lite0", network)["own"](tmp_path)
    answer = Attributor.load(bundle, weights=weights, device="auto").attribute(picture(0), 3)
    assert len(answer["aligned"].matches) == 3


def test_the_list_shows_every_backbone_and_opens_no_bundle(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AAD_WEIGHTS", str(tmp_path))
    (tmp_path / "vit-b-300ep.pth.tar").write_bytes(b"")
    extract("--list", "--bundle", tmp_path / "none")
    shown = capsys.readouterr().out
    assert shown.strip() == extract_features.backbone_table() and not (tmp_path / "none").exists()
    lines = shown.splitlines()
    for name, spec in BACKBONES.items():
        line = next(line for line in lines if line.startswith(f"{name} "))
        assert str(spec.dim) in line and f"{spec.image_size} px" in line and spec.licence in line
    here = {line.split()[0]: line for line in lines}
    assert here["efficientnet_lite0"].endswith("installed package") and here["clip_vitb32"].endswith(" no")
    assert here["mocov3_vitb16"].endswith("vit-b-300ep.pth.tar in $AAD_WEIGHTS")
    assert max(map(len, lines)) < 250


def commands(monkeypatch, *options: object) -> dict[str, list[str]]:
    """What `run` would start: step to options."""
    started: dict[str, list[str]] = {}

    monkeypatch.setattr(run_steps, "_run", lambda step, options: started.update({step: list(options)}))
    run_steps.main([str(option) for option in options])
    return started


def test_run_passes_the_backbone_on(monkeypatch, tmp_path, capsys):
    chosen = ("--backbone", "dino_vits16", "--weights", "w.pth", "--device", "auto", "--bundle", tmp_path)
    started = commands(monkeypatch, *chosen)
    assert "build_benchmark" not in started and "measure_theory" in started
    for step, options in started.items():
        assert ("--backbone" in options) == (step == "extract_features")
        assert ("--weights" in options) == ("--device" in options) == step.startswith("extract_")
        parser = importlib.import_module(f"precompute.{step}")
        with pytest.raises(SystemExit) as stop:
            parser.main([*options, "--help"])
        assert stop.value.code == 0  # each step knows its options
    assert "--backbone" not in str(commands(monkeypatch))  # as shipped, the recorded command lines stay as they were
    for options, said in (
        (("--backbone", "dino_vits16"), "give --bundle OUT"),
        (("--weights", "w.pth"), "give --bundle OUT"),
        (("--references", tmp_path, "--backbone", "dino_vits16", "--bundle", tmp_path), "add --train"),
    ):
        with pytest.raises(SystemExit):
            commands(monkeypatch, *options)
        assert said in capsys.readouterr().err


def abc_folder(root: Path, n: int = 12) -> Path:
    """AbC's layout with two json files of a few cases each, and every image there."""
    folder = root / "dataset"
    (folder / "json").mkdir(parents=True)
    for name in ("artchive", "bamfg"):
        cases = []
        for i in range(n):
            paths = [f"dataset/exemplar/{name}/{i}/x.png", f"dataset/synth/{name}/{i}/gpt/0.png"]
            for path in paths:
                (root / path).parent.mkdir(parents=True)
                picture(i).save(root / path)
            cases.append({"exemplar": [paths[0]], "synth": {"gpt": [paths[1]]}, "category": None, "class_id": str(i)})
        (folder / "json" / f"test_{name}.json").write_text(json.dumps(cases))
    return folder


def test_cases_picks_json_files_and_needs_no_image_of_the_others(tmp_path):
    folder = abc_folder(tmp_path, 3)
    for path in (folder / "exemplar" / "bamfg").rglob("*.png"):
        path.unlink()
    chosen = from_benchmark(folder, ["test_artchive.json"])
    assert [entry["split"] for entry in chosen.references] == ["test_artchive"] * 3
    assert len(chosen.queries) == 3
    out = tmp_path / "bundle"
    extract("--benchmark", folder, "--cases", "test_artchive", "--bundle", out)
    assert len(Bundle.open(out).read_json("references.json")) == 3
    with pytest.raises(BenchmarkError, match=r"has no test_imagenet; there are: test_artchive, test_bamfg"):
        from_benchmark(folder, ["test_imagenet", "test_artchive"])
    with pytest.raises(SystemExit):
        extract("--references", folder, "--cases", "test_artchive", "--bundle", out)


def test_missing_images_are_all_counted_and_the_first_of_them_named(tmp_path):
    folder = abc_folder(tmp_path)
    gone = [path for kind in ("exemplar/artchive", "synth/bamfg") for path in sorted((folder / kind).rglob("*.png"))]
    for path in gone[1:]:
        path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        extract("--benchmark", folder, "--bundle", tmp_path / "bundle")
    text = str(caught.value)
    assert "23 images of" in text and "--cases" in text and str(tmp_path) in text
    assert "exemplar/bamfg" not in text and text.count(".png") == gallery.N_SHOWN
