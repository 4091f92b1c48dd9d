"""The page's filter of the gallery: which references are of the groups, sources and licences that a visitor chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aad.references import words_of

FILTER_FIELDS = ("group", "source", "licence")


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
