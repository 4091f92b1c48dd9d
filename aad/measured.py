"""What was measured on a bundle: metrics.json, generalisation.json and theory.json, checked before the page draws them."""

from typing import Any

from aad.bundle import Bundle
from aad.schema import by_space, is_number, is_whole, require

_MOST = 1000  # kinds of queries, and entries of a list of figures: the page draws each


def read_measured(bundle: Bundle, name: str) -> dict[str, Any] | None:
    """One of the three tables; None where the bundle has none. An empty one measured nothing.

    Raises:
        BundleError: it is damaged, or holds what the step that writes it does not write.
    """
    if not bundle.has(name):
        return None
    told = bundle.read_json(name)
    try:
        require(isinstance(told, dict), "an object", told)
        _check_finite(told)
        if told:
            CHECKS[name](told)
    except ValueError as error:
        raise bundle.refusal(name, f"is damaged or of another version ({error})") from None
    return {**told}


def _check_finite(told: Any) -> None:
    """Everywhere, as parts travel to a browser as they are, and it reads no NaN; in a loop, however deep it is."""
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            require(is_number(one), "finite numbers", one)


def _check_metrics(told: dict[str, Any]) -> None:
    _check_texts("'held_out_generators'", told.get("held_out_generators", []))
    for kind, names in _objects("'generators'", told.get("generators", {})).items():
        _check_texts(f"'generators' of {kind!r:.80}", names)
    if error := told.get("calibration_error"):  # none without queries of the test split
        _figures("'calibration_error'", by_space("calibration_error", error))
    for splits in _objects("'spaces'", told.get("spaces", {})).values():
        for split, kinds in _objects("a space", splits).items():
            for kind, figures in _objects(repr(split), kinds).items():
                what = f"{kind!r:.80} in {split!r:.80}"
                recall = _objects(f"'recall' of {what}", _objects(what, figures).get("recall", {}))
                require(
                    is_whole(figures.get("n_queries", 0)), f"a number of queries of {what}", figures.get("n_queries")
                )
                for figure in (*recall.values(), figures.get("map"), figures.get("mrr")):
                    if figure is not None:
                        _figures(what, figure, "mean", "low", "high")


def _check_families(told: dict[str, Any]) -> None:
    for split, rows in told.items():
        for name, row in _objects(f"{split!r:.80}", rows).items():
            what = f"{name!r:.80} in {split!r:.80}"
            require(isinstance(_objects(what, row).get("left_out"), str), f"a text as 'left_out' of {what}", row)
            require(is_whole(row.get("n_queries")), f"a number of queries of {what}", row.get("n_queries"))
            for space, figures in by_space(f"spaces of {what}", row.get("spaces")).items():
                for key in ("recall@1", "mrr"):
                    where = f"{key!r} of {what}, {space}"
                    _figures(where, _objects(where, figures).get(key), "mean", "low", "high")


def _check_theory(told: dict[str, Any]) -> None:
    for key in ("n_pairs", "n_sources"):
        for split, least in (("train", 0), ("test", 2)):
            n: Any = _objects(repr(key), told.get(key)).get(split)
            require(is_whole(n) and n >= least, f"a whole number from {least} as {split!r} of {key!r}", n)
    directions = _objects("'settings'", told.get("settings")).get("subspace")
    require(is_whole(directions), "a whole number as 'subspace' of 'settings'", directions)
    for floor in _objects("'chance'", told.get("chance")).values():
        _figures("'chance'", floor)
    columns = {"oracle": _objects("'oracle'", told.get("oracle")), **by_space("spaces", told.get("spaces"))}
    first = None
    for name, column in columns.items():
        closeness = _objects(f"'closeness' of {name}", _objects(name, column).get("closeness"))
        ways = {shrinkage: sorted(_figures(f"'closeness' of {name}", one)) for shrinkage, one in closeness.items()}
        picture = column.get("cross_correlation")
        rows = picture if isinstance(picture, list) else []
        first = first or (ways, len(rows))
        require(ways == first[0], f"the same ways of 'closeness' for {name} as for the oracle", closeness)
        fits = 0 < len(rows) == first[1] and all(_is_row(row, first[1]) and max(map(abs, row)) <= 1 for row in rows)
        require(fits, f"a square of correlations, as large as the oracle's, as 'cross_correlation' of {name}", picture)
        require(is_number(column.get("recall@1")), f"a number as 'recall@1' of {name}", column.get("recall@1"))
        _figures(f"'diagonal_share' of {name}", column.get("diagonal_share"), "correlation")
        for key in ("spectrum", "canonical_correlations"):
            require(_is_row(column.get(key)), f"1 to {_MOST} numbers as {key!r} of {name}", column.get(key))
        if name != "oracle":
            for key in ("effective_rank", "redundancy"):
                _figures(f"{key!r} of {name}", column.get(key), "real", "synthetic")


CHECKS = {"metrics.json": _check_metrics, "generalisation.json": _check_families, "theory.json": _check_theory}


def _is_row(value: Any, n: int | None = None) -> bool:
    fits = isinstance(value, list) and 0 < len(value) <= _MOST and n in (None, len(value))
    return fits and all(map(is_number, value))


def _figures(what: str, value: Any, *needed: str) -> dict[str, float]:
    """An object of numbers, these among them."""
    found = _objects(what, value)
    for key in {*needed, *found}:
        require(is_number(found.get(key)), f"a number as {key!r:.80} of {what}", found.get(key))
    return found


def _check_texts(what: str, value: Any) -> None:
    require(isinstance(value, list) and all(isinstance(one, str) for one in value), f"a list of texts as {what}", value)


def _objects(what: str, value: Any) -> dict[str, Any]:
    require(isinstance(value, dict) and len(value) <= _MOST, f"an object of at most {_MOST} entries as {what}", value)
    return dict(value)
