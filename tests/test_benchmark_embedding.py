"""The benchmark of embedding reports what the issue asks for; its speeds are never asserted."""

import json

import numpy as np
import pytest
import torch

from aad.backbones import BATCH_SIZE, load_backbone
from aad.bundle import DEFAULT_BUNDLE
from benchmarks import embedding


def test_the_report_has_every_engine_and_files_with_and_without_work_ahead(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embedding.os, "cpu_count", lambda: 1)  # one thread, and that is all
    monkeypatch.setattr(embedding, "engines_for", lambda device: ("torch", "openvino"))
    path = tmp_path / "report.json"
    options = ("--n", "3", "--rounds", "1", "--json", str(path))
    assert embedding.main(options) == 0
    report = json.loads(path.read_text())
    assert [row["engine"] for row in report["rows"]] == ["plain torch", "torch", "openvino"]
    for row in report["rows"]:
        assert row["threads"] == 1 and row["images_per_s"] > 0 and row["cosine"] == pytest.approx(1, abs=1e-6)
    assert report["rows"][0]["ratio"] == 1 and report["machine"]["cores"] and str(tmp_path) not in path.read_text()
    ways = [(row["engine"], row["pictures"].split(",")[0]) for row in report["files"]]
    assert (
        len(ways) == 4
        and len(set(ways)) == 4
        and {engine for engine, _ in ways}
        == {"plain torch", report["best"]} | ({"torch"} if report["best"] == "plain torch" else set())
    )
    shown = capsys.readouterr().out
    assert "| engine | threads | images/s |" in shown and json.loads(shown.splitlines()[-1]) == report


def test_the_baseline_is_plain_torch_and_leaves_the_backbone_as_it_is():
    backbone = load_backbone("efficientnet_lite0")
    batch = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    found = embedding.plain_torch(backbone)(batch)
    weight = backbone.network.stem[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert embedding.least_cosine(found, backbone.embed_pixels(batch)) > 0.999999


def test_the_least_cosine_is_of_the_worst_pair():
    rows = np.array([[1.0, 0.0], [3.0, 4.0]])
    assert embedding.least_cosine(rows, np.array([[2.0, 0.0], [0.0, 5.0]])) == pytest.approx(0.8)


def test_threads_are_given_back_and_pictures_come_in_order():
    before = torch.get_num_threads()
    with embedding.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    files = sorted((DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar").rglob("*.webp"))[: BATCH_SIZE + 2]
    for prepare in (embedding.in_turn, embedding.in_threads):
        with prepare(lambda path: path.name, files) as names:
            assert list(names) == [path.name for path in files]
