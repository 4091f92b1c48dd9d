"""What the numbers promise where they could differ: threads, repeats, ties, copies, nothing, one, and values that are none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aad import SPACES, Attributor, BundleError
from aad.answers import SpaceAttribution
from aad.bundle import DEFAULT_BUNDLE, Bundle
from aad.vectors import l2_normalise
from precompute.common.steps import write_step
from tests.galleries import D, wide_bundle

ROOT = Path(__file__).resolve().parents[1]
# What one process answers about one bundle, to the last bit of every number, and the raw bytes of what lies below.
ANSWERS = """
import hashlib, json, sys
import numpy as np
from aad import SPACES, Attributor, Space
attributor = Attributor.load(sys.argv[1])
m = 6
features = attributor._query_features[:m]
every = [attributor.attribute_query(i, 7).spaces[s] for i in range(m) for s in SPACES]
told = {
    "named": [[one.reference_id for one in answer.matches] for answer in every],
    "similarities": [[one.similarity for one in answer.matches] for answer in every],
    "ranks": [attributor.true_ranks(i) for i in range(m)],
    "shares": [[one.weight for one in answer.matches] + [answer.remainder, answer.elsewhere] for answer in every],
    "embedded": {
        s: hashlib.sha256(b"".join(attributor.heads[s].embed(f[None], "synthetic").tobytes() for f in features)).hexdigest()
        for s in SPACES
    },
}
print(json.dumps(told))
"""


def answers(bundle: Path, threads: int) -> dict:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    run = subprocess.run(
        [sys.executable, "-c", ANSWERS, str(bundle)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_run_answers_the_same_bits_and_threads_move_no_rank_and_no_similarity() -> None:
    """The bundle is the shipped one: 611 rows of 1,248 dimensions, whose products a BLAS shares out to its threads."""
    first, again, single = (answers(DEFAULT_BUNDLE, threads) for threads in (2, 2, 1))
    assert first == again
    shares, alone = (np.array(told.pop("shares")) for told in (first, single))
    assert first == single  # names, similarities, ranks of the true sources and embeddings, to the last bit
    np.testing.assert_allclose(shares, alone, rtol=1e-6, atol=0)  # a sum over the gallery, in float32 products


def small(folder: Path, references: np.ndarray, queries: np.ndarray, paths: list[str] | None = None) -> Attributor:
    """A bundle of these very features, untrained heads and centres at zero: its similarities can be said in advance."""
    n, m = len(references), len(queries)
    about = {"title": "T", "source": "s", "licence": "CC0"}
    names = paths or [f"r{i}.png" for i in range(n)]
    backbone = {"name": "efficientnet_lite0", "dim": references.shape[1]}
    write_step(
        folder,
        "extract_features",
        {
            "references.json": [{"path": name, **about} for name in names],
            "queries.json": [{"path": f"q{i}.png", "type": "t", "exemplar_ids": []} for i in range(m)],
            "references_backbone.npy": references.astype(np.float16),
            "queries_backbone.npy": queries.astype(np.float16),
        },
        command="x",
        sections={"name": "small", "images": "pictures", "backbone": backbone, "examples": []},
    )
    eye, zero = np.eye(references.shape[1], dtype=np.float16), np.zeros(references.shape[1], np.float32)
    heads: dict[str, np.ndarray] = {f"{space}.weight": eye for space in SPACES[1:]}
    heads |= {f"{space}.{domain}.centre": zero for space in SPACES[1:] for domain in ("real", "synthetic")}
    rows = {f"references_{space}.npy": l2_normalise(references).astype(np.float16) for space in SPACES[1:]}
    write_step(folder, "train_heads", {"heads.safetensors": heads} | rows, command="x")
    calibration = {space: {"inverse_temperature": 10.0, "null_logit": 5.0} for space in SPACES}
    write_step(folder, "calibrate", {}, command="x", sections={"calibration": calibration})
    places = np.arange(3 * n * 2, dtype=np.float32).reshape(3, n, 2)
    preserved = {"neighbour_preservation": dict.fromkeys(SPACES, 1.0)}
    write_step(folder, "project", {"coordinates.npy": places}, command="x", sections=preserved)
    return Attributor.load(folder)


AXES = np.eye(8, dtype=np.float32)


def total(answer: SpaceAttribution) -> float:
    return sum(match.weight for match in answer.matches) + answer.elsewhere + answer.remainder


def test_a_gallery_of_one_gives_it_and_the_remainder(tmp_path: Path) -> None:
    attributor = small(tmp_path / "one", AXES[:1], AXES[:2])
    for query, similarity in ((0, 1.0), (1, 0.0)):
        for answer in attributor.attribute_query(query, 10).spaces.values():
            (match,) = answer.matches
            assert (match.reference_id, match.rank, match.similarity) == (0, 1, similarity)
            weight = np.exp(10 * similarity) / (np.exp(10 * similarity) + np.exp(5))
            assert (
                match.weight == pytest.approx(weight) and answer.elsewhere < 1e-12 and total(answer) == pytest.approx(1)
            )
            assert answer.position == tuple(attributor.coordinates[answer.space][0])
    alone = attributor.attribute_reference(0, 5)["aligned"]  # without it there is nothing left
    assert alone.matches == () and alone.remainder == 1 and alone.elsewhere == 0
    assert attributor.near_copies([0]) == [None] and attributor.near_copies([]) == []


def test_an_empty_gallery_names_nothing_and_all_is_remainder(tmp_path: Path) -> None:
    attributor = small(tmp_path / "none", AXES[:0], AXES[:1])
    for answer in attributor.attribute_query(0, 3).spaces.values():
        assert answer.matches == () and answer.remainder == 1 and answer.elsewhere == 0
        assert answer.position == (0.5, 0.5)  # the middle of the map
    assert attributor.similarities([0], "aligned").shape == (1, 0)
    with pytest.raises((ValueError, IndexError)):
        attributor.attribute_reference(0, 3)


def test_k_beyond_the_gallery_names_all_of_it_once(tmp_path: Path) -> None:
    attributor = small(tmp_path / "few", AXES[:5], AXES[:1])
    for k in (5, 6, 10**6):
        answer = attributor.attribute_query(0, k)["disentangled"]
        assert [match.reference_id for match in answer.matches] == [0, 1, 2, 3, 4]
        assert answer.elsewhere == pytest.approx(0, abs=1e-12) and total(answer) == pytest.approx(1)


def test_ties_go_by_id_in_every_space_and_at_every_k(tmp_path: Path) -> None:
    attributor = small(tmp_path / "tied", AXES[[1, 0, 1, 0, 1, 0]], AXES[[0, 2]])
    for k in range(1, 7):
        for answer in attributor.attribute_query(0, k).spaces.values():
            assert [match.reference_id for match in answer.matches] == [1, 3, 5, 0, 2, 4][:k]
        for answer in attributor.attribute_query(1, k).spaces.values():  # all are as unlike
            assert [match.reference_id for match in answer.matches] == [0, 1, 2, 3, 4, 5][:k]


def test_copies_are_both_named_with_equal_weights_and_folded(tmp_path: Path) -> None:
    gallery = np.stack([AXES[0], AXES[1], AXES[0]])
    attributor = small(tmp_path / "copies", gallery, AXES[:1], ["a.png", "b.png", "a.png"])  # one file, entered twice
    first, second, third = attributor.attribute_query(0, 3)["aligned"].matches
    assert (first.reference_id, second.reference_id, third.reference_id) == (0, 2, 1)
    assert first.similarity == second.similarity == 1 and first.weight == second.weight > third.weight
    assert attributor.near_copies([0, 2, 1]) == [None, 0, None]
    other = attributor.attribute_reference(0, 1)["aligned"].matches[0]
    assert (other.reference_id, other.similarity) == (2, 1)


def test_a_vector_of_zeros_resembles_nothing_and_weighs_as_such(tmp_path: Path) -> None:
    attributor = small(tmp_path / "zeros", np.stack([AXES[0], 0 * AXES[0]]), np.stack([AXES[0], 0 * AXES[0]]))
    like, unlike = attributor.attribute_query(0, 2)["aligned"].matches
    assert (like.reference_id, like.similarity, unlike.similarity) == (0, 1, 0)
    answer = attributor.attribute_query(1, 2)["aligned"]
    assert [(match.reference_id, match.similarity) for match in answer.matches] == [(0, 0), (1, 0)]
    assert answer.matches[0].weight == answer.matches[1].weight and total(answer) == pytest.approx(1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_question_that_is_no_number_is_refused_and_not_answered(tmp_path: Path, value: float) -> None:
    attributor = small(tmp_path / "asked", AXES[:3], AXES[:1])
    features = AXES[:1].copy()
    features[0, 3] = value
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="queries must be finite, got NaN or infinity"):
        attributor._answer(features, 2)


def test_the_order_of_entries_and_of_rows_is_bound_by_the_manifest(tmp_path: Path) -> None:
    """Entries in another order, or rows in another, are other bytes; only a step that writes both can bind them anew."""
    bundle = wide_bundle(tmp_path / "bundle", 12, 3)
    entries = json.loads((bundle / "references.json").read_bytes())
    files = {"references.json": json.dumps([entries[1], entries[0], *entries[2:]]).encode()}
    for space in SPACES:
        rows = np.load(bundle / f"references_{space}.npy")
        np.save(tmp_path / "swapped.npy", rows[[1, 0, *range(2, 12)]])
        files[f"references_{space}.npy"] = (tmp_path / "swapped.npy").read_bytes()
    stamp = Attributor.load(bundle).stamp["bundle"]
    for name, content in files.items():
        before = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content)
        with pytest.raises(BundleError, match=rf"{name} is damaged: its sha256 is not the manifest's"):
            Attributor.load(bundle)
        (bundle / name).write_bytes(before)
    assert Attributor.load(bundle).stamp["bundle"] == stamp == Bundle.open(bundle).sha256[:12]
    assert Bundle.open(bundle).manifest["backbone"]["dim"] == D
