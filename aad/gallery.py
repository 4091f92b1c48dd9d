"""Parts of the gallery: the references that pass a filter, and which of a ranking are near-copies of one another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aad.references import words_of

FILTER_FIELDS = ("group", "source", "licence")

# Cosine of two references' backbone features from which they count as one picture. Looked up in AbC-mini: the three pairs above
# it show the same view twice (Neptune 0.983, Neuschwanstein 0.965, the Earth 0.963); below it come two photographs of one tower
# (0.959), two phases of the moon (0.956) and two coins (0.955), which a visitor wants to see apart.
NEAR_COPY = 0.96


def chosen(references: Sequence[Any], wanted: Mapping[str, Sequence[str] | set[str]]) -> np.ndarray:
    """Which references a filter lets through, (n,) bool: one of the values in every field that the filter names.

    Args:
        references: with ``group``, ``source`` and ``licence`` each.
        wanted: field -> the values allowed there; a field that is not named, or names none, allows all.

    Raises:
        ValueError: a field that cannot be filtered, or values that are no texts.
    """
    unknown = sorted(set(wanted) - set(FILTER_FIELDS))
    if unknown:
        raise ValueError(f"a filter is by {', '.join(FILTER_FIELDS)}, got {', '.join(map(repr, unknown))}")
    passes = np.ones(len(references), dtype=bool)
    for field, values in wanted.items():
        if not isinstance(values, list | tuple | set) or not all(isinstance(value, str) for value in values):
            raise ValueError(f"the filter's {field} must be a list of texts, got {values!r}")
        if values:
            words = words_of(references, field)
            passes &= np.isin(words.codes, [code for code, word in enumerate(words.values) if word in set(values)])
    return passes


def fold_near_copies(embeddings: np.ndarray, threshold: float = NEAR_COPY) -> list[int | None]:
    """For each row of a ranking, the row that it is a near-copy of: the first better one that is no near-copy itself.

    Args:
        embeddings: (k, d) unit rows, best ranked first.
        threshold: the cosine from which two rows count as copies.

    >>> fold_near_copies(np.array([[1.0, 0.0], [0.0, 1.0], [0.999, 0.0447]]))
    [None, None, 0]
    """
    alike = embeddings @ embeddings.T >= threshold
    folded: list[int | None] = []
    for row in range(len(embeddings)):
        heads = (other for other in range(row) if folded[other] is None and alike[row, other])
        folded.append(next(heads, None))
    return folded
