"""Views of training images, and synthetic images made from them: each depends on the seed, its image and its number only."""

import numpy as np
from PIL import Image

from precompute.pictures.plain import make_view, view_rng

from . import RENDER, RESTYLE
from .pictures import Pictures

N_SYNTHETIC_VIEWS = 2  # plain ones of each synthetic image, besides the image itself


class Drawing:
    """Draws from the pictures of a bundle.

    Args:
        real: training images; also surroundings, backdrops and styles.
        queries: the bundle's own synthetic training images.
        seed: of everything drawn.
        purpose: begins every image's key: other texts, other pictures.
    """

    def __init__(self, real: Pictures, queries: Pictures, seed: int, purpose: str = "") -> None:
        self.real, self.queries, self.seed, self.purpose = real, queries, seed, purpose
        self.styles = real.paintings() or None  # as in AbC-mini, a synthetic image takes its style from a painting

    def views(self, kind: str, n_views: int, i: int) -> list[Image.Image]:
        """The first views of one kind of the i-th real image."""
        drawn = []
        for number in range(n_views):
            rng = view_rng(self.seed, self._key(kind, self.real.names[i]), number)
            view = self._plain(self.real.drawable(i), i, rng)
            if kind in RESTYLE:
                view = RESTYLE[kind](view, self.real.drawable(self.real.another(i, rng)), rng)
            drawn.append(view)
        return drawn

    def query(self, i: int) -> list[Image.Image]:
        """The i-th synthetic image of the bundle, and plain views of it."""
        image, rng = self.queries.whole(i), view_rng(self.seed, self._key("", self.queries.names[i]), 0)
        return [image, *(self._plain(image, None, rng) for _ in range(N_SYNTHETIC_VIEWS))]

    def made(self, family: str, i: int, number: int) -> list[Image.Image]:
        """One synthetic image of a family made from the i-th real image, and plain views of it."""
        rng = view_rng(self.seed, self._key(f"made {family}", self.real.names[i]), number)
        among = self.styles if family == "arbitrary_style" else None
        other = self.real.drawable(self.real.another(i, rng, among))
        image = RENDER[family](self.real.drawable(i), other, rng)
        return [image, *(self._plain(image, i, rng) for _ in range(N_SYNTHETIC_VIEWS))]

    def _key(self, what: str, name: str) -> str:
        told = " ".join(word for word in (self.purpose, what) if word)
        return f"{told}|{name}" if told else name

    def _plain(self, image: Image.Image, i: int | None, rng: np.random.Generator) -> Image.Image:
        return make_view(image, self.real.drawable(self.real.another(i, rng)), rng)
