"""The search over settings of the heads: what its folds keep apart, and what its log says."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aad.backbones import Backbone
from aad.bundle import Bundle
from aad.images import load_image
from aad.method import Views
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute.common.left_out import HELD_OUT
from precompute.common.pairs import Pair, markdown
from precompute.common.store import write_arrays
from precompute.common.unseen import N_FOLDS, Fold, folds
from precompute.experiments import former
from precompute.search_heads import LINES, summary, table
from tests.small import SPEC, ThumbnailNetwork, folder_of, small_bundle


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


def test_the_former_features_are_whitened_by_size_on_what_a_fold_may_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 pictures a domain the first three are asked about, and hidden like the last; once more with SciPy."""
    from scipy.linalg import fractional_matrix_power

    monkeypatch.setattr(former, "SIZES", (4, 6))
    encoder = Backbone(SPEC, ThumbnailNetwork(shape=(2, 2)))
    monkeypatch.setattr(former, "load_backbone", lambda *_: encoder)
    found = {d: sorted(folder_of(tmp_path / d, 20, 100 * i).rglob("*.png")) for i, d in enumerate(Domain)}
    names = {d: np.array([str(path) for path in paths]) for d, paths in found.items()}
    bundle, made = Bundle.open(small_bundle(tmp_path)), [*names[Domain.SYNTHETIC], ""]
    (bundle.folder / ".work").mkdir()
    told = {"real_files": names[Domain.REAL], "synthetic_files": made, "generators": [*["any"] * 19, HELD_OUT, "any"]}
    write_arrays(bundle.folder / ".work" / "views.npz", **{key: np.array(of) for key, of in told.items()})
    hidden = {name for d in Domain for name in names[d][[0, 1, 2, *([19] if d == Domain.REAL else [])]]}
    asked = SimpleNamespace(bundle=bundle, files={d: found[d][:3] for d in Domain}, place=Path)
    asked.rows, asked.hidden = lambda fold: [0, 2], lambda fold: hidden
    gallery, queries = former.Former(asked, "cpu").embed(0, np.array([1, 2]))
    cosines = np.zeros((2, 2))
    for size in (4, 6):
        sized = replace(encoder, spec=replace(SPEC, image_size=size))
        rows = {d: sized.embed([load_image(path) for path in found[d]]).astype(np.float64) for d in Domain}
        spread = sum(np.cov(of[3:19].T, bias=True) for of in rows.values()) / 2
        weight = fractional_matrix_power(0.1 * spread + 0.9 * np.trace(spread) / 12 * np.eye(12), -0.5)
        real, synthetic = (l2_normalise((of - of[3:19].mean(0)) @ weight) for of in rows.values())
        cosines += synthetic[[1, 2]] @ real[[0, 2]].T / 2
    assert np.allclose(queries @ gallery.T, cosines, atol=1e-4)


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
