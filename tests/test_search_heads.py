"""The search over settings of the heads: what its folds keep apart, and what its log says."""

from pathlib import Path

import numpy as np
import pytest

from aad.method import Views
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute.common.pairs import Pair, markdown
from precompute.common.unseen import N_FOLDS, Fold, folds
from precompute.search_heads import LINES, summary, table


def test_what_shares_a_repository_a_folder_or_a_picture_falls_into_one_fold(tmp_path: Path) -> None:
    """Ten projects with a subject each, but for links: 0 and 1 by a subject, 2 and 3 by a copied picture."""
    exemplars = []
    for group in range(10):
        for number in range(2):
            path = tmp_path / f"{group}" / f"{number}.webp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"the same" if group in (2, 3) and number else f"{group} {number}".encode())
            exemplars.append(path)
    queries = [Pair("edit", Path(f"{i}"), (2 * (i % 10) + i // 10 % 2,), f"project {i % 10}") for i in range(40)]
    queries.append(Pair("edit", Path("link"), (0, 2), "project 0"))
    of_query, of_exemplar = folds(queries, exemplars)
    assert {*of_query} == {*range(N_FOLDS)} and np.bincount(of_query).max() <= 9 + 4
    assert all(of_exemplar[row] == fold for query, fold in zip(queries, of_query, strict=True) for row in query.sources)
    assert of_query[0] == of_query[1] and of_query[2] == of_query[3]
    for project in range(10):
        own = [query.repository.endswith(f" {project}") for query in queries]
        assert len({*of_query[own]}) == 1


def test_every_line_fits_a_head_and_only_a_cut_drops_what_is_not_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = l2_normalise(np.repeat(rng.normal(size=(2, 30, 1, 12)), 3, 2) + 0.3 * rng.normal(size=(2, 30, 3, 12)))
    fold = Fold(Views(*rows.astype(np.float32)))
    monkeypatch.setattr(Fold, "rank", 6)
    shown = fold.views.real[:, 0]
    for name, line in LINES.items():
        if "whitening" in name or name in ("backbone", "centring", "aligned", "disentangled"):
            embedded, wanted = line(fold).embed(shown, Domain.REAL), 6 if "dropped" in name else 12
            assert embedded.shape == (30, wanted) and np.linalg.matrix_rank(embedded) == wanted, name


def test_the_log_tells_finished_lines_only_and_intervals_once_all_spaces_are_there() -> None:
    kinds, repositories = ["edit", "edit", "style"], ["one", "two", "two"]
    lines = {"backbone": {"ranks": [1, 2, 4], "seconds": 5}, "aligned": {"ranks": [1, 1, 0], "seconds": 1}}
    log = {"lines": lines, **summary(lines, kinds, repositories)}
    assert (
        "spaces" not in log
        and table(log).splitlines()[-1] == "| backbone | 0.500 / 0.750 | 0.000 / 0.250 | 0.250 / 0.500 | 1 |"
    )
    lines |= {name: {"ranks": [1, 1, 1], "seconds": 1} for name in ("aligned", "disentangled")}
    told = markdown(summary(lines, kinds, repositories)["spaces"]).splitlines()
    assert len(told) == 2 + 2 * 3 and told[2].startswith("| `edit` | hit@1 | 0.500 (")
