"""The tables in docs/ are the logs that their commands wrote."""

import json
import re
from pathlib import Path

import pytest

from aad.bundle import Bundle
from benchmarks import pages, plan
from precompute import measure_theory
from precompute.compare import table
from precompute.experiments.variations import VARIATIONS

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


def test_the_tables_of_the_scaling_page_are_their_commands_figures():
    page = (DOCS / "scaling.md").read_text("utf-8")
    shown = [found[2] for found in pages.SHOWN.finditer(page)]
    commands = {
        "retrieval",
        "scaling",
        "out_of_core",
        "embedding",
        "query_path",
        "visitors",
        "startup",
        "plan",
    }
    assert set(shown) == commands and shown.count("retrieval") == 2
    assert pages.filled(page) == page


def test_the_plan_for_a_billion_grows_with_what_it_is_for():
    size = {"n": 10**7, "p50_ms": 60.0, "index_gb": 1.0, "build_s": 900.0}
    embedding = [{"workers": 1, "images_per_s": 30.0}, {"workers": 2, "images_per_s": 55.0}]
    measured = {"rows": [size], "embedding": embedding, "dim": 768, "machine": {"cores": 2}}

    def hours(**options):
        words = plan.plan(measured, plan.Assumptions(**options))[1]["amount"]
        return int(words.removesuffix(" core-hours").replace(",", ""))

    assert hours() == pytest.approx(1e9 / 30 / 3600 / 0.9, rel=0.01)
    assert hours(images=10**8) == pytest.approx(hours() / 10, rel=0.01)
    with pytest.raises(ValueError, match=r"run python -m benchmarks\.scaling first"):
        plan.plan({**measured, "rows": []}, plan.Assumptions())


def test_the_figures_of_the_security_page_are_those_of_the_long_checks():
    page = " ".join((DOCS / "security.md").read_text("utf-8").split())
    images, server, precompute, mutants = (
        json.loads((DOCS / "figures" / f"endurance_{name}.json").read_text("utf-8"))
        for name in ("images", "server", "precompute", "mutants")
    )
    assert images["faults"] == server["faults"] == precompute["faults"] == []
    assert f"{images['tried']:,} inputs in {images['minutes']:g} minutes" in page
    assert f"{images['accepted']:,} answered, {images['refused']:,} refused" in page and images["fault"] == 0
    assert f"at most {images['highest memory']['megabytes']} MB above idle" in page
    counts = server["counts"]
    assert f"{server['clients']} clients for {server['minutes']:g} minutes" in page
    assert f"{counts['right answers']:,} right answers" in page
    assert f"{counts['hostile answered'] + counts['hostile refused in words']:,} hostile uploads" in page
    given_up = sum(counts[f"hostile: {kind}"] for kind in ("broken off", "slow", "left"))
    assert f"{given_up:,} broken off, slow or abandoned" in page
    assert f"memory {100 * (server['memory in MB']['growth'] - 1):.1f} % above" in page
    assert f"{precompute['kills']} kills, {precompute['kills_within_writes']} of them within a write" in page
    assert f"{precompute['interrupts']} times Ctrl-C, {precompute['full_disks']} full disks" in page
    assert f"{precompute['files_compared']:,} files compared" in page
    assert precompute["differing"] == precompute["debris"] == 0
    equivalent = sum(module["equivalent"] for module in mutants["modules"].values())
    assert f"of {mutants['tried']:,} mutants, all that there are but {equivalent} that change nothing" in page
    assert f"{mutants['killed']:,} were killed, {mutants['share killed']:.1%}" in page
