"""What the page says about itself: how each space works, what was measured, and what computed the answers."""

from typing import Any

from aad import Attributor
from interface.words import SPACE_WORDS, how, type_words


def about(attributor: Attributor) -> dict[str, Any]:
    """What the page says about itself: how each space works, what was measured, and what computed the answers.

    Returns:
        `{"how": [...], "metrics": metrics_rows(...), "stamp": [[name, value], ...]}`.
    """
    stamp: list[list[str]] = []
    for name, value in attributor.stamp.items():
        parts = value.items() if isinstance(value, dict) else [(name, value)]
        stamp.extend([str(key).replace("_", " "), str(entry)] for key, entry in parts)
    return {
        "how": how(attributor.spaces),
        "metrics": metrics_rows(attributor.metrics),
        "stamp": stamp,
    }


def metrics_rows(metrics: dict[str, Any] | None, *, split: str = "test") -> list[dict[str, Any]]:
    """Rows of the measured results: one per query type, with every space's figures.

    Args:
        metrics: The bundle's metrics, or None.
        split: Which split to show.

    Returns:
        `[{"type", "label", "n_queries", "held_out", "cells": {measure: {space: {"mean", "low", "high"}}}}]`, with the
        measures "R@1", "R@5" and "MRR"; `held_out` says that no generator of these queries was trained on. Empty when
        nothing was measured.
    """
    metrics = metrics or {}
    spaces, generators = metrics.get("spaces", {}), metrics.get("generators", {})
    held_out = set(metrics.get("held_out_generators", ()))
    rows: dict[str, dict[str, Any]] = {}
    for space in SPACE_WORDS:
        for query_type, figures in spaces.get(space, {}).get(split, {}).items():
            row = rows.setdefault(
                query_type,
                {
                    "type": query_type,
                    "label": type_words(query_type),
                    "n_queries": figures.get("n_queries"),
                    "held_out": bool(generators.get(query_type)) and held_out.issuperset(generators[query_type]),
                    "cells": {"R@1": {}, "R@5": {}, "MRR": {}},
                },
            )
            recall = figures.get("recall", {})
            for measure, figure in (("R@1", recall.get("1")), ("R@5", recall.get("5")), ("MRR", figures.get("mrr"))):
                if figure and figure.get("mean") is not None:
                    row["cells"][measure][space] = figure
    return list(rows.values())
