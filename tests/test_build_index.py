"""An index for many references: the same answers as without, weights that say they are estimates, and nothing stale or damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aad import SPACES, Attributor, Space, attribution
from aad.bundle import Bundle
from aad.scale.compressed import CompressedIndex
from aad.scale.stored import StoredRows
from aad.search import ExactIndex
from aad.vectors import l2_normalise
from interface import present
from precompute import build_index
from precompute.common.steps import write_step
from tests.galleries import M, N, wide_bundle

FILES = [f"index_{space}.safetensors" for space in SPACES]


def build(bundle: Path, *options: object) -> dict[str, bytes]:
    build_index.main(["--bundle", str(bundle), *map(str, options)])
    return {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return wide_bundle(tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def indexed(plain, tmp_path_factory):
    bundle = Path(shutil.copytree(plain, tmp_path_factory.mktemp("indexed") / "bundle"))
    build(bundle, "--method", "compressed")
    return bundle


@pytest.fixture(scope="module")
def exact(plain):
    return Attributor.load(plain)


@pytest.fixture(scope="module")
def compressed(indexed):
    attributor = Attributor.load(indexed)
    assert all(isinstance(index, CompressedIndex) for index in attributor._index.values())
    return attributor


@pytest.fixture
def copy(indexed, tmp_path):
    return Path(shutil.copytree(indexed, tmp_path / "bundle"))


def named(answer):
    return [(match.reference_id, match.similarity) for match in answer.matches]


def test_answers_are_those_of_the_exact_search(exact, compressed):
    for query_id in range(M):
        ours, theirs = compressed.attribute_query(query_id, 10), exact.attribute_query(query_id, 10)
        for space in SPACES:
            assert named(ours[space]) == named(theirs[space])
            weights = ([match.weight for match in one[space].matches] for one in (ours, theirs))
            np.testing.assert_allclose(*weights, rtol=0.2)
            assert ours[space].position == pytest.approx(theirs[space].position, abs=1e-6)
            assert ours[space].estimated and not theirs[space].estimated


def test_filters_and_searching_again_stay_exact(exact, compressed, monkeypatch):
    among = np.arange(N) % 37 == 5  # few, and most of them far from the query
    for ask in (
        lambda one: one.attribute_query(3, 20, among=among),
        lambda one: one.attribute_reference(7, 20),
        lambda one: one.attribute_reference(7, 20, among=among),
    ):
        ours, theirs = ask(compressed), ask(exact)
        assert all(named(ours[space]) == named(theirs[space]) for space in SPACES)
    expected = exact.true_ranks(4)
    monkeypatch.setattr(Attributor, "similarities", lambda *_: pytest.fail("a near rank needs no look at all rows"))
    assert compressed.true_ranks(4) == expected
    assert compressed.near_copies([3, 5, 3]) == exact.near_copies([3, 5, 3]) == [None, None, 0]


def test_weights_that_are_estimates_say_so_everywhere_and_others_nowhere(exact, compressed):
    ours, theirs = compressed.attribute_query(0, 3), exact.attribute_query(0, 3)
    assert all(part["estimated"] is True for part in ours.to_dict().values())
    assert all("estimated" not in part for part in theirs.to_dict().values())
    for result, flag in ((ours, True), (theirs, False)):
        assert all(present.space_answer(part)["estimated"] is flag for part in result.spaces.values())
        total = [
            sum(m.weight for m in part.matches) + part.elsewhere + part.remainder for part in result.spaces.values()
        ]
        assert total == pytest.approx([1, 1, 1], abs=1e-9)


def test_the_manifest_says_how_good_it_is_and_on_what_and_all_else_stays(plain, indexed):
    section = Bundle.open(indexed).manifest["retrieval"]
    assert set(section) == set(SPACES)
    assert {(indexed / name).stat().st_mode & 0o777 for name in FILES} == {0o644}
    for told in section.values():
        assert told["method"] == "compressed" and told["target"] == 0.99 and told["recall_at_10"] >= 0.99
        assert (told["measured_on"], told["n_queries"]) == ("queries", M)
    before, after = Bundle.open(plain).manifest, Bundle.open(indexed).manifest
    assert before["files"].items() <= after["files"].items() and before["steps"].items() <= after["steps"].items()
    assert all(after[key] == told for key, told in before.items() if key not in ("files", "steps"))


def test_the_recall_is_of_queries_as_synthetic_images(plain, monkeypatch, tmp_path):
    seen = []

    def measured(rows, queries, **_):
        seen.append(queries)
        return {}, {"method": "scan", "k": 10, "recall_at_10": 1.0, "target": 0.99, "n_queries": len(queries)}

    monkeypatch.setattr(build_index, "build_index", measured)
    build(Path(shutil.copytree(plain, tmp_path / "bundle")), "--method", "scan")
    features = np.load(plain / "queries_backbone.npy").astype(np.float32)
    np.testing.assert_allclose(seen[0], l2_normalise(features), atol=1e-6)
    np.testing.assert_allclose(seen[1], l2_normalise(features - 0.05), atol=1e-6)


def test_a_step_drops_what_later_steps_made_and_what_it_no_longer_writes_and_keeps_the_rest(copy):
    stored = Bundle.open(copy)
    write_step(copy, "calibrate", {}, command="again", sections={"calibration": stored.manifest["calibration"]})
    kept = Bundle.open(copy)
    assert kept.has(FILES[0]) and "retrieval" in kept.manifest and not kept.has("coordinates.npy")
    write_step(copy, "train_heads", {"heads.safetensors": stored.read_tensors("heads.safetensors")}, command="again")
    dropped = Bundle.open(copy)
    assert not any(dropped.has(name) for name in FILES) and not {"retrieval", "calibration"} & set(dropped.manifest)
    assert dropped.has("references_backbone.npy") and not dropped.has("references_aligned.npy")
    assert dropped.manifest["name"] == "wide" and "calibrate" not in dropped.manifest["steps"]


def test_few_references_need_no_index_and_keep_none(plain, copy, tmp_path, capsys):
    untouched = Path(shutil.copytree(plain, tmp_path / "small"))
    before = {path.name: path.read_bytes() for path in untouched.iterdir()}
    assert build(untouched) == before
    assert "no index is needed" in capsys.readouterr().out
    build(copy)
    assert "retrieval" not in Bundle.open(copy).manifest and not Bundle.open(copy).has(FILES[0])
    assert isinstance(Attributor.load(copy)._index[Space.ALIGNED], ExactIndex)


def test_without_queries_the_measure_is_references_and_the_manifest_says_so(tmp_path, capsys):
    bundle = wide_bundle(tmp_path / "bundle", n=1500, m=0)
    build(bundle, "--method", "scan")
    told = Bundle.open(bundle).manifest["retrieval"]["aligned"]
    assert (told["measured_on"], told["n_queries"]) == ("references", build_index.N_QUERIES)
    assert "no queries" in (said := capsys.readouterr().out) and f"on {build_index.N_QUERIES} references" in said


def test_an_interrupted_build_leaves_the_bundle_as_it_was(plain, tmp_path, monkeypatch):
    bundle = Path(shutil.copytree(plain, tmp_path / "bundle"))
    before, real = {path: path.read_bytes() for path in bundle.rglob("*.*")}, build_index._summary

    def stopping(space: Space, settings: object) -> str:
        if space == SPACES[1]:
            raise KeyboardInterrupt
        return real(space, settings)

    monkeypatch.setattr(build_index, "_summary", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(bundle, "--method", "compressed")
    assert {path: path.read_bytes() for path in bundle.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("method", ["exact", "scan", None])
def test_a_method_without_a_file_can_be_asked_for_and_many_references_without_an_index_are_read_from_disk(
    plain, tmp_path, exact, method, monkeypatch
):
    bundle = Path(shutil.copytree(plain, tmp_path / "bundle"))
    if method:
        build(bundle, "--method", method)
    monkeypatch.setattr(attribution, "method_for", lambda n: "compressed")
    attributor, on_disk = Attributor.load(bundle), method != "exact"
    assert all(isinstance(index.embeddings, StoredRows) is on_disk for index in attributor._index.values())
    assert not any(isinstance(index, CompressedIndex) for index in attributor._index.values())
    assert not any(Bundle.open(bundle).has(name) for name in FILES)
    ours, theirs = (one.attribute_query(5, 10) for one in (attributor, exact))
    for space in SPACES:
        assert named(ours[space]) == named(theirs[space]) and not ours[space].estimated
        assert ours[space].remainder == pytest.approx(theirs[space].remainder, rel=1e-4)
    assert attributor.true_ranks(5) == exact.true_ranks(5)
