"""What "Why it works" is told: the bundle's own figures, and sentences that claim no more than they do."""

import copy
import json

import pytest

from aad import SPACES
from interface import why


@pytest.fixture(scope="module")
def theory(shipped):
    return why.table(shipped.bundle, "theory.json")


@pytest.fixture(scope="module")
def generalisation(shipped):
    return why.table(shipped.bundle, "generalisation.json")


def said(theory, name):
    return " ".join(why.theory_of(theory)["sentences"][name])


def test_the_page_is_told_two_sentences_beside_each_chart_of_what_was_measured_and_what_they_amount_to(shipped):
    value = why.value(shipped)
    assert len(json.dumps(value)) < 25_000, "it travels with the page"
    sentences = value["theory"]["sentences"]
    assert value["theory"]["supports"] == {
        "canonical": "does not support it",
        "spectrum": "supports it",
        "closeness": "does not support it",
    }
    assert set(sentences) == set(value["theory"]["supports"])
    assert all(len(two) == 2 for two in [*sentences.values(), value["families"]["sentences"]])


def test_sentences_follow_from_the_shipped_figures_which_are_not_said_to_come_nearer_to_the_oracle(theory):
    rising = nearest = n = 0
    for shrinkage, way in (("0.01", "subspace"), ("0.01", "cka"), ("0.1", "subspace"), ("0.1", "cka")):
        first, second, third = (theory["spaces"][space]["closeness"][shrinkage][way] for space in SPACES)
        rising, nearest, n = rising + (first < second < third), nearest + (first >= max(second, third)), n + 1
    words = said(theory, "closeness")
    assert f"In {rising} of {n} ways" in words
    assert f"in {nearest} the backbone is the nearest" in words
    assert "does not rise from space to space" in said(theory, "canonical")
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


def test_families_are_the_rows_of_the_measured_split_without_repeats(generalisation):
    assert why.families_of({"validation": generalisation["validation"]}) is None
    rows = why.families_of(generalisation)["rows"]
    stored = generalisation["test"]
    assert stored["arbitrary_style, all"]["spaces"] == stored["painted"]["spaces"], "why it is left out"
    (pool,) = [row for row in rows if row["is_sum"]]
    kinds = [row for row in rows if not row["is_sum"] and not row["id"].endswith(", all")]
    assert pool["n"] == sum(row["n"] for row in kinds if row["id"] != "style")
    assert "In the same style" in pool["left_out"]


def test_kinds_with_the_order_are_named(generalisation):
    finding = why.families_of(generalisation)["sentences"][-1]
    assert "5 of 8 kinds" in finding and "Painterly filters" in finding and "In the same style" not in finding
    worse = copy.deepcopy(generalisation)
    worse["test"]["filters"]["spaces"]["disentangled"]["recall@1"]["mean"] = 0.1
    finding = why.families_of(worse)["sentences"][-1]
    assert "4 of 8 kinds" in finding and "Painterly filters" not in finding
