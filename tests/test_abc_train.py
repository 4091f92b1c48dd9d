"""The supervised recipe on AbC-form files: right pairs, a mapper that reads back, and a figure from models it never saw."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from aad.method import Head
from aad.spaces import Domain
from precompute import abc_train
from precompute.abc.files import read_mapper
from precompute.abc.splits import BenchmarkError
from tests.abc_files import case_content

D = 24


def feature_file(path: Path, n_models: int, seed: int, d: int = D, n_queries: int = 4) -> Path:
    """Model i has 1 + i % 3 exemplars near its concept; queries show it too, elsewhere, and all vary in four loud directions."""
    rng = np.random.default_rng(seed)
    loudness = np.where(np.arange(d) < 4, 25, 1)
    sizes = 1 + np.arange(n_models) % 3
    concepts = 10 * rng.normal(size=(n_models, d)) * (loudness == 1)
    models = np.repeat(np.arange(n_models), n_queries)
    exemplars = np.repeat(concepts, sizes, 0) + rng.normal(size=(sizes.sum(), d)) * loudness
    queries = {
        kind: np.float32(concepts[models] + 10 + 3 * rng.normal(size=(len(models), d)) * loudness)
        for kind in ("gpt", "object")
    }
    torch.save(case_content(np.float32(exemplars), sizes.tolist(), queries, dict.fromkeys(queries, models)), path)
    return path


def train(folder: Path, *features: Path, options: tuple = ("--steps", 60)) -> Path:
    out = folder / "maps" / "mapper.safetensors"
    abc_train.main([str(option) for option in ("--features", *features, "--out", out, *options)])
    return out


def mapped(path: Path, rows: np.ndarray, domain: Domain) -> np.ndarray:
    """As the authors map: a linear layer, then unit length."""
    part = read_mapper(path)[domain]
    rows = rows @ part.weight.T + part.bias
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_mapper_finds_sources_of_models_it_never_saw(tmp_path, capsys):
    file = feature_file(tmp_path / "train.pth", 80, 1)
    out = train(tmp_path, file, options=("--steps", 400, "--held-out", 0.2))
    told = capsys.readouterr().out
    assert "512 pairs of 64 models, 400 steps" in told
    found = re.search(r"16 held-out models, 128 queries, (\d+) exemplars: .* for ([\d.]+) % .*, ([\d.]+) %", told)
    assert found, told
    assert float(found[3]) > float(found[2]) + 20
    unseen = torch.load(feature_file(tmp_path / "unseen.pth", 20, 7), weights_only=True)
    owner = np.repeat(np.arange(20), [end - start for start, end in unseen["exemplar_chunks"]])
    exemplars, queries = unseen["exemplar_tensors"].numpy(), unseen["synth_tensors"]["gpt"].numpy()
    plain = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ exemplars.T / np.linalg.norm(exemplars, axis=1)
    learnt = mapped(out, queries, Domain.SYNTHETIC) @ mapped(out, exemplars, Domain.REAL).T
    right = [(owner[scores.argmax(1)] == unseen["synth_ids"]["gpt"]).mean() for scores in (plain, learnt)]
    assert right[1] > right[0] + 0.1, right


def test_the_written_layers_do_what_the_head_does(tmp_path):
    rng = np.random.default_rng(0)
    head = Head(
        {domain: rng.normal(size=D).astype(np.float32) for domain in Domain},
        {domain: rng.normal(size=(D, D)).astype(np.float32) for domain in Domain},
    )
    abc_train.write_mapper(tmp_path / "mapper.safetensors", head)
    rows = rng.normal(size=(5, D)).astype(np.float32)
    for domain in Domain:
        assert np.allclose(mapped(tmp_path / "mapper.safetensors", rows, domain), head.embed(rows, domain), atol=1e-5)


def test_every_exemplar_is_paired_in_turn_with_queries_of_its_own_model(tmp_path):
    case = torch.load(feature_file(tmp_path / "train.pth", 6, 0), weights_only=True)
    for number, model in enumerate(abc_train.read_models([tmp_path / "train.pth"])):
        start, end = case["exemplar_chunks"][number]
        own = np.concatenate([case["synth_tensors"][kind][4 * number : 4 * number + 4] for kind in ("gpt", "object")])
        real, synthetic = abc_train.pairs(model)
        assert np.array_equal(synthetic, own)
        wanted = [case["exemplar_tensors"][start + i % (end - start)].numpy() for i in range(8)]
        assert np.array_equal(real, wanted)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_models(tmp_path, capsys):
    one, two = (feature_file(tmp_path / f"{seed}.pth", 8, seed) for seed in (0, 1))
    short = ("--steps", 2)
    first = train(tmp_path, one, two, options=short).read_bytes()
    assert "14 models" in (told := capsys.readouterr().out) and "2 held-out models" in told
    assert train(tmp_path, one, two, options=short).read_bytes() == first
    assert train(tmp_path, one, two, options=(*short, "--seed", 1)).read_bytes() != first
    assert train(tmp_path, one, two, options=(*short, "--decay", 0)).read_bytes() != first
    models = abc_train.read_models([one, two])
    parts = abc_train.split(models, 0.25, 0)
    assert sorted(map(id, (*parts[0], *parts[1]))) == sorted(map(id, models)) and len(parts[1]) == 4


def test_files_that_cannot_be_trained_on_are_refused(tmp_path):
    few, other = feature_file(tmp_path / "few.pth", 3, 0), feature_file(tmp_path / "other.pth", 6, 1, d=D + 1)
    with pytest.raises(BenchmarkError, match="two models to train on and two to hold out are needed, got 3"):
        train(tmp_path, few)
    with pytest.raises(BenchmarkError, match=r"one backbone, .*few.pth has 24 dimensions, .*other.pth has 25"):
        train(tmp_path, few, other)
    with pytest.raises(BenchmarkError, match=r"absent.pth"):
        train(tmp_path, tmp_path / "absent.pth")
    for options in (("--held-out", 1), ("--steps", 0), ("--decay", -1), ("--batch-size", 1), ("--features", few, few)):
        with pytest.raises(SystemExit):
            train(tmp_path, few, options=options)
    with pytest.raises(SystemExit):
        abc_train.main(["--features", str(few), "--out", str(tmp_path / "mapper.pth")])
    assert not (tmp_path / "maps").exists()
