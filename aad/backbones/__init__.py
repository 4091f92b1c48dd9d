"""Frozen encoders. A backbone carries its own preprocessing and dimension, so query and gallery cannot drift apart.

    backbone = load_backbone("efficientnet_lite0")                       # weights come with a package
    backbone = load_backbone("mocov3_vitb16", weights="vit-b-300ep.pth.tar")
    backbone = load_backbone("efficientnet_lite0", engine="openvino")    # several times as fast on a CPU
    features = backbone.embed(images)                                    # (n, dim) float32, L2-normalised

`spec` says what a backbone is, `catalogue` has a record of each, `networks` and `layouts` what a record may name: how a network is
built, and what releases call its tensors. `engines` says what may compute the features, and `loading` puts it together. To add a
backbone, add a record.
"""

from aad.backbones.catalogue import BACKBONES, RELEASES, build_network
from aad.backbones.engines import ENGINES, build_engine, engines_for
from aad.backbones.loading import find_device, load_backbone
from aad.backbones.spec import BATCH_SIZE, Backbone, BackboneError, BackboneSpec, difference

__all__ = [
    "BACKBONES",
    "BATCH_SIZE",
    "ENGINES",
    "RELEASES",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "build_engine",
    "build_network",
    "difference",
    "engines_for",
    "find_device",
    "load_backbone",
]
