"""What cards and terminal are told of a release, as tables; all of it is read from the bundle, nothing is typed by hand."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aad.bundle import Bundle, BundleError
from aad.spaces import SPACES
from precompute.publishing.release import File, size

ROOT = Path(__file__).resolve().parent.parent.parent
MEASURES = (
    ("metrics.json", "evaluate", "On the bundled queries of the test split, per kind of query"),
    ("generalisation.json", "leave_out", "With each family of synthetic images left out of training in turn"),
)


def files_table(files: Mapping[str, File]) -> str:
    """Files with their sizes for the terminal; pictures are summed up."""
    sums: dict[str, list[int]] = {}
    for name, file in files.items():
        parts = name.split("/")
        depth = 2 if parts[0] in ("references", "queries") else 1
        key = "/".join(parts[:depth]) + "/" if len(parts) > depth else name
        sums.setdefault(key, []).append(size(file))
    rows = [(key, len(sizes), sum(sizes)) for key, sizes in sums.items()]
    rows.append(("in all", len(files), sum(total for _, _, total in rows)))
    return "\n".join(f"  {key:<28}{n:>8,} files{total:>17,} bytes" for key, n, total in rows)


def measured(bundle: Bundle) -> str:
    """Every figure the bundle has of itself, or words that say it has none."""
    parts = [
        f"{heading} (`{name}`):\n\n{_step_table(step, bundle.folder)}"
        for name, step, heading in MEASURES
        if bundle.has(name)
    ]
    if not parts:
        return "Nothing was measured with this bundle: its queries have no known source, or `evaluate` was not run."
    error = bundle.read_json("metrics.json").get("calibration_error") if bundle.has("metrics.json") else None
    if error:
        told = ", ".join(f"{space} {error[space]:.2f}" for space in SPACES)
        parts.append(f"Expected calibration error of the weights: {told}.")
    kept = bundle.manifest.get("neighbour_preservation")
    if kept:
        told = ", ".join(f"{space} {kept[space]:.0%}" for space in SPACES)
        parts.append(f"Share of each reference's ten nearest neighbours that the maps keep: {told}.")
    parts.append(
        "R@k: share of a query's exemplars among the first k. MRR: mean reciprocal rank of the first one found."
    )
    return "\n\n".join(parts)


def _step_table(step: str, folder: Path) -> str:
    """The table as the step itself prints it: steps meet only through files and commands."""
    command = [sys.executable, "-m", f"precompute.{step}", "--bundle", str(folder.resolve()), "--table"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise BundleError(f"precompute.{step} --table failed for {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def training(step: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of the heads' training, in the order of a table; what it does not say is empty."""
    told: dict[str, Any] = {}
    for domain in ("real", "synthetic"):
        views = step.get(domain, {})
        told[f"{domain} images"] = step.get(f"n_{domain}", views.get("n", ""))
        told[f"views of each, {domain}"] = views.get("n_views", "")
    told["generators left out"] = ", ".join(step.get("left_out", []))
    told["taken from the bundle"] = step.get("heads_from", "")
    told["seed"] = step.get("seed", "")
    told["command"] = f"`{step['command']}`" if step.get("command") else ""
    told["versions"] = ", ".join(f"{name} {version}" for name, version in step.get("versions", {}).items())
    return told


def table(rows: Mapping[str, Any]) -> str:
    """A Markdown table of two columns; empty values are left out."""
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value != ""]
    return "\n".join(["| | |", "|---|---|", *lines])


def counted(values: Iterable[str]) -> str:
    """How often each value comes, the most frequent first."""
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return table(dict(counts)) if counts else "None."


def split_table(tables: Mapping[str, Mapping[str, int]]) -> str:
    """Rows of each table per split, and in all."""
    order = list(dict.fromkeys(split for counts in tables.values() for split in counts))
    lines = [f"| | {' | '.join(order)} | all |", f"|{'---|' * (len(order) + 2)}"]
    for name, counts in tables.items():
        lines.append(
            f"| {name} | {' | '.join(str(counts.get(split, 0)) for split in order)} | {sum(counts.values())} |"
        )
    return "\n".join(lines)
