"""Frozen encoders. A backbone carries its own preprocessing and dimension, so query and gallery cannot drift apart.

    backbone = load_backbone("efficientnet_lite0")                       # weights come with a package
    backbone = load_backbone("mocov3_vitb16", weights="vit-b-300ep.pth.tar")
    backbone = load_backbone("efficientnet_lite0", engine="openvino")    # several times as fast on a CPU
    features = backbone.embed(images)                                    # (n, dim) float32, L2-normalised

`spec` says what a backbone is, `releases` lists them all with the source of their weights, `networks` builds them, `checkpoints`
reads weight files, `layouts` renames what releases call their tensors, `engines` says what may compute the features and
`probing` which of them is fastest here, `ahead` reads pictures while the network runs, and `loading` puts it together. To add a
backbone, add an entry to `releases`, and a layout where the release has names of its own.
"""

from aad.backbones.ahead import ahead
from aad.backbones.engines import ENGINES, build_engine, engines_for
from aad.backbones.layouts import in_order
from aad.backbones.loading import available, load_backbone, state_fingerprint
from aad.backbones.networks import build_network
from aad.backbones.probing import Trial, describe_trials, fastest, probe_engines
from aad.backbones.releases import BACKBONES, RELEASES, Release
from aad.backbones.spec import (
    BATCH_SIZE,
    Backbone,
    BackboneError,
    BackboneSpec,
    difference,
    manifest_entry,
)

__all__ = [
    "BACKBONES",
    "BATCH_SIZE",
    "ENGINES",
    "RELEASES",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "Release",
    "Trial",
    "ahead",
    "available",
    "build_engine",
    "build_network",
    "describe_trials",
    "difference",
    "engines_for",
    "fastest",
    "in_order",
    "load_backbone",
    "manifest_entry",
    "probe_engines",
    "state_fingerprint",
]
