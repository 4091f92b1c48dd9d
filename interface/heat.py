"""Explain a match: which regions of two pictures carry their similarity, in each space.

    explanation = explain(attributor, query_id, reference_id)
    explanation[Space.DISENTANGLED].similarity       # 0.272
    explanation[Space.DISENTANGLED].heat_query[2, 3]  # 0.006: without this region it would be 0.266

*Leave a region out of the pooling.* The backbone pools grids of positions (7 to 28 a side) into one feature. For each cell of
the coarsest grid the feature is pooled again without that cell's positions, embedded by the space's head, and compared with the
whole other picture: ``heat = similarity(whole) - similarity(without the region)``, exact linear algebra after one run of the
network. Heat above 0 speaks for the match; below 0 against it: without that region the two would be more alike.

Why not gradient times activation, as in Grad-CAM? Each part of the feature is scaled to unit length, so it is homogeneous of degree
0 in its grid, and by Euler's theorem such a product sums to zero over the grid. Here the values do not add up to the similarity
either, but each is the difference of two similarities that anybody can compute, in the unit that the page shows.

What it does not say. A position of the grid sees more of the picture than its square, so a finer map would be untrue, and covering
a region in the picture gives ranks that agree only partly. It explains the similarity, not the generator: a warm region need not
have been copied. A backbone that reads a class token pools no grid; ``why_not`` says so.
"""

import contextlib
import functools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from aad import Attributor
from aad.answers import Query, Reference
from aad.backbones import RELEASES, Backbone
from aad.backbones.networks import EPSILON, Pooling, mixtures
from aad.spaces import Domain, Space
from aad.vectors import l2_normalise
from interface.decoder import decoded

LAST = -1  # number of the layer behind the stages
TINY = 1e-12  # the smallest length that a part is divided by, as in torch.nn.functional.normalize


class ExplanationError(RuntimeError):
    """A match cannot be explained: the backbone pools no grid that is known here."""


@dataclass(frozen=True, slots=True)
class SpaceExplanation:
    """One space's view of a match.

    Attributes:
        similarity: cosine of the two whole pictures, computed anew: within 0.001 of a search's, whose features are rounded.
        heat_query: (side, side) what each region of the query adds to the similarity; rows from the top, columns from the
            left. Seven of each for EfficientNet-Lite0.
        heat_reference: (side, side) likewise for the reference.
    """

    similarity: float
    heat_query: np.ndarray
    heat_reference: np.ndarray


Explanation = dict[Space, SpaceExplanation]


def why_not(attributor: Attributor) -> str | None:
    """Why matches of this attributor cannot be explained; None where they can. Loads nothing."""
    name, known = attributor.stamp["backbone"], [other for other, release in RELEASES.items() if release.pools]
    words = f"The backbone {name} does not pool its feature from a grid of regions, so none can be left out. Those that do: "
    return None if name in known else f"{words}{', '.join(known)}."


def explain(
    attributor: Attributor, query: int | Reference | Image.Image | str | Path, reference_id: int
) -> Explanation:
    """Which regions of a query and of a reference carry their similarity.

    The first call loads the backbone, which takes some seconds. Safe to call from threads.

    Args:
        attributor: an ``aad.Attributor``.
        query: the id of a bundled query, an image or its path, or one of ``attributor.references``: that is embedded as real.
        reference_id: which reference.

    Raises:
        ExplanationError: see ``why_not``.
        ImageError: a picture cannot be read.
        IndexError: there is no such query or reference.
    """
    if reason := why_not(attributor):
        raise ExplanationError(reason)
    domain = Domain.REAL if isinstance(query, Reference) else Domain.SYNTHETIC
    asked = attributor.queries[query] if isinstance(query, int) else query
    picture = asked.path if isinstance(asked, Query | Reference) else asked
    images = [decoded(picture), decoded(attributor.references[reference_id].path)]
    backbone = attributor.warm_up()
    # What stands for a network in another process looks inside it there.
    inside = getattr(
        backbone.network, "features_without_regions", functools.partial(features_without_regions, backbone)
    )
    ours, theirs = (inside(backbone.spec.preprocess(image)) for image in images)
    spaces: Explanation = {}
    for space in attributor.spaces:
        of_query = attributor.heads[space].embed(ours, domain)
        of_reference = attributor.heads[space].embed(theirs, Domain.REAL)
        similarity = float(of_query[0] @ of_reference[0])
        heats = _heat(of_query, of_reference[0]), _heat(of_reference, of_query[0])
        spaces[space] = SpaceExplanation(similarity, *heats)
    return spaces


