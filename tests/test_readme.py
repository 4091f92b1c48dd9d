"""What the README and the shipped files say is what was measured."""

import json
import re
from pathlib import Path

import pytest

from aad import SPACES, Attributor
from aad.bundle import DEFAULT_BUNDLE, Bundle
from precompute import leave_out
from precompute.evaluate import evaluate, table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open()


def test_the_readme_table_is_the_shipped_metrics(bundle):
    shown = re.search(
        r"<!-- python -m precompute\.evaluate --table -->\n(.*?)\n<!-- end of table -->", README, re.DOTALL
    )
    assert shown and shown[1] == table(bundle.read_json("metrics.json"))


def test_the_readme_generalisation_table_is_the_shipped_file(bundle):
    shown = re.search(
        r"<!-- python -m precompute\.leave_out --table -->\n(.*?)\n<!-- end of generalisation table -->",
        README,
        re.DOTALL,
    )
    assert shown and shown[1] == leave_out.table(bundle.read_json("generalisation.json"), "test")


def test_the_shipped_metrics_are_what_the_shipped_bundle_gives(bundle):
    again, shipped = (_leaves(metrics) for metrics in (again_of(bundle), bundle.read_json("metrics.json")))
    assert again.keys() == shipped.keys()
    for name, value in shipped.items():
        assert again[name] == (pytest.approx(value, abs=2e-3) if isinstance(value, float) else value), name


def test_the_order_of_the_spaces_holds_where_the_readme_says_so(bundle):
    metrics = bundle.read_json("metrics.json")
    for kind in ("media", "scene", "painted"):
        for later, earlier in (("aligned", "backbone"), ("disentangled", "aligned")):
            for measure in ("recall@1", "mrr"):
                assert metrics["differences"][kind][f"{later} - {earlier}"][measure]["low"] > 0
    for space in SPACES:
        assert metrics["spaces"][space]["test"]["photo"]["recall"]["1"]["mean"] > 0.98
    assert metrics["differences"]["style"]["disentangled - backbone"]["mrr"]["mean"] < 0


def test_the_order_holds_on_every_family_left_out_where_the_readme_says_so(bundle):
    rows = bundle.read_json("generalisation.json")["test"]
    for name in ("multistyle26, all", "media", "scene", "painted", "filters", "composite", "all families"):
        for step in ("aligned - backbone", "disentangled - aligned"):
            for measure in ("recall@1", "mrr"):
                low = rows[name]["differences"][step][measure]["low"]
                touches = (name, step, measure) == ("painted", "disentangled - aligned", "recall@1")
                assert low == 0 if touches else low > 0, (name, step, measure)
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


def test_the_shipped_bundle_is_small_and_ends_with_the_last_step(bundle):
    assert "evaluate" in bundle.manifest["steps"]
    tracked = [path for folder in ("assets", "aad", "precompute", "tests") for path in (ROOT / folder).rglob("*")]
    total = sum(
        path.stat().st_size for path in tracked if path.is_file() and not {".work", ".packages"} & set(path.parts)
    )
    assert total < 60e6
    assert json.loads((DEFAULT_BUNDLE / "manifest.json").read_text())["name"] == "abc_mini"


def again_of(bundle):
    return evaluate(Attributor(bundle), bundle.manifest["steps"]["train_heads"]["left_out"])


def _leaves(value, name=""):
    """Nested dictionaries as one flat one; last bits differ between processors, so a rank may swap here and there."""
    if not isinstance(value, dict):
        return {name: value}
    return {leaf: item for key, inner in value.items() for leaf, item in _leaves(inner, f"{name}/{key}").items()}


def _three(words):
    first, second, third = words
    return f"{first}, {second} and {third}"
