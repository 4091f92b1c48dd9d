"""A choice of references as filters for Qdrant: in the words of their payload where these can say it, otherwise by their ids."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aad.references import Words

if TYPE_CHECKING:
    from qdrant_client.models import Filter

FIELDS = ("group", "source", "licence")  # of a payload: those that the page filters by
IDS = 50_000  # in one filter: 400 kB of the 32 MB that a server accepts
Part = tuple["Filter | None", int]  # a filter, and how many references it lets through


def all_but(without: int | None, n: int) -> list[Part]:
    """The whole gallery of n, less one reference."""
    return [(_filter(never=[without]), n - 1)] if without is not None else [(None, n)]


def just(allowed: np.ndarray, words: Mapping[str, Words] | None = None) -> list[Part]:
    """Filters that let exactly the allowed references through, each of them in one.

    A choice that words make, such as one group under two licences, is sent as those words, whatever its size. Where only a few
    references are missing from it, as the picture that is searched by, they are excluded by their ids.

    Args:
        allowed: (n,) bool.
        words: of each field, the n words in the payloads.
    """
    ids, passing = np.flatnonzero(allowed), int(allowed.sum())
    if not passing:
        return []
    wanted, passes = _in_words(ids, len(allowed), words or {})
    never = np.flatnonzero(passes & ~allowed)
    if len(never) + sum(map(len, wanted.values())) <= IDS:
        return [(_filter(wanted, never=never.tolist()), passing)]
    parts = [ids[start : start + IDS] for start in range(0, passing, IDS)]
    return [(_filter(only=part.tolist()), len(part)) for part in parts]


def _in_words(ids: np.ndarray, n: int, words: Mapping[str, Words]) -> tuple[dict[str, list[str]], np.ndarray]:
    """The narrowest choice of words that lets these references through, and all that it lets through, (n,) bool."""
    passes, wanted = np.ones(n, dtype=bool), {}
    for field, column in words.items():
        values = column.values
        chosen = np.zeros(len(values), dtype=bool)
        chosen[column.codes[ids]] = True
        passes &= chosen[column.codes]
        if not chosen.all():
            wanted[field] = [value for value, one in zip(values, chosen, strict=True) if one]
    return wanted, passes


def _filter(
    words: Mapping[str, Sequence[str]] | None = None, only: Sequence[int] = (), never: Sequence[int] = ()
) -> "Filter | None":
    from qdrant_client import models

    must: list[Any] = [
        models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))
        for field, values in (words or {}).items()
    ]
    if only:
        must.append(models.HasIdCondition(has_id=list(only)))
    must_not: list[Any] = [models.HasIdCondition(has_id=list(never))] if never else []
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None
