"""The verdict: what is judged, by which quantities, and that what is said of its reliability is what was measured."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aad import Attributor, BundleError, Space
from aad.bundle import Bundle
from aad.method import Views
from aad.vectors import l2_normalise
from aad.verdict import FOUND, POSSIBLE, TERMS, Judge, evidence
from precompute import fit_verdict
from precompute.common.steps import write_step
from precompute.fit_verdict import MASS, Case, asked_of_galleries, fit, measure, table
from tests.factory import tiny_bundle

ROOT = Path(__file__).resolve().parent.parent
ON_LEAD = {"weights": {name: 40.0 * (name == "lead_disentangled") for name in TERMS}, "bias": -2.0}


def judged(folder: Path, **section) -> Attributor:
    bundle = tiny_bundle(folder)
    write_step(bundle, "fit_verdict", {}, command="test", sections={"verdict": ON_LEAD | section})
    return Attributor.load(bundle)


def test_terms_are_the_best_of_the_first_ones_kind_and_its_lead_on_the_best_of_all_others():
    ids = {Space.BACKBONE: [3, 1, 2], Space.ALIGNED: [2, 1, 3], Space.DISENTANGLED: [1, 2, 3]}
    alike = {Space.BACKBONE: [0.9, 0.6, 0.5], Space.ALIGNED: [0.8, 0.7, 0.1], Space.DISENTANGLED: [0.5, 0.4, 0.2]}
    terms = evidence(
        {space: np.array(of) for space, of in ids.items()},
        {space: np.array(of) for space, of in alike.items()},
        [1, 2],  # are one, 3 is another
    )
    assert dict(zip(TERMS, terms.round(6), strict=True)) == {
        "similarity_backbone": 0.6, "similarity_aligned": 0.8, "similarity_disentangled": 0.5,
        "lead_backbone": -0.3, "lead_aligned": 0.7, "lead_disentangled": 0.3, "agreement": 1,
    }  # fmt: skip


def test_a_bundle_with_a_judge_says_one_of_three_things_and_one_without_says_nothing(tmp_path):
    attributor = judged(tmp_path / "one")
    for query_id in range(6):
        result = attributor.attribute_query(query_id, 1)
        verdict, first = result.verdict, result["disentangled"].matches[0]
        rivals = attributor.attribute_query(query_id, 2)["disentangled"].matches
        logit = 40 * (rivals[0].similarity - rivals[1].similarity) - 2
        assert verdict.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
        assert verdict.level == (
            "found" if verdict.probability >= FOUND else "possible" if verdict.probability >= POSSIBLE else "none"
        )
        assert verdict.reference_id == (None if verdict.level == "none" else first.reference_id)
        told = result.to_dict()["verdict"]
        assert told["level"] == verdict.level and json.loads(json.dumps(told)) == told
    assert {attributor.attribute_query(query_id).verdict.level for query_id in range(6)} >= {"found"}
    silent = Attributor.load(tiny_bundle(tmp_path / "two"))
    assert silent.attribute_query(0).verdict is None and "verdict" not in silent.attribute_query(0).to_dict()
    assert attributor.attribute_reference(0).verdict is None


def test_a_verdict_is_the_same_however_many_matches_are_asked_for_and_a_copy_is_found_whatever_the_numbers_say():
    shipped = Attributor.load()
    for query_id in shipped.examples:
        assert len({shipped.attribute_query(query_id, k).verdict for k in (1, 20, 100)}) == 1
    shipped.judge = Judge(dict.fromkeys(TERMS, 0.0), -9.0)
    otter = next(reference for reference in shipped.references if reference.title == "Otter")
    verdict = shipped.attribute(otter.path).verdict
    assert (verdict.level, verdict.reference_id, verdict.probability) == ("found", otter.reference_id, 1.0)
    assert "near-copy" in verdict.reasons
    other = next(query for query in shipped.queries if query.type == "media")
    assert shipped.attribute_query(other.query_id).verdict.level == "none"


def test_two_pictures_of_one_concept_are_no_rivals(tmp_path):
    attributor = judged(tmp_path, weights={name: 2.0 * (name == "lead_disentangled") for name in TERMS})
    rivals = attributor.attribute_query(0, 3)["disentangled"].matches
    ahead = attributor.attribute_query(0).verdict.probability
    names = {rivals[0].reference_id: "one", rivals[1].reference_id: "one"}
    attributor.references.words("concept")[:] = [names.get(i, "") for i in range(len(attributor.references))]
    logit = 2 * (rivals[0].similarity - rivals[2].similarity) - 2
    assert attributor.attribute_query(0).verdict.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    assert attributor.attribute_query(0).verdict.probability > ahead


def test_a_judge_of_another_form_is_refused(tmp_path):
    for number, wrong in enumerate(({"bias": "high"}, {"weights": {"agreement": 1.0}}, {"scale": 1.0})):
        with pytest.raises(BundleError, match="verdict"):
            judged(tmp_path / str(number), **wrong)


def case(what: str, present: bool, right: bool, lead: float, group: str = "a", named: bool = True) -> Case:
    terms = np.array([*np.linspace(0.1, 0.2, 6) + lead, 1])
    return Case(0, what, group, 50, named, present, right, terms)


def test_the_fit_tells_leads_apart_and_its_figures_are_shares_of_what_they_say():
    rng = np.random.default_rng(0)
    cases = [
        case(what, present, present, lead) for what, present in MASS for lead in rng.normal(0.3 * present, 0.05, 40)
    ]
    cases += [replace(one, named=False) for one in cases]
    cases += [case("made", True, False, lead, "b") for lead in rng.normal(0, 0.05, 10)]
    judge = fit(cases)
    probabilities = np.array([judge.probability(one.terms) for one in cases])
    right = np.array([one.right for one in cases])
    assert probabilities[right].min() > FOUND > probabilities[~right].max()
    measured = measure(cases, probabilities)
    assert {measured["figures"]["made"][key]["mean"] for key in ("found", "right", "precision")} == {1}
    assert measured["figures"]["photograph"] == {"false": {"mean": 0, "low": 0, "high": 0}}
    wrong = np.where(np.arange(len(cases)) == len(cases) - 1, 1.0, probabilities)  # a wrong answer called found
    assert measure(cases, wrong)["figures"]["made"]["right"]["mean"] == pytest.approx(40 / 41, abs=1e-3)
    blind = measure(cases, np.ones(len(cases)))
    assert blind["figures"]["made"]["precision"]["mean"] == pytest.approx(40 / 90, abs=1e-3)
    for form, error in measured["calibration_error"].items():
        assert blind["calibration_error"][form] > 0.4 > 0.1 > error
    assert "outputs of real generators" in table(measured)


def test_galleries_lose_a_querys_source_with_its_folder_and_its_copies(bundle, monkeypatch):
    """Twelve exemplars in six folders, the last of which holds copies of the first's; a query is a source seen through noise."""
    rng = np.random.default_rng(0)
    stored = np.load(bundle / "references_backbone.npy").astype(np.float32)
    dim = stored.shape[1]
    real = l2_normalise(rng.normal(size=(12, dim))).astype(np.float32)
    real[10:] = real[:2]
    made = l2_normalise(real + 0.05 * rng.normal(size=real.shape)).astype(np.float32)
    strangers = l2_normalise(rng.normal(size=(4, dim))).astype(np.float32)
    asked = SimpleNamespace(
        queries=[SimpleNamespace(repository=f"project {i}") for i in range(12)],
        exemplars=[Path(f"{i // 2}/{i}.webp") for i in range(12)],
        bundle=Bundle.open(bundle),
        made=made,
        strangers=4,
        reference_ids=list(range(10)),
        shown=lambda _: np.arange(12),
        of=lambda _: (np.arange(12), np.concatenate([real, strangers, stored]), [[i] for i in range(12)]),
        views=lambda _: Views(*(np.repeat(rows[:, None], 2, 1) for rows in (real, made))),
    )
    monkeypatch.setattr(fit_verdict, "SIZES", (5, 20))
    cases = list(asked_of_galleries(asked, 0))
    known = [one for one in cases if one.what == "made"]
    assert len(known) == 12 * 2 * 2 * 2 and all(one.right == one.present for one in known)
    backbone = TERMS.index("similarity_backbone")
    assert (
        min(one.terms[backbone] for one in known if one.present)
        > 0.4
        > max(one.terms[backbone] for one in known if not one.present)
    )
    photographs = [one for one in cases if one.what == "photograph"]
    assert sorted({(one.fold, one.group) for one in photographs}) == [(i, str(i)) for i in range(4)]
    assert len(photographs) == 4 * 2 * 2 and max(one.terms[backbone] for one in photographs) < 0.4


@pytest.fixture(scope="module")
def measured():
    return json.loads((ROOT / "docs" / "verdict.json").read_text("utf-8"))


def test_the_readmes_table_of_the_verdict_is_what_was_measured_and_its_targets_hold(measured):
    assert table(measured) in (ROOT / "README.md").read_text("utf-8")
    for name, of in measured["figures"].items():
        assert of["false"]["mean"] < 0.05, name
        if not name.startswith("photograph"):
            assert of["right"]["low"] > 0.9 and of["precision"]["mean"] > 0.9 and of["found"]["mean"] >= 0.5, name
    assert max(measured["calibration_error"].values()) < 0.05


def test_the_shipped_bundle_has_the_judge_that_was_measured(measured):
    step = Bundle.open().manifest["steps"]["fit_verdict"]
    assert (step["command"], step["n_cases"]) == (measured["command"], measured["n_cases"])
