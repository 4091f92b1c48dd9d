"""What the benchmark consists of, and its files: pictures, AbC's JSON lists, credits, licence."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from aad.files import write_atomically

from .catalogue import SPLITS, Entry, Pictures, cut_tiles, seeded_rng
from .drawing import fit, lay_on_ground
from .recipes import GENERATORS, Plan, Recipe, draw_recipe

EXEMPLAR_SIZE, EXEMPLAR_QUALITY = 320, 78  # pixels on the longest side, WebP quality
QUERY_QUALITY = 76
N_STYLE_QUERIES = 12  # for each painter

# Pictures for the app's strip, of the test split and chosen for what they tell: three that each step places better, the first of
# them opens the page; one that is easy; one that each step places worse; and one whose source is in no list.
EXAMPLES = tuple(Path(__file__).with_name("examples.txt").read_text("utf-8").split())


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One reference picture: a row of the list, or one tile of a painting."""

    path: str  # relative to the assets folder
    title: str
    split: str
    case: str
    entry: Entry
    tile: int | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything that is decided before a picture is made."""

    exemplars: tuple[Exemplar, ...]
    plans: tuple[Plan, ...]
    recipes: Mapping[str, Recipe]  # by a plan's key
    entries: Mapping[str, Entry]  # by slug; backdrops and palettes included
    absent: Mapping[str, Entry]  # sources that are in no list, by a plan's key


def plan_benchmark(catalogue: Sequence[Entry], seed: int) -> Benchmark:
    """Decide cases, queries and recipes."""
    chosen = [entry for entry in catalogue if entry.role == "exemplar"]
    exemplars: list[Exemplar] = []
    for entry in chosen:
        split = entry.split
        stem = f"abc_mini/exemplar/{entry.source.partition(':')[0]}/{entry.slug}"
        if entry.kind == "painting":
            case = "painter-" + entry.concept.lower().replace(" ", "-").replace("ü", "ue")
            for tile in range(int(entry.tiles.split(":")[1])):
                name, title = f"{stem}-{tile + 1}.webp", f"{entry.title} (detail {tile + 1})"
                exemplars.append(Exemplar(name, title, split, case, entry, tile))
        else:
            exemplars.append(Exemplar(f"{stem}.webp", entry.title, split, entry.slug, entry))

    backdrops = sorted(entry.slug for entry in catalogue if entry.role == "backdrop")
    palettes = sorted(entry.slug for entry in catalogue if entry.role == "palette")
    plans = _plan_queries(exemplars)
    entries = {entry.slug: entry for entry in catalogue}
    parts = {key: key.split("/") for key in EXAMPLES if key.startswith("absent/")}
    absent = [Plan(key, kind, slug, "test") for key, (_, kind, slug, _) in parts.items() if slug in entries]
    plans += absent
    recipes = {plan.key: draw_recipe(plan, seed, backdrops, palettes) for plan in plans}
    return Benchmark(
        tuple(exemplars), tuple(plans), recipes, entries, {plan.key: entries[plan.subject] for plan in absent}
    )


def _plan_queries(exemplars: Sequence[Exemplar]) -> list[Plan]:
    plans: list[Plan] = []
    painters: dict[str, list[Exemplar]] = {}
    for exemplar in exemplars:
        if exemplar.entry.kind == "painting":
            painters.setdefault(exemplar.case, []).append(exemplar)
            continue
        types = ["media", "photo"] if exemplar.split == "train" else ["media", "media", "photo"]
        if exemplar.entry.kind == "cutout":
            types.append("scene")
        if exemplar.split != "train":  # no query of the train split comes from this generator
            types.append("painted")
        for number, query_type in enumerate(types):
            key = f"synth/{query_type}/{exemplar.case}/{types[:number].count(query_type):02d}"
            plans.append(Plan(key, query_type, exemplar.entry.slug, exemplar.split))
    for case, pieces in painters.items():
        if pieces[0].split == "train":
            continue
        works = list(dict.fromkeys(piece.entry.slug for piece in pieces))
        for number in range(N_STYLE_QUERIES):
            key = f"synth/style/{case}/{number:02d}"
            plans.append(Plan(key, "style", works[number % len(works)], pieces[0].split))
    return sorted(plans, key=lambda plan: plan.key)


def make_exemplar(entry: Entry, pictures: Pictures, seed: int, size: int, tile: int | None = None) -> Image.Image:
    """Draw the picture of a row, or a tile of it: cut-outs on a plain ground, the rest fitted into `size` pixels."""
    picture = pictures.image(entry)
    if entry.kind == "cutout":
        return lay_on_ground(picture, seeded_rng(seed, f"ground/{entry.slug}"), size)
    return fit(picture if tile is None else cut_tiles(picture, entry.tiles)[tile], size)


def save_webp(picture: Image.Image, path: Path, quality: int) -> None:
    """Write a WebP under a temporary name, then rename it, so that a broken-off build leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".tmp")
    picture.convert("RGB").save(part, "WEBP", quality=quality, method=6)
    part.replace(path)


