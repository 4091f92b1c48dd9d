"""One space's answer to one query: what its index finds, what that weighs, and where the query lies on the map."""

import numpy as np

from aad.answers import Match, SpaceAttribution
from aad.calibration import Calibration
from aad.projection import N_PLACING, place_query
from aad.retrieval import Index, SearchResult
from aad.spaces import Space

MIDDLE = (0.5, 0.5)  # of a map, where a query goes that has no reference to be near


def answer_in(
    space: Space,
    index: Index,
    calibration: Calibration,
    coordinates: np.ndarray,
    query: np.ndarray,
    k: int,
    among: np.ndarray | None = None,
    without: int | None = None,
) -> tuple[SpaceAttribution, tuple[str, ...]]:
    """Ranks, weights and position of one query.

    Args:
        space: which one.
        index: its n references.
        calibration: from its similarities to weights.
        coordinates: (n, 2) places of the references on its map.
        query: (1, d) unit embedding.
        k: how many references to name.
        among: (n,) bool, which may be named; the weights and the position stay those in the whole gallery.
        without: id of a reference that is not in the gallery, because it is the query; it keeps its place on the map.

    Returns:
        The answer, and the names of the parts of the gallery that gave none.
    """
    beta = calibration.inverse_temperature
    found = index.search(query, k, among=among, without=without, inverse_temperature=beta)
    weights, remainder = _shares(calibration, found, len(index) - (without is not None))
    matches = tuple(
        Match(int(i), rank, float(similarity), float(weight))
        for rank, (i, similarity, weight) in enumerate(
            zip(found.ids[0], found.similarities[0], weights, strict=True), start=1
        )
    )
    elsewhere = max(0.0, 1 - remainder - sum(match.weight for match in matches))
    if without is not None:
        x, y = coordinates[without]
        position = float(x), float(y)
    else:
        near = found if among is None else index.search(query, min(k, N_PLACING))  # a filter moves no query
        position = MIDDLE
        if near.ids.size:
            position = place_query(coordinates, near.ids[0], np.exp(beta * (near.similarities[0] - 1)))
    return SpaceAttribution(space, matches, remainder, elsewhere, position, found.estimated), found.missing


def _shares(calibration: Calibration, found: SearchResult, n: int) -> tuple[np.ndarray, float]:
    """Weights of the matches and the remainder of one query in a gallery of n."""
    assert found.log_mass is not None  # it was asked for
    similarities = found.similarities[0]
    shown = calibration.log_mass(similarities)
    # The mass is summed in another order, or estimated, and may fall short of what is shown by a last bit or more.
    everything = shown if len(similarities) == n else max(shown, float(found.log_mass[0]))
    return calibration.shares(similarities, everything)
