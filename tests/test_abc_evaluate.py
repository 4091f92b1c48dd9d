"""AbC's evaluation equals a full sort of the full gallery, ties included, however it is cut up or interrupted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aad.bundle import Bundle, BundleError, read_heads
from aad.spaces import Domain, Space
from precompute import abc_evaluate
from precompute.abc import protocol, results
from precompute.abc.files import Laion
from precompute.abc.splits import BenchmarkError
from tests.abc_files import case_content, tied_rows, write_laion, write_mapper
from tests.factory import tiny_bundle

RECALL_K = (1, 5, 10, 100)
SIZES = (3, 1, 12, 4)
Embed = Callable[[np.ndarray], np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1).numpy()


def write(folder: Path, *, tied: bool, n: int = 700, d: int = 16) -> list[str]:
    """A LAION file and a test case; some LAION rows are copies of exemplars. Returns the arguments that name them."""
    generator = np.random.default_rng(3)
    make = tied_rows if tied else lambda g, rows, columns: g.normal(size=(rows, columns)).astype(np.float32)
    laion, exemplars = make(generator, n, d), make(generator, sum(SIZES), d)
    laion[generator.choice(n, 40, replace=False)] = exemplars[generator.choice(sum(SIZES), 40)]
    exemplars[5] = exemplars[4]  # equal exemplars of one model
    ids = {kind: np.repeat(np.arange(len(SIZES)), 6) for kind in ("gpt", "object")}
    ids["object"] = ids["object"][::-1]
    ends = np.cumsum(SIZES)
    queries = {}
    for kind, models in ids.items():
        source = exemplars[(ends - 1)[models]]
        queries[kind] = make(generator, len(models), d) if tied else source + make(generator, len(models), d)
        queries[kind][3] = 0
    laion[9] = 0  # rows of zeros resemble nothing, and so rank by the rule for ties
    write_laion(folder / "laion_subset.pth", laion)
    torch.save(case_content(exemplars, SIZES, queries, ids), folder / "test_artchive.pth")
    files = ["--laion-features", str(folder / "laion_subset.pth"), "--test-features", str(folder / "test_artchive.pth")]
    return [*files, "--recall-k", *map(str, RECALL_K), "--out", str(folder / "out.json")]


def naive(folder: Path, real: Embed = unit, synthetic: Embed = unit) -> dict[str, dict[str, Any]]:
    """The protocol as one would write it down: concatenate, multiply row by row, sort everything, per query."""
    laion = real(torch.load(folder / "laion_subset.pth")["feats"].numpy())
    case = torch.load(folder / "test_artchive.pth")
    exemplars, found = real(case["exemplar_tensors"].numpy()), {}
    for kind, features in case["synth_tensors"].items():
        recalls, precisions = [], []
        for query, model in zip(synthetic(features.numpy()), case["synth_ids"][kind], strict=True):
            start, end = case["exemplar_chunks"][model]
            gallery = np.concatenate([laion, exemplars[start:end]]).astype(np.float64)
            scores = torch.from_numpy((gallery * query.astype(np.float64)).sum(1)).float()
            order = torch.argsort(-scores, stable=True).numpy()
            hits = order >= len(laion)
            recalls.append([hits[:k].sum() / (end - start) for k in RECALL_K])
            places = np.flatnonzero(hits) + 1
            precisions.append(np.mean([(i + 1) / place for i, place in enumerate(places)]))
        means = dict(zip(map(str, RECALL_K), np.mean(recalls, axis=0), strict=True))
        found[kind] = {"recall": means, "map": np.mean(precisions), "n_queries": len(precisions)}
    return found


def run(arguments: list[str]) -> dict[str, Any]:
    abc_evaluate.main(arguments)
    return json.loads(Path(arguments[arguments.index("--out") + 1]).read_text())


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert list(ours) == list(theirs)
    for kind, figures in theirs.items():
        assert ours[kind]["n_queries"] == figures["n_queries"]
        assert ours[kind]["recall"] == pytest.approx(figures["recall"], abs=1e-9)
        assert ours[kind]["map"] == pytest.approx(figures["map"], abs=1e-9)


@pytest.mark.parametrize(("tied", "rows", "queries"), [(True, 64, 7), (True, 29, 1), (False, 64, 7), (False, 700, 512)])
def test_figures_are_those_of_a_full_sort_however_it_is_cut(
    tmp_path: Path, tied: bool, rows: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ROWS", rows), ("QUERIES", queries), ("MAP_ROWS", 50)):
        monkeypatch.setattr(protocol, name, value)
    arguments = write(tmp_path, tied=tied)
    figures = run(arguments)
    assert_same(figures, naive(tmp_path))
    assert list(figures) == ["gpt", "object"]
    for part in figures.values():
        assert list(part["recall"]) == ["1", "5", "10", "100"]
        assert (part["n_queries"], part["n_models"], part["n_laion"]) == (24, 4, 700)
        assert part["test_case"] == "test_artchive"
        low, high = part["interval_95"]["recall"]["5"]
        assert low <= part["recall"]["5"] <= high
    records = [json.loads(line) for line in (tmp_path / "out.queries.jsonl").read_text().splitlines()]
    assert [record["type"] for record in records] == ["gpt"] * 24 + ["object"] * 24
    mean = np.mean([(np.array(record["ranks"]) <= 5).mean() for record in records[:24]])
    assert mean == pytest.approx(figures["gpt"]["recall"]["5"])


def test_each_domain_goes_through_its_own_map_and_ties_stay_exact(tmp_path: Path) -> None:
    arguments, generator = write(tmp_path, tied=False), np.random.default_rng(5)
    real, synthetic = ((generator.normal(size=(16, 16)), generator.normal(size=16)) for _ in range(2))
    halves = [tuple(part.astype(np.float32) for part in layer) for layer in (real, synthetic)]

    def through(layer: tuple[np.ndarray, ...]) -> Embed:
        weight, bias = (part.astype(np.float64) for part in layer)
        return lambda rows: unit(rows.astype(np.float64) @ weight.T + bias).astype(np.float32)

    expected = naive(tmp_path, *map(through, halves))
    write_mapper(tmp_path / "dino_tuned.pth", halves[0], halves[1])
    assert_same(run([*arguments, "--mapper", str(tmp_path / "dino_tuned.pth")]), expected)
    arguments, turned = write(tmp_path, tied=True), (2 * np.eye(16, dtype=np.float32)[::-1], np.zeros(16, np.float32))
    write_mapper(tmp_path / "m.pth", *[tuple(map(np.ascontiguousarray, turned))] * 2)
    assert_same(run([*arguments, "--mapper", str(tmp_path / "m.pth")]), naive(tmp_path))


def test_heads_of_a_bundle_embed_unit_rows_the_gallery_as_real_and_queries_as_synthetic(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "b")
    arguments = write(tmp_path, tied=False, n=120, d=Bundle.open(folder).manifest["backbone"]["dim"])
    for space in (None, Space.ALIGNED, Space.BACKBONE):
        head = read_heads(Bundle.open(folder))[space or Space.DISENTANGLED]
        maps = [lambda rows, d=domain, h=head: h.embed(unit(rows), d) for domain in (Domain.REAL, Domain.SYNTHETIC)]
        chosen = ["--space", str(space)] if space else []
        assert_same(run([*arguments, "--bundle", str(folder), *chosen]), naive(tmp_path, *maps))


@pytest.mark.parametrize("tied", [True, False])
def test_an_inexact_product_moves_no_count(tied: bool) -> None:
    generator = np.random.default_rng(8)
    make = tied_rows if tied else lambda g, n, d: g.normal(size=(n, d)).astype(np.float32)
    rows, queries = unit(make(generator, 900, 24)), unit(make(generator, 20, 24))
    sizes = generator.integers(1, 9, 20)
    own = np.concatenate(
        [protocol.exact_similarities(rows[generator.choice(900, s)], q) for s, q in zip(sizes, queries, strict=True)]
    )
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    similarities = queries @ rows.T
    noise = generator.uniform(-0.9, 0.9, similarities.shape) * protocol.screening_error(24)
    noisy = (similarities + noise).astype(np.float32)  # as inexact as the bound allows: the counts must not move
    exact = np.stack([protocol.exact_similarities(rows, query) for query in queries])
    expected = np.concatenate([(exact[i] >= own[bounds[i] : bounds[i + 1], None]).sum(1) for i in range(20)])
    for screened in (similarities, noisy):
        np.testing.assert_array_equal(protocol.rows_ahead(screened, rows, queries, own, bounds), expected)


def test_interrupted_run_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ROWS", 128)
    arguments = write(tmp_path, tied=False)
    whole = run(arguments)
    lines = (tmp_path / "out.queries.jsonl").read_bytes()
    (tmp_path / "out.json").unlink()
    kept, keep = [], protocol.Tally.keep

    def keep_some(tally: protocol.Tally, path: Path) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        keep(tally, path)
        kept.append(tally.next_row)

    with monkeypatch.context() as patch:
        patch.setattr(protocol.Tally, "keep", keep_some)
        with pytest.raises(KeyboardInterrupt):
            run(arguments)
    assert kept[-1] == 256
    assert not (tmp_path / "out.json").exists() and list(tmp_path.glob(".out.json.*"))
    blocks = []
    with monkeypatch.context() as patch:
        rows = Laion.rows
        patch.setattr(Laion, "rows", lambda self, *bounds: blocks.append(bounds) or rows(self, *bounds))
        assert run(arguments) == whole
    assert len(blocks) == 6 - 2
    assert (tmp_path / "out.queries.jsonl").read_bytes() == lines
    assert not list(tmp_path.glob(".out.json.*"))


def test_run_with_other_inputs_starts_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = write(tmp_path, tied=False)
    layers = [(factor * np.eye(16, dtype=np.float32), np.ones(16, np.float32)) for factor in (1, 2)]
    write_mapper(tmp_path / "m.pth", layers[0], layers[1])
    with monkeypatch.context() as patch:
        patch.setattr(results, "per_query", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run([*arguments, "--mapper", str(tmp_path / "m.pth")])
    assert_same(run(arguments), naive(tmp_path))


def test_dimensions_that_do_not_fit_and_rows_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    arguments = write(tmp_path, tied=False)
    layer = (np.eye(8, dtype=np.float32), np.zeros(8, np.float32))
    write_mapper(tmp_path / "m.pth", layer, layer)
    with pytest.raises(BenchmarkError, match=r"one backbone, .*test-case features of 16 columns, maps of 8 columns"):
        run([*arguments, "--mapper", str(tmp_path / "m.pth")])
    write_laion(tmp_path / "laion_subset.pth", np.ones((5, 8), np.float32))
    with pytest.raises(BenchmarkError, match=r"one backbone, got LAION features of 8 .*, test-case features of 16"):
        run(arguments)
    features = tied_rows(np.random.default_rng(0), 700)
    features[123] = np.inf
    write_laion(tmp_path / "laion_subset.pth", features)
    with pytest.raises(BenchmarkError, match=r"finite, got LAION \(.*laion_subset.pth\) row 123"):
        run(arguments)
    with pytest.raises(BundleError, match="no bundle at"):
        run([*arguments, "--bundle", str(tmp_path / "none")])


def test_arguments_that_make_no_sense_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = write(tmp_path, tied=True)
    for extra, said in (
        (["--space", "aligned"], "--space names a space of a --bundle"),
        (["--recall-k", "0"], "--recall-k must be 1 or more"),
        (["--mapper", "m", "--bundle", "b"], "not allowed with argument"),
    ):
        with pytest.raises(SystemExit):
            run([*arguments, *extra])
        assert said in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchmarkError, match="use --device cpu"):
        run([*arguments, "--device", "cuda"])


def results_file(path: Path, test_case: str, **recall: float) -> str:
    path.write_text(
        json.dumps({kind: {"recall": {"5": value}, "test_case": test_case} for kind, value in recall.items()})
    )
    return str(path)


def test_table_has_the_eight_rows_beside_the_published_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = results_file(tmp_path / "a.json", "test_observed_imagenet", gpt=0.5, media=0.4)
    art = results_file(tmp_path / "b.json", "test_artchive", gpt=0.25)
    abc_evaluate.main(["--table", seen, art])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["R@5", "prompts", "this run", "unsupervised (2026)", "supervised AbC (2023)"]
    assert rows[2:] == [
        ["ImageNet-Seen", "gpt", "0.500", "0.491", "0.475"],
        ["ImageNet-Seen", "media", "0.400", "0.364", "0.351"],
        ["ImageNet-Unseen", "gpt", "", "0.845", "0.842"],
        ["ImageNet-Unseen", "media", "", "0.633", "0.598"],
        ["BAM-FG", "gpt", "", "0.203", "0.186"],
        ["BAM-FG", "object", "", "0.251", "0.314"],
        ["Artchive", "gpt", "0.250", "0.229", "0.259"],
        ["Artchive", "object", "", "0.176", "0.201"],
    ]


def test_table_refuses_what_it_cannot_place(tmp_path: Path) -> None:
    results_file(tmp_path / "a.json", "other", gpt=0.5)
    (tmp_path / "c.json").write_text('{"gpt": {"recall": {"10": 0.5}, "test_case": "test_bamfg"}}')
    (tmp_path / "d.json").write_text("no")
    for name in ("a", "c", "d", "none"):
        with pytest.raises(BenchmarkError, match=rf"results must be .*{name}\.json.* 5 among --recall-k"):
            results.table([str(tmp_path / f"{name}.json")])
