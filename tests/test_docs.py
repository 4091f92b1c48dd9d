"""The tables in docs/ are the logs that their commands wrote."""

import json
import re
from pathlib import Path

import pytest

from aad.artifacts import Bundle
from precompute import measure_theory
from precompute.common.variations import VARIATIONS
from precompute.compare import table

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize("name", ["baselines", "ablation", "finetuned", "untuned"])
def test_a_table_of_the_ablation_page_is_its_log(name):
    log = json.loads((DOCS / f"{name}.json").read_text("utf-8"))
    page = (DOCS / "ablation.md").read_text("utf-8")
    shown = re.search(rf"<!-- docs/{name}\.json -->\n(.*?)\n<!-- end of table -->", page, re.DOTALL)
    assert shown and shown[1] == table(log)


def test_the_table_of_the_theory_page_is_the_bundles():
    page = (DOCS / "theory.md").read_text("utf-8")
    shown = re.search(r"<!-- python -m precompute\.measure_theory -->\n(.*?)\n<!-- end of table -->", page, re.DOTALL)
    assert shown and shown[1] == measure_theory.table(Bundle.open().read_json("theory.json"))


def test_every_line_is_one_that_the_command_still_makes():
    known = {name for group in VARIATIONS.values() for name in group}
    for name in ("baselines", "ablation", "finetuned", "untuned"):
        assert set(json.loads((DOCS / f"{name}.json").read_text("utf-8"))["rows"]) <= known


def test_disentangled_beats_the_supervised_recipe_by_a_fifth_on_concepts_and_generators_neither_has_seen():
    rows = json.loads((DOCS / "baselines.json").read_text("utf-8"))["rows"]

    def mrr(name):
        cells = rows[name]["families"].values()
        return sum(c["mrr"]["mean"] * c["n_queries"] for c in cells) / sum(c["n_queries"] for c in cells)

    best = max(mrr(name) for name in rows if name.startswith("supervised"))
    assert mrr("disentangled (shipped)") >= 1.2 * best
