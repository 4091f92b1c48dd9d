"""What the README, docs/ and the shipped files say is what was measured."""

import json
import re
from pathlib import Path

import pytest

from aad import SPACES
from aad.bundle import Bundle
from benchmarks import pages
from precompute import leave_out, measure_theory, search_heads
from precompute.common import pairs
from precompute.evaluate import evaluate, table
from precompute.pictures import folders

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")


def shown(page, command):
    """The table between the line that names its command and its end; what is behind the comment differs from page to page."""
    found = re.search(rf"<!-- {re.escape(command)} -->\n(.*?)\n<!-- end of (?:\w+ )?table -->", page, re.DOTALL)
    assert found, command
    return found[1]


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open()


def test_the_readme_tables_are_the_shipped_files(bundle):
    assert shown(README, "python -m precompute.evaluate --table") == table(bundle.read_json("metrics.json"))
    generalisation = leave_out.table(bundle.read_json("generalisation.json"), "test")
    assert shown(README, "python -m precompute.leave_out --table") == generalisation


def test_the_shipped_metrics_are_what_the_shipped_bundle_gives(bundle, shipped):
    again = evaluate(shipped, bundle.manifest["steps"]["train_heads"]["left_out"])
    again, stored = (_leaves(metrics) for metrics in (again, bundle.read_json("metrics.json")))
    assert again.keys() == stored.keys()
    for name, value in stored.items():
        assert again[name] == (pytest.approx(value, abs=2e-3) if isinstance(value, float) else value), name


def test_the_order_of_the_spaces_holds_where_the_readme_says_so(bundle):
    metrics = bundle.read_json("metrics.json")
    for kind in ("media", "scene", "painted"):
        for later, earlier in (("aligned", "backbone"), ("disentangled", "aligned")):
            for measure in ("recall@1", "mrr"):
                assert metrics["differences"][kind][f"{later} - {earlier}"][measure]["low"] > 0
    for space in SPACES:
        assert metrics["spaces"][space]["test"]["photo"]["recall"]["1"]["mean"] > 0.98
    style = metrics["differences"]["style"]["disentangled - backbone"]["mrr"]
    assert style["low"] < 0 < style["high"]


def test_the_order_holds_on_every_family_left_out_where_the_readme_says_so(bundle):
    rows = bundle.read_json("generalisation.json")["test"]
    for name in ("multistyle26, all", "media", "scene", "painted", "filters", "composite", "all families"):
        for step in ("aligned - backbone", "disentangled - aligned"):
            for measure in ("recall@1", "mrr"):
                assert rows[name]["differences"][step][measure]["low"] > 0, (name, step, measure)
    for name in ("photometric", "near_copy"):
        assert all(row["recall@1"]["mean"] > 0.98 for row in rows[name]["spaces"].values())
    assert rows["multistyle26, all"]["recall_ratio"] >= 1.8


def test_figures_in_the_readme_text_are_the_shipped_ones(bundle):
    metrics = bundle.read_json("metrics.json")
    queries = bundle.read_json("queries.json")
    assert f"{metrics['n_references']} exemplars and {len(queries):,} synthetic images" in README
    preserved, error = bundle.manifest["neighbour_preservation"], metrics["calibration_error"]
    assert f"keep {_three(f'{preserved[space]:.0%}'.replace('%', ' %') for space in SPACES)} of each" in README
    assert f"off by {_three(f'{error[space]:.2f}' for space in SPACES)} on" in README


def test_commands_in_the_readme_and_the_documents_exist():
    pages = [ROOT / "README.md", ROOT / "precompute" / "README.md", *(ROOT / "docs").glob("*.md")]
    said = set(
        re.findall(r"python -m ((?:precompute|benchmarks)\.[a-z_]+)", "".join(p.read_text("utf-8") for p in pages))
    )
    assert len(said) > 15
    for name in said:
        assert (ROOT / f"{name.replace('.', '/')}.py").exists(), name
    for name in ("requirements.txt", "requirements-dev.txt", "app.py", *re.findall(r"\]\((assets/[\w./]+)\)", README)):
        assert (ROOT / name).exists(), name


