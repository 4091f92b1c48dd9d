"""Pictures whose sources are known: figures against a plain loop, what stands in the gallery, what is refused, and the failures."""

import json
import math
import re
import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad import SPACES, Domain, Space
from aad.bundle import Bundle, read_heads
from aad.images import load_image
from aad.method import Head
from precompute import evaluate_pairs
from precompute.common.cli import run_step
from precompute.common.figures import shown
from precompute.common.pairs import best_ranks
from precompute.common.steps import write_step
from precompute.pictures import drawing
from tests.small import SPEC, SPLITS, FakeEncoder, folder_of, picture

MEASURES = {
    "hit@1": lambda rank: float(rank == 1),
    "hit@5": lambda rank: float(rank <= 5),
    "MRR": lambda rank: 1 / rank,
}
#: Kind, folder below synth/KIND/ ("" for none), sources, and what is left of them. The rare kind is missing from many draws.
OUTPUTS = [
    *(("edit", "lab-a", (i % 4,), 0.30) for i in range(5)),
    *(("edit", "lab-b", (i, i + 1), 0.25) for i in range(4)),
    *(("style", "lab-c", (4 + i % 3,), 0.15) for i in range(6)),
    *(("subject", "", (7, 8), 0.2), ("subject", "", (9,), 0.2), ("subject", "lab-a", (9,), 0.1)),
    *(("rare", "lab-b", (3,), 0.2), ("rare", "lab-b", (2,), 0.1)),
]
KINDS, ALL = ("edit", "rare", "style", "subject"), "all"
GROUPS = ("boat", "boat", "cat", "cat", "dog", "dog", "eel", "fox", "fox", "gnu")


