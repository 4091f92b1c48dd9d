"""How well true sources are found: figures of each query, their means with intervals, as a table, in the bundle or in a file.

Conventions, as in AbC (Wang et al., ICCV 2023): recall@k is the share of a query's exemplars among the first k, so that with six
exemplars recall@1 is at most 1/6; average precision divides by the number of exemplars.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from aad.metrics import bootstrap_interval, exemplar_ranks
from aad.spaces import SPACES, Space
from precompute.common.cli import command_line
from precompute.common.steps import write_step
from precompute.common.store import write_table

MEASURES = ("recall@1", "mrr")  # by which spaces and methods are compared
# type of query: another scene in a painter's manner. The source is not shown: never pooled with the rest
OTHER_TASK = ("style",)
STEPS_BETWEEN = (*pairwise(SPACES), (SPACES[0], SPACES[-1]))

Scores = Mapping[str, np.ndarray]  # by measure, (n,) figures of n queries


def score(
    similarities: Iterable[np.ndarray], exemplar_ids: Iterable[Sequence[int]], recall_k: Sequence[int] = (1,)
) -> dict[str, np.ndarray]:
    """Recall at each k, average precision (``map``) and reciprocal rank (``mrr``) of n queries.

    Args:
        similarities: of each query, (m,) to all references.
        exemplar_ids: the true sources of each.
        recall_k: numbers k.
    """
    ranks = [exemplar_ranks(row, ids) for row, ids in zip(similarities, exemplar_ids, strict=True)]
    scores = {f"recall@{k}": np.array([(rank <= k).mean() for rank in ranks]) for k in recall_k}
    scores["map"] = np.array([average_precision(rank) for rank in ranks])
    return scores | {"mrr": np.array([float(1 / rank[0]) for rank in ranks])}


def average_precision(ranks: np.ndarray) -> float:
    """Mean over exemplars of the precision at their (e,) ascending ranks, over the full ranking; in (0, 1], never NaN.

    >>> average_precision(np.array([1, 4]))
    0.75
    """
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def interval(values: np.ndarray, concepts: Sequence[str], digits: int = 4) -> dict[str, float]:
    """Mean and bootstrap 95 % interval over concepts, rounded for a file."""
    return {key: round(value, digits) for key, value in bootstrap_interval(values, concepts)._asdict().items()}


def intervals(scores: Scores, concepts: Sequence[str]) -> dict[str, dict[str, float]]:
    """``interval`` of each of ``MEASURES``."""
    return {measure: interval(scores[measure], concepts) for measure in MEASURES}


def differences(scores: Mapping[Space, Scores], concepts: Sequence[str], digits: int = 4) -> dict[str, Any]:
    """``interval`` of the paired differences between spaces."""
    return {
        f"{later} - {earlier}": {
            measure: interval(scores[later][measure] - scores[earlier][measure], concepts, digits)
            for measure in MEASURES
        }
        for earlier, later in STEPS_BETWEEN
    }


def shown(figure: Mapping[str, float]) -> str:
    """A mean with its 95 % interval."""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def markdown(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = (f"| {' | '.join(map(str, cells))} |" for cells in rows)
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines])


def add_out(parser: argparse.ArgumentParser) -> None:
    """``--out``, for steps that write one file of figures."""
    parser.add_argument("--out", type=Path, help="write here instead of into the bundle")


def write_figures(
    arguments: argparse.Namespace,
    argv: Sequence[str],
    step: str,
    name: str,
    figures: Any,
    settings: Mapping[str, Any] | None = None,
    indent: int | None = 1,
) -> None:
    """Into ``--out``, or as a file of the bundle."""
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(arguments.out, figures, indent)
    else:
        command = command_line(f"precompute.{step}", argv)
        write_step(arguments.bundle, step, {name: figures}, command=command, settings=settings)