def _leaves(value, name=""):
    """Nested dictionaries as one flat one; last bits differ between processors, so a rank may swap here and there."""
    if not isinstance(value, dict):
        return {name: value}
    return {leaf: item for key, inner in value.items() for leaf, item in _leaves(inner, f"{name}/{key}").items()}


def _three(words):
    first, second, third = words
    return f"{first}, {second} and {third}"


def test_the_table_of_the_theory_page_is_the_bundles(bundle):
    page = (DOCS / "theory.md").read_text("utf-8")
    assert shown(page, "python -m precompute.measure_theory") == measure_theory.table(bundle.read_json("theory.json"))


def test_the_tables_of_real_generators_pictures_are_the_searchs_log():
    log = json.loads((DOCS / "real_generators.json").read_text("utf-8"))
    assert shown(README, "docs/real_generators.json") == pairs.markdown(log["spaces"])
    page = (DOCS / "real_generators.md").read_text("utf-8")
    assert shown(page, "docs/real_generators.json") == search_heads.table(log)


def test_the_readme_counts_real_generators_pictures_as_the_search_did():
    log = json.loads((DOCS / "real_generators.json").read_text("utf-8"))
    told = f"{log['n_queries']:,} outputs of {log['n_repositories']} public projects"
    for page in (README, (DOCS / "real_generators.md").read_text("utf-8")):
        words = " ".join(page.split())
        assert told in words and f"the {log['n_exemplars']} pictures" in words


def test_the_spaces_gain_on_real_generators_pictures_where_the_readme_says_so():
    log = json.loads((DOCS / "real_generators.json").read_text("utf-8"))
    gain = {step: {k: cells["hit@1"] for k, cells in kinds.items()} for step, kinds in log["differences"].items()}
    for step in ("aligned - backbone", "disentangled - aligned"):
        assert gain[step]["all"]["low"] > 0 and log["differences"][step]["all"]["MRR"]["low"] > 0
        assert all(cells["high"] > 0 for cells in gain[step].values()), "no kind loses beyond chance"
    whole = log["differences"]["disentangled - backbone"]
    assert whole["subject"]["hit@1"]["low"] > 0 and whole["edit"]["MRR"]["low"] > 0
    assert whole["style"]["MRR"]["low"] < 0 < whole["style"]["MRR"]["high"]
    closed = "whitening, shrinkage 0.2"
    for better, worse in (
        (closed, f"{closed}, rank 128"),
        (closed, f"{closed}, the rest dropped"),
        ("aligned", "aligned, 60 steps"),
    ):
        assert log["figures"][worse]["all"]["hit@1"] < log["figures"][better]["all"]["hit@1"]


def test_the_pictures_of_others_that_the_page_thanks_for_are_those_that_the_shipped_heads_saw(bundle):
    page = (DOCS / "real_generators.md").read_text("utf-8")
    assert shown(page, "python -m precompute.train_heads --table") == folders.table(folders.read_listing(bundle))


def test_the_tables_of_the_scaling_page_are_their_commands_figures():
    page = (DOCS / "scaling.md").read_text("utf-8")
    named = sorted(found[2] for found in pages.SHOWN.finditer(page))
    commands = "embedding page search search search"
    assert named == commands.split()
    assert pages.filled(page) == page


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
    assert f"{counts['stops']} servers told so at random moments" in page
    assert f"ended with 0 in {server['slowest stop in s']} s at most" in page
    assert f"memory {100 * (server['memory in MB']['growth'] - 1):.1f} % above" in page
    assert f"{precompute['kills']} kills, {precompute['kills_within_writes']} of them within a write" in page
    assert f"{precompute['interrupts']} times Ctrl-C, {precompute['full_disks']} full disks" in page
    assert f"{precompute['files_compared']:,} files compared" in page
    assert precompute["differing"] == precompute["debris"] == 0
    equivalent = sum(module["equivalent"] for module in mutants["modules"].values())
    assert f"of {mutants['tried']:,} mutants, all that there are but {equivalent} that change nothing" in page
    assert f"{mutants['killed']:,} were killed, {mutants['share killed']:.1%}" in page
