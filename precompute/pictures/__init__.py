"""Families of synthetic images made from one real picture, for training without a generator of one's own and for testing.

A family is one way of making: two style networks, classical painterly filters, and three kinds of edit. Its name is the name of
its generator, the same as in AbC-mini where that has it. `RENDER` makes a synthetic image; `RESTYLE` changes the look of a view
that is framed and lit already. Each is a function of the picture, another picture and a seeded generator, and of nothing else.

| family          | what it does                                                | the other picture |
|-----------------|-------------------------------------------------------------|-------------------|
| multistyle26    | re-framed, restyled by the network with 26 painting styles   | not used          |
| arbitrary_style | re-framed, restyled by the network that takes any style      | gives the style   |
| filters         | re-framed, one of eleven painterly filters, no network       | not used          |
| composite       | set into another picture with a soft edge                    | is the backdrop   |
| photometric     | relit, recoloured, taken again from another corner           | not used          |
| near_copy       | hardly cropped, resized, compressed as JPEG                  | not used          |

The two networks need `requirements-dev.txt`; nothing is imported for them until the first picture asks.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from .edits import render_composite, render_near_copy, render_photometric
from .filters import render_filters, restyle_filters
from .restyle import render_arbitrary_style, render_multistyle26, restyle_arbitrary_style, restyle_multistyle26

Maker = Callable[[Image.Image, Image.Image, np.random.Generator], Image.Image]

RENDER: dict[str, Maker] = {
    "multistyle26": render_multistyle26,
    "arbitrary_style": render_arbitrary_style,
    "filters": render_filters,
    "composite": render_composite,
    "photometric": render_photometric,
    "near_copy": render_near_copy,
}
RESTYLE: dict[str, Maker] = {
    "filters": restyle_filters,
    "arbitrary_style": restyle_arbitrary_style,
    "multistyle26": restyle_multistyle26,
}
FAMILIES = tuple(RENDER)