def pool_without_regions(grids: Mapping[int, np.ndarray], pooling: Pooling) -> np.ndarray:
    """The pooled feature of a picture, and what it would be without each region.

    Args:
        grids: (channels, s, s) activations by number of the stage, and ``LAST``; every s is a multiple of the smallest, ``side``.
        pooling: what is taken of them; of what remains without a region, the same.

    Returns:
        (1 + side * side, d) float32 unit rows: the whole picture, then without each region in reading order. Each part is scaled to
        unit length, as in the backbone.
    """
    side = min(grid.shape[1] for grid in grids.values())
    parts: list[np.ndarray] = []
    for stage in pooling.means:
        parts += _moments(grids[stage], side)[: 1 + (stage in pooling.deviations)]
    if pooling.last:
        parts.append(_moments(grids[LAST], side)[0])
    parts += [_covariance(grids[stage], side) for stage in pooling.covariances]
    lengths = [np.maximum(np.linalg.norm(part, axis=1, keepdims=True), TINY) for part in parts]
    return l2_normalise(np.concatenate([part / length for part, length in zip(parts, lengths, strict=True)], axis=1))


def _moments(grid: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations, each (1 + side * side, channels): of the whole, then without each region."""
    middle, removed, n_left = _left_out(grid, side)
    shift, squares = -removed.sum(2) / n_left, (removed**2).sum(2)
    variance = (squares.sum(0) - squares - n_left * shift**2) / (n_left - 1)
    return middle + shift, np.sqrt(np.maximum(variance, 0))  # rounding may leave -1e-17


def _covariance(grid: np.ndarray, side: int) -> np.ndarray:
    """Covariances of k mixtures of channels with their signed roots, (1 + side * side, k * (k + 1) / 2), likewise."""
    _, removed, n_left = _left_out(np.tensordot(mixtures(len(grid)), grid, 1), side)
    shift, products = -removed.sum(2) / n_left, removed @ removed.transpose(0, 2, 1)
    left = products.sum(0) - products - (n_left * shift)[:, :, None] * shift[:, None]
    values = left[:, *np.triu_indices(left.shape[1])] / n_left
    return values / np.sqrt(np.abs(values) + EPSILON)


def _left_out(grid: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid's means (channels,); its centred positions that are left out (1 + side * side, channels, n); how many remain.

    First nothing is left out, so that region is of zeros. In centred terms a region's own sums give the moments of what remains:
    no pass over that.
    """
    channels, s, _ = grid.shape
    step, n_regions = s // side, side * side
    middle = grid.mean((1, 2), dtype=np.float64)
    cells = (grid - middle[:, None, None]).reshape(channels, side, step, side, step).transpose(1, 3, 0, 2, 4)
    removed = np.zeros((1 + n_regions, channels, step * step))
    removed[1:] = cells.reshape(n_regions, channels, step * step)
    return middle, removed, s * s - step * step * (np.arange(1 + n_regions) > 0)[:, None]


def features_without_regions(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    """(1 + side * side, d) features of (3, s, s) ``pixels`` of ``spec.preprocess``, see ``pool_without_regions``."""
    thread, found, network = threading.get_ident(), {}, cast(Any, backbone.network)

    def keep(number: int, _: Any, __: Any, output: Any) -> None:
        if threading.get_ident() == thread:  # another thread may be embedding an upload with the same network
            found[number] = output[0].float().cpu().numpy()

    pools = cast(Pooling, RELEASES[backbone.spec.name].pools)
    layers = {stage: network.blocks[stage] for stage in {*pools.means, *pools.covariances}}
    if pools.last:
        layers[LAST] = network.last
    with contextlib.ExitStack() as hooks:
        for number, layer in layers.items():
            hooks.callback(layer.register_forward_hook(functools.partial(keep, number)).remove)
        backbone.in_torch().run(pixels[None])  # only torch shows what is inside
    return pool_without_regions(found, pools)


def _heat(embeddings: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(side, side) drops of the similarity to ``other``; row 0 of ``embeddings`` is the whole picture."""
    similarity = embeddings @ other
    side = math.isqrt(len(embeddings) - 1)
    return (similarity[0] - similarity[1:]).reshape(side, side)
