"""The step that looks at the theory, on a small bundle whose sources are known: see tests/recovery.py."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.bundle import Bundle, BundleError
from aad.method import ALIGNED, fit_head, leading_directions, nuisance_whitening
from aad.spaces import SPACES, Domain
from precompute.common.steps import write_step
from precompute.measure_theory import main, measure
from tests.recovery import N_SOURCES, D, TwoDomains, two_domains

N = 400  # pairs in each split
SPLITS = np.repeat(["train", "test", "validation"], N)


def small_bundle(folder: Path, data: TwoDomains, exemplar_ids: np.ndarray | None = None) -> Path:
    """Query i comes from reference ``exemplar_ids[i]``, by default i; one more query has two sources."""
    n = len(SPLITS)
    ids = np.arange(n) if exemplar_ids is None else exemplar_ids
    real, synthetic = (data.pairs[domain][:n].astype(np.float32) for domain in Domain)
    queries = [
        {"path": f"q{i}.png", "type": "t", "split": split, "exemplar_ids": [int(ids[i])]}
        for i, split in enumerate(SPLITS.tolist())
    ]
    queries.append({"path": "two.png", "type": "t", "split": "test", "exemplar_ids": [0, 1]})
    write_step(
        folder,
        "extract_features",
        {
            "references.json": [{"path": f"r{i}.png"} for i in range(n)],
            "queries.json": queries,
            "references_backbone.npy": real,
            "queries_backbone.npy": np.concatenate([synthetic, synthetic[:1]]),
        },
        command="test",
        sections={"backbone": {"name": "linear", "dim": D}},
    )
    leading = leading_directions(data.views, D)
    heads = {"aligned": fit_head(data.views, replace(ALIGNED, n_steps=0), leading=leading)[0]}  # centred, no more
    heads["disentangled"] = nuisance_whitening(data.views, 0.01, leading)
    tensors = {key: tensor for name, head in heads.items() for key, tensor in head.to_tensors(name).items()}
    write_step(folder, "train_heads", {"heads.safetensors": tensors}, command="test")
    return folder


@pytest.fixture(scope="module")
def data() -> TwoDomains:
    return two_domains(0, m=len(SPLITS))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, data) -> Path:
    return small_bundle(tmp_path_factory.mktemp("theory") / "bundle", data)


@pytest.fixture(scope="module")
def theory(bundle):
    return measure(Bundle.open(bundle))


def test_the_disentangled_space_is_nearest_to_the_oracle_where_the_theory_holds(theory):
    backbone, aligned, disentangled = (theory["spaces"][space] for space in SPACES)
    for shrinkage in ("0.01", "0.1"):
        assert theory["settings"]["oracle_rank"][shrinkage] == N_SOURCES
        for name in ("subspace", "cka"):
            assert disentangled["closeness"][shrinkage][name] > 0.8
            assert disentangled["closeness"][shrinkage][name] > backbone["closeness"][shrinkage][name] + 0.4
    assert disentangled["diagonal_share"]["covariance"] > aligned["diagonal_share"]["covariance"] + 0.3
    assert disentangled["effective_rank"]["real"] > 1.2 * aligned["effective_rank"]["real"]
    assert backbone["recall@1"] < disentangled["recall@1"] < theory["oracle"]["recall@1"]
    # queries with one source count and no others
    assert theory["n_pairs"] == {"train": N, "test": N} and theory["n_sources"] == {"train": N, "test": N}


def test_a_source_with_several_queries_counts_once_among_real_images(tmp_path, data, theory):
    ids = np.arange(len(SPLITS))
    ids[N : 2 * N] = N + np.minimum(np.arange(N), 79)  # the last one has all other queries
    repeated = measure(Bundle.open(small_bundle(tmp_path / "bundle", data, ids)))
    assert repeated["n_sources"]["test"] == 80
    sources = data.pairs[Domain.REAL][np.unique(ids[N : 2 * N])]
    squared = np.corrcoef(sources.T) ** 2
    expected = (squared.sum() - D) / (D * (D - 1))
    assert repeated["spaces"]["backbone"]["redundancy"]["real"] == pytest.approx(expected, abs=1e-4)
    assert (
        repeated["spaces"]["backbone"]["redundancy"]["synthetic"]
        == theory["spaces"]["backbone"]["redundancy"]["synthetic"]
    )


def test_directions_are_fitted_on_train_pairs_measured_on_test_pairs_and_as_many_as_hold_up_on_validation_pairs(
    tmp_path, data, theory
):
    wrong = {}
    for part, split in enumerate(("train", "test", "validation")):
        ids = np.arange(len(SPLITS))
        ids[part * N : (part + 1) * N] = np.roll(ids[part * N : (part + 1) * N], 7)  # its pairs are wrong now
        wrong[split] = measure(Bundle.open(small_bundle(tmp_path / split, data, ids)))

    def found(measured):
        return np.mean(measured["spaces"]["disentangled"]["canonical_correlations"][:4])

    assert found(theory) > 0.6 and abs(found(wrong["test"])) < 0.2 and abs(found(wrong["train"])) < 0.4
    for name in ("effective_rank", "closeness"):  # need no test pairs
        assert wrong["test"]["spaces"]["aligned"][name] == theory["spaces"]["aligned"][name]
    for name in ("cross_correlation", "spectrum"):  # need no train pairs
        assert wrong["train"]["spaces"]["aligned"][name] == theory["spaces"]["aligned"][name]
    assert wrong["validation"]["settings"]["oracle_rank"] == {"0.01": 1, "0.1": 1}  # nothing holds up
    for name, column in wrong["validation"]["spaces"].items():
        assert column | {"closeness": 0} == theory["spaces"][name] | {"closeness": 0}


def test_too_few_pairs_are_refused_and_the_text_says_what_is_needed(tmp_path, data):
    ids = np.arange(len(SPLITS)) % 50
    folder = small_bundle(tmp_path / "bundle", data, ids)
    with pytest.raises(BundleError, match="more than 64 different sources of train queries"):
        measure(Bundle.open(folder))


def test_the_step_writes_small_plain_json_and_the_same_bytes_twice(bundle, tmp_path, capsys):
    written = []
    for i in range(2):
        main(["--bundle", str(bundle), "--out", str(tmp_path / "made" / f"{i}.json")])
        written.append((tmp_path / "made" / f"{i}.json").read_bytes())
    table = capsys.readouterr().out
    assert written[0] == written[1]
    assert "| backbone | aligned | disentangled | oracle |" in table and "closeness, cka, shrinkage 0.1" in table
    main(["--bundle", str(bundle)])
    opened = Bundle.open(bundle)
    assert opened.read_json("theory.json") == json.loads(written[0])
    assert len(opened.read_bytes("theory.json")) < 60_000
    assert (
        opened.manifest["steps"]["measure_theory"]["command"]
        == f"python -m precompute.measure_theory --bundle {bundle}"
    )
