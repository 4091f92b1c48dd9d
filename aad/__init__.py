"""Synthetic image attribution by alignment and disentanglement.

A frozen backbone gives features; a head trained on unpaired real and synthetic images makes them aligned; an Infomax term
makes them disentangled. Retrieval is cosine nearest neighbour among the training images, in all three spaces side by side.

    from aad import Attributor
    result = Attributor.load().attribute("picture.png", k=10)
"""

from aad.answers import Attribution, Match, Query, Reference, SpaceAttribution
from aad.attribution import Attributor
from aad.bundle import BundleError
from aad.images import ImageError, load_image
from aad.spaces import SPACES, Domain, Space

__all__ = ["SPACES", "Attribution", "Attributor", "BundleError", "Domain", "ImageError", "Match", "Query", "Reference"]
__all__ += ["Space", "SpaceAttribution", "load_image"]