def pairs_folder(root: Path) -> Path:
    """AbC's layout; every other path starts with the folder's own name. An exemplar is left without outputs."""
    folder = root / "real"
    sources = [f"exemplar/{group}/{i:02}.png" for i, group in enumerate((*GROUPS, "hen"))]
    cases = [{"exemplar": [sources[-1]], "synth": {}, "category": None, "class_id": "hen"}]
    for i, (kind, lab, rows, left) in enumerate(OUTPUTS):
        name = "/".join(filter(None, ("synth", kind, lab, f"{i:03}.png")))
        for path, image in (
            (name, Image.blend(picture(100 + i), picture(200 + rows[0]), left)),
            *((sources[row], picture(200 + row)) for row in (*rows, 10)),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(folder / path)
        start = "real/" if i % 2 else ""
        synth = {kind: [start + name]}
        cases.append({"exemplar": [sources[row] for row in rows], "synth": synth, "category": None, "class_id": str(i)})
    (folder / "json").mkdir()
    for name, some in (("one", cases[:9]), ("two", cases[9:])):
        (folder / "json" / f"{name}.json").write_text(json.dumps(some))
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> FakeEncoder:
    return FakeEncoder(tmp_path_factory.mktemp("log") / "embedded")


@pytest.fixture(scope="module")
def made(tmp_path_factory, backbone) -> Path:
    """A folder of pairs, one of other pictures, and a bundle with two heads that differ."""
    root = tmp_path_factory.mktemp("pairs")
    pairs_folder(root), folder_of(root / "others", 6, first=300), folder_of(root / "pictures", len(SPLITS))
    about = {"title": "T", "source": "test", "licence": "CC0"}
    names = sorted(str(path.relative_to(root / "pictures")) for path in (root / "pictures").rglob("*.png"))
    tables = [{"path": name, "split": split, **about} for name, split in zip(names, SPLITS, strict=True)]
    rows = backbone.embed([load_image(root / "pictures" / name) for name in names])
    files = {"references.json": tables, "queries.json": [], "references_backbone.npy": rows.astype(np.float16)}
    sections = {"name": "pairs", "images": "../pictures", "backbone": asdict(SPEC)}
    write_step(root / "bundle", "extract_features", files, command="test", sections=sections)
    generator, files = np.random.default_rng(0), {"heads.safetensors": {}}
    for space in SPACES[1:]:
        weight = generator.normal(size=(SPEC.dim, SPEC.dim)).astype(np.float32)
        head = Head({d: (rows.mean(0) * generator.uniform(0.8, 1)) for d in Domain}, dict.fromkeys(Domain, weight))
        files["heads.safetensors"] |= head.to_tensors(space)
        files[f"references_{space}.npy"] = head.embed(rows, Domain.REAL).astype(np.float16)
    write_step(root / "bundle", "train_heads", files, command="test")
    return root


@pytest.fixture
def run(made, backbone, monkeypatch, capsys):
    """Run the command with the invented backbone; its figures and what it prints."""
    monkeypatch.setattr(drawing, "load_backbone", lambda *_: backbone)

    def run(*options: object, folder: Path = made / "real") -> tuple[dict, str]:
        out = made / "figures.json"
        own = ("--bundle", made / "bundle", "--out", out)
        run_step(evaluate_pairs.main, [str(option) for option in (folder, *own, *options)])
        return json.loads(out.read_text()), capsys.readouterr().out

    return run


def ranks_by_loop(made: Path, backbone: FakeEncoder, rows: list[int], others: list[Path]) -> dict[Space, list[int]]:
    """One query after another, one picture after another."""
    bundle = Bundle.open(made / "bundle")
    sources = sorted((made / "real" / "exemplar").rglob("*.png"), key=lambda path: path.name)
    outputs = sorted((made / "real" / "synth").rglob("*.png"), key=lambda path: path.name)
    real, synthetic = (
        [backbone.embed([load_image(path)]) for path in paths] for paths in ([*sources, *others], outputs)
    )
    ranks: dict[Space, list[int]] = {}
    for space, head in read_heads(bundle).items():
        stored = np.load(bundle.folder / f"references_{space}.npy").astype(np.float32)
        gallery = [head.embed(row, "real")[0] for row in real]
        gallery += [stored[row] / np.linalg.norm(stored[row]) for row in rows]
        ranks[space] = []
        for (_, _, true, _), row in zip(OUTPUTS, synthetic, strict=True):
            query = head.embed(row, "synthetic")[0]
            cosines = [float(query @ one) for one in gallery]
            best = max(cosines[i] for i in true)
            ranks[space].append(1 + sum(c > best for i, c in enumerate(cosines) if i not in true))
    return ranks


def means_by_loop(ranks: list[int], repositories: list[str], times: dict[str, int]) -> dict[str, dict[str, float]]:
    """Kinds of which nothing was drawn are left out."""
    told: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        sums, total = dict.fromkeys(MEASURES, 0.0), 0.0
        for repository, n in times.items():
            own = [
                rank
                for rank, other, (its, *_) in zip(ranks, repositories, OUTPUTS, strict=True)
                if its == kind and other == repository
            ]
            if own:
                weight, total = n * math.sqrt(len(own)), total + n * math.sqrt(len(own))
                for name, measure in MEASURES.items():
                    sums[name] += weight * sum(map(measure, own)) / len(own)
        if total:
            told[kind] = {name: value / total for name, value in sums.items()}
    return told | {ALL: {name: sum(cells[name] for cells in told.values()) / len(told) for name in MEASURES}}


def cells(figures: dict) -> Iterator[tuple[str, ...]]:
    return ((name, kind, measure) for name, kinds in figures.items() for kind, of in kinds.items() for measure in of)


def assert_as_by_loop(result: dict, ranks: dict[Space, list[int]], repositories: list[str], n_draws: int) -> None:
    names, generator = sorted(set(repositories)), np.random.default_rng(0)
    draws = [dict.fromkeys(names, 1)]
    for _ in range(n_draws):
        drawn = generator.choice(names, len(names)).tolist()
        draws.append({name: drawn.count(name) for name in drawn})
    told = [{space: means_by_loop(ranks[space], repositories, times) for space in SPACES} for times in draws]
    later = [("aligned", "backbone"), ("disentangled", "aligned"), ("disentangled", "backbone")]
    for figures, value in (
        (result["spaces"], lambda t, name, k, m: t[name][k][m]),
        (result["differences"], lambda t, name, k, m: t[name.split()[0]][k][m] - t[name.split()[2]][k][m]),
    ):
        for name, kind, measure in cells(figures):
            values = [value(one, name, kind, measure) for one in told if kind in one["backbone"]]
            wanted = [values[0], *(np.percentile(values[1:], [2.5, 97.5]) if n_draws else ())]
            found = list(figures[name][kind][measure].values())[: len(wanted)]
            assert found == pytest.approx(wanted, abs=1e-6), (name, kind, measure)
    assert list(result["differences"]) == [f"{one} - {other}" for one, other in later]
    assert list(result["spaces"]["aligned"]) == [*KINDS, ALL]


GALLERIES = {
    "everything": ((), range(10), False),
    "two splits": (("--splits", "validation", "test"), range(4, 10), False),
    "strangers too": (("--splits", "test", "--others", "others"), range(7, 10), True),
}


@pytest.mark.parametrize("gallery", GALLERIES)
def test_the_figures_are_those_of_a_plain_loop_whatever_stands_in_the_gallery(run, made, backbone, gallery):
    options, rows, has_others = GALLERIES[gallery]
    others = sorted((made / "others").rglob("*.png")) if has_others else []
    result, printed = run(*(made / option if option == "others" else option for option in options))
    ranks = ranks_by_loop(made, backbone, list(rows), others)
    repositories = [lab or {7: "fox", 9: "gnu"}[true[0]] for _, lab, true, _ in OUTPUTS]
    assert_as_by_loop(result, ranks, repositories, 500 if gallery == "strangers too" else 0)
    n = len(rows) + len(others)
    counts = {"n_queries": 20, "n_repositories": 5, "n_exemplars": 11, "n_others": n}
    assert {name: result[name] for name in counts} == counts
    assert printed.splitlines()[0] == f"20 queries of 5 repositories, 11 exemplars, {n} other references"
    first, *_, last = printed.split("\n\n")[2].splitlines()
    gained = shown(result["differences"]["aligned - backbone"]["all"]["MRR"])
    assert first.startswith("| queries | measure | aligned - backbone |") and f"|  | MRR | {gained} |" in last
    assert len({tuple(some) for some in ranks.values()}) == 3 and 1 < statistics.fmean(ranks["aligned"]) < 12


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """The folder of pairs, to be changed; outside it the same pictures are of another key, so they are embedded anew."""
    return shutil.copytree(made / "real", tmp_path / "real")


def named_outputs(folder: Path) -> list[str]:
    """As the json files call them, in the order of ``OUTPUTS``."""
    cases = [case for path in sorted(folder.glob("json/*")) for case in json.loads(path.read_text())]
    return [name for case in cases for names in case["synth"].values() for name in names]


def write_pages(folder: Path, names: list[str], head: str = "file,role,repository") -> None:
    lines = [head, *(f"{name},synthetic,page {i % 3}" for i, name in enumerate(names))]
    (folder / "pictures.csv").write_text("\n".join(lines) + "\n")


def test_repositories_are_those_of_pictures_csv_and_the_network_sees_each_picture_once(run, made, backbone, folder):
    """Once for all galleries, wherever it lies."""
    shutil.rmtree(made / "bundle" / ".work", ignore_errors=True)
    before = sum(backbone.embedded())
    write_pages(folder, named_outputs(folder))
    result, _ = run("--splits", "test", folder=folder)
    run(folder=folder)
    run(folder=made / "real")  # the same files elsewhere
    assert sum(backbone.embedded()) - before == 11 + 20
    assert result["n_repositories"] == 3
    assert_as_by_loop(result, ranks_by_loop(made, backbone, [7, 8, 9], []), [f"page {i % 3}" for i in range(20)], 0)


def test_a_second_copy_of_a_source_does_not_stand_before_it_by_the_last_bits_of_its_cosine():
    above = np.nextafter(np.float32(0.8), np.float32(1)) + np.float32(2e-7)
    similarities = np.array([[0.8, above, 0.1, 0.9], [0.8, above, 0.1, 0.80001]], np.float32)
    assert best_ranks(similarities, [[0, 2], [0]]).tolist() == [2, 2]


GNU, NO_SOURCE = "exemplar/gnu/09.png", '[{"exemplar": [], "synth": {}, "category": null, "class_id": "x"}]'
#: what is wrong -> what makes it so, or the options that ask for it, of the folder; and the words of the refusal
REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "unreadable": (lambda at: (at / GNU).write_bytes(b"no picture"), r"exemplar/gnu/09\.png: an image must be PNG"),
    "missing": (
        lambda at: (at / GNU).unlink(),
        r"1 of 31 are not, exemplar/gnu/09\.png first; their paths start at .*real or with its own name",
    ),
    "nothing named": (lambda at: shutil.rmtree(at / "json"), r"real/json/\*\.json must name synthetic pictures"),
    "no source": (
        lambda at: (at / "json" / "two.json").write_text(NO_SOURCE),
        r"`exemplar` must be a list of at least one path, got none in .*two\.json, entry 0",
    ),
    "unlisted": (
        lambda at: write_pages(at, named_outputs(at)[1:]),
        r"`repository` must be told of synth/edit/lab-a/000\.png, got none in .*pictures\.csv",
    ),
    "other columns": (
        lambda at: write_pages(at, named_outputs(at), "name,role,page"),
        r"pictures\.csv must be a table with the columns file and repository",
    ),
    "unknown split": (lambda at: ("--splits", "test", "dev"), "no reference of the split dev; its splits: test, train, validation"),
    "no strangers": (lambda at: ("--others", at / "json"), "--others must be a folder of pictures, got .*json, which holds"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSALS)
def test_what_cannot_be_measured_is_refused_with_its_name(run, folder, how):
    spoil, said = REFUSALS[how]
    options = spoil(folder)
    with pytest.raises(SystemExit, match=f"^error: .*{said}"):
        run(*(options if isinstance(options, tuple) else ()), folder=folder)


def test_the_page_shows_each_failure_with_its_pictures_and_nothing_from_elsewhere(run, made, backbone, monkeypatch):
    page, ranks = made / "failures.html", ranks_by_loop(made, backbone, [*range(10)], [])["disentangled"]
    run("--page", page)
    text = page.read_text()
    names = {i: "/".join(filter(None, (kind, lab, f"{i:03}.png"))) for i, (kind, lab, *_) in enumerate(OUTPUTS)}
    failed = sorted((i for i in names if ranks[i] > 1), key=lambda i: (OUTPUTS[i][0], -ranks[i], i))
    assert 0 < len(failed) < 20 and f"{len(failed)} of 20 outputs" in text
    assert re.findall(r"<b>output</b>(?:synth/)?([^<\s]+)<", text) == [names[i] for i in failed]
    assert re.findall(r"rank (\d+)</figcaption></figure>\s*</div>", text) == [str(ranks[i]) for i in failed]
    sources = dict.fromkeys(re.findall(r'(?:src|href|url)\W+([^"]{9})', text))
    assert list(sources) == ["data:imag"] and "//" not in re.sub(r"base64,\S+", "", text)
    assert text.count("<img") == 5 * len(failed)
    monkeypatch.setattr(evaluate_pairs, "N_SHOWN", 4)
    run("--page", page)
    assert page.read_text().count("<b>output</b>") == len({OUTPUTS[i][0] for i in failed})
