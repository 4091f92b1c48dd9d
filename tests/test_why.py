"""What "Why it works" is told: the bundle's own figures, and sentences that claim no more than they do."""

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from aad import SPACES, Attributor
from aad.bundle import Bundle
from interface import why

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open()


@pytest.fixture(scope="module")
def theory(bundle):
    return bundle.read_json("theory.json")


@pytest.fixture(scope="module")
def generalisation(bundle):
    return bundle.read_json("generalisation.json")


def said(theory, name):
    return " ".join(why.theory_of(theory)["sentences"][name])


def test_the_attributor_of_the_shipped_bundle_hands_on_what_was_measured(theory, generalisation):
    attributor = Attributor.load()
    assert attributor.theory == theory and attributor.generalisation == generalisation
    value = why.value(attributor)
    assert value["theory"] and value["families"]
    assert len(json.dumps(value)) < 25_000, "it travels with the page"


def test_a_bundle_without_the_measurements_gets_the_commands_that_make_them():
    value = why.value(SimpleNamespace(spaces=SPACES))
    assert value["theory"] is None and value["families"] is None
    assert value == why.value(SimpleNamespace(spaces=SPACES, theory=None, generalisation=None))
    for command in value["commands"].values():
        step = re.fullmatch(r"python -m precompute\.(\w+) --bundle FOLDER", command)
        assert step and (ROOT / "precompute" / f"{step[1]}.py").exists()


def test_columns_are_those_of_the_bundle(theory):
    told = why.theory_of(theory)
    assert [column["id"] for column in told["columns"]] == [*SPACES, "oracle"]
    for column in told["columns"]:
        stored = theory["oracle"] if column["id"] == "oracle" else theory["spaces"][column["id"]]
        assert {key: column[key] for key in why.COLUMN} == {key: stored[key] for key in why.COLUMN}


def test_two_sentences_stand_beside_each_chart_and_what_they_amount_to(theory, generalisation):
    sentences = why.theory_of(theory)["sentences"]
    assert set(sentences) == {"canonical", "spectrum", "closeness"}
    assert why.theory_of(theory)["supports"] == {
        "canonical": "does not support it",
        "spectrum": "supports it",
        "closeness": "supports it in part",
    }
    assert all(len(two) == 2 for two in [*sentences.values(), why.families_of(generalisation)["sentences"]])


def test_the_shipped_figures_are_not_said_to_come_nearer_to_the_oracle(theory):
    rising = nearest = n = 0
    for shrinkage, way in (("0.01", "subspace"), ("0.01", "cka"), ("0.1", "subspace"), ("0.1", "cka")):
        first, second, third = (theory["spaces"][space]["closeness"][shrinkage][way] for space in SPACES)
        rising, nearest, n = rising + (first < second < third), nearest + (first >= max(second, third)), n + 1
    words = said(theory, "closeness")
    assert f"In {rising} of {n} ways" in words
    assert f"in {nearest} the backbone is the nearest" in words
    assert "does not rise from space to space" in said(theory, "canonical")


def test_every_number_in_the_sentences_follows_from_the_figures(theory):
    spaces = [theory["spaces"][space] for space in SPACES]
    means = [sum(one["canonical_correlations"]) / 32 for one in spaces]
    assert "{:.2f}, {:.2f} and {:.2f}".format(*means) in said(theory, "canonical")
    wide = [len([v for v in one["spectrum"] if v >= max(one["spectrum"]) / 2]) for one in spaces]
    assert "{}, {} and {}".format(*wide) in said(theory, "spectrum")


def test_other_figures_are_told_otherwise(theory):
    other = copy.deepcopy(theory)
    for place, space in enumerate(SPACES):
        one = other["spaces"][space]
        one["canonical_correlations"] = [0.3 + 0.1 * place] * 32
        one["closeness"] = {s: dict.fromkeys(ways, 0.3 + 0.1 * place) for s, ways in one["closeness"].items()}
        one["spectrum"] = [1.0] + [0.6] * (3 - place) + [0.1] * 20
    assert "In 4 of 4 ways" in said(other, "closeness")
    assert "it rises from space to space" in said(other, "canonical")
    assert "not every step makes it flatter" in said(other, "spectrum")


def test_families_are_the_rows_of_the_bundle_without_repeats(generalisation):
    rows = why.families_of(generalisation)["rows"]
    stored = generalisation["test"]
    assert [row["id"] for row in rows] == [name for name in stored if name != "arbitrary_style, all"]
    assert stored["arbitrary_style, all"]["spaces"] == stored["painted"]["spaces"], "why it is left out"
    for row in rows:
        for space in SPACES:
            interval = stored[row["id"]]["spaces"][space]["recall@1"]
            assert row["spaces"][space] == [interval["mean"], interval["low"], interval["high"]]
        assert row["n"] == stored[row["id"]]["n_queries"]
    (pool,) = [row for row in rows if row["is_sum"]]
    kinds = [row for row in rows if not row["is_sum"] and not row["id"].endswith(", all")]
    assert (
        pool["n"] == sum(row["n"] for row in kinds if row["id"] != "style") and "In the same style" in pool["left_out"]
    )


def test_kinds_with_the_order_are_named(generalisation):
    finding = why.families_of(generalisation)["sentences"][-1]
    assert "5 of 8 kinds" in finding and "Painterly filters" in finding and "In the same style" not in finding
    worse = copy.deepcopy(generalisation)
    worse["test"]["filters"]["spaces"]["disentangled"]["recall@1"]["mean"] = 0.1
    finding = why.families_of(worse)["sentences"][-1]
    assert "4 of 8 kinds" in finding and "Painterly filters" not in finding


def test_a_split_that_was_not_measured_has_no_rows(generalisation):
    assert why.families_of({"validation": generalisation["validation"]}) is None