def write_json(benchmark: Benchmark, root: Path, skipped: Mapping[str, str]) -> None:
    """Write AbC's lists by split, the credits, the recipes, what was skipped and why, and the licence text."""
    cases: dict[str, list[Exemplar]] = {}
    for exemplar in benchmark.exemplars:
        cases.setdefault(exemplar.case, []).append(exemplar)
    made: dict[str, dict[str, list[str]]] = {case: {} for case in cases}
    queries: list[dict[str, Any]] = []
    for plan in benchmark.plans:
        if plan.key in skipped or plan.key in benchmark.absent:
            continue
        case, path = plan.key.split("/")[2], f"abc_mini/{plan.key}.webp"
        made[case].setdefault(plan.type, []).append(path)
        recipe = dict(benchmark.recipes[plan.key])
        for role in ("subject", "backdrop", "palette"):
            if role in recipe:
                recipe[role] = {"name": recipe[role], "title": benchmark.entries[recipe[role]].title}
        queries.append(
            {
                "path": path,
                "type": plan.type,
                "generator": GENERATORS[plan.type],
                "split": plan.split,
                "concept": cases[case][0].entry.concept,
                "exemplars": sorted(exemplar.path for exemplar in cases[case]),
                "recipe": recipe,
            }
        )
    (root / "json").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        entries = [
            {
                "exemplar": sorted(exemplar.path for exemplar in members),
                "synth": made[case],
                "category": members[0].entry.concept,
                "class_id": case,
            }
            for case, members in sorted(cases.items())
            if members[0].split == split
        ]
        _write(root / "json" / f"{split}.json", entries)
    credits = [
        {
            "path": exemplar.path,
            "title": exemplar.title,
            "source": exemplar.entry.package,
            "file": exemplar.entry.source,
            **{key: getattr(exemplar.entry, key) for key in ("licence", "author", "url")},
            "concept": exemplar.entry.concept,
            "group": exemplar.entry.group,
            "split": exemplar.split,
            "kind": exemplar.entry.kind,
        }
        for exemplar in benchmark.exemplars
    ]
    _write(root / "exemplars.json", sorted(credits, key=lambda row: row["path"]))
    _write(root / "queries.json", sorted(queries, key=lambda row: row["path"]))
    planned = {plan.key for plan in benchmark.plans}
    _write(root / "examples.json", [f"abc_mini/{key}.webp" for key in EXAMPLES if key in planned - skipped.keys()])
    _write(root / "skipped.json", dict(sorted(skipped.items())))
    (root / "LICENCE.md").write_text(_licence_text(benchmark), encoding="utf-8")


def _licence_text(benchmark: Benchmark) -> str:
    exemplars = benchmark.exemplars
    absent = "".join(
        f"\n`{key}.webp` is made in the same way from a picture that is not in the folder,\n"
        f'"{entry.title}" by {entry.author or "an author not named"}, {entry.licence}.\n'
        for key, entry in benchmark.absent.items()
    )
    counts = Counter(exemplar.entry.licence for exemplar in exemplars)
    packages = sorted({exemplar.entry.package for exemplar in exemplars})
    rows = "\n".join(f"| {licence} | {count} |" for licence, count in sorted(counts.items()))
    text = Path(__file__).with_name("licence.md").read_text("utf-8").removesuffix("\n")
    return text.format(packages=" and ".join(packages), rows=rows, absent=absent)


def _write(path: Path, value: list[dict[str, Any]] | list[str] | dict[str, str]) -> None:
    """One record a line: small, and readable in a diff."""
    if isinstance(value, list):
        text = "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in value) + "\n]\n"
    else:
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())
