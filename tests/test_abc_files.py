"""What AbC releases is read whole; each departure is named with file and remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from precompute.abc.files import Laion, read_mapper, read_test_case
from precompute.abc.splits import BenchmarkError
from tests.abc_files import case_content, write_laion

FEATS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
PATHS = [f"laion/{i}, with \u2028 and \n.png" for i in range(50)]


def content() -> dict[str, Any]:
    generator = np.random.default_rng(1)
    queries = {kind: generator.normal(size=(4, 6)).astype(np.float32) for kind in ("gpt", "object")}
    ids = {kind: np.array([0, 0, 1, 1]) for kind in queries}
    return case_content(generator.normal(size=(5, 6)).astype(np.float32), [2, 3], queries, ids)


def broken(key: str, value: Any, kind: str | None = None) -> dict[str, Any]:
    saved = content()
    if kind:
        saved[key][kind] = value
    else:
        saved[key] = value
    return saved


def layer(weight: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": weight, "bias": bias}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_laion(tmp_path / "laion_subset.pth", FEATS)


EYE, ZEROS = torch.eye(2), torch.zeros(2)
NO_IDS = {key: value for key, value in content().items() if key != "synth_ids"}
READERS = {"mapper": read_mapper, "laion": Laion, "case": read_test_case}
DEPARTURES: list[tuple[str, Any, str]] = [
    ("mapper", {"real_mapper": layer(EYE, ZEROS)}, "must have the key `synth_mapper`, got keys real"),
    ("mapper", {"0.weight": EYE, "1.running_mean": ZEROS}, "linear layer.*got keys 0.weight, 1.runn"),
    ("mapper", {"weights": torch.ones(1, 2)}, "linear layer.*mlp and channel mappers are not supported"),
    ("mapper", EYE, r"`real_mapper` must be a linear layer.*got torch.float32 \(2, 2\)"),
    ("mapper", layer(EYE, torch.zeros(3)), r"real_mapper.bias` must be .* \(2,\) .*got torch.float32 \(3,\)"),
    ("mapper", layer(torch.ones(2), ZEROS), r"real_mapper.weight` must be a float tensor of shape \(k, d\)"),
    ("mapper", layer(EYE.int(), ZEROS), "real_mapper.weight` must be a float tensor"),
    (
        "mapper",
        {"real_mapper": layer(EYE, ZEROS), "synth_mapper": layer(torch.eye(3), torch.zeros(3))},
        r"synth_mapper.weight` must be .* of shape \(2, 2\).*\(3, 3\)",
    ),
    ("mapper", [EYE], "must be a dictionary, got list"),
    ("laion", {"features": 1}, "must have the key `feats`, got keys features"),
    ("laion", {"feats": torch.ones(3), "paths": ["a"] * 3}, r"of shape \(n, d\) .*got torch.float32 \(3,\)"),
    ("laion", {"feats": torch.ones(3, 2).int(), "paths": ["a"] * 3}, "float tensor .*got torch.int32"),
    ("laion", {"feats": torch.ones(3, 2), "paths": ["a"] * 2}, "a list of 3 texts.*got a list of 2"),
    ("laion", {"feats": Path("code"), "paths": []}, "must be a readable file of tensors"),
    ("case", NO_IDS, "must have the key `synth_ids`"),
    ("case", broken("exemplar_tensors", torch.ones(5)), r"`exemplar_tensors` must be a float tensor .*\(n, d\)"),
    ("case", broken("exemplar_tensors", torch.ones(5, 6).int()), "`exemplar_tensors` must be a float tensor"),
    ("case", broken("exemplar_paths", ["a"] * 4), "`exemplar_paths` must be a list of 5 texts.*a list of 4"),
    ("case", broken("exemplar_chunks", []), "`exemplar_chunks` must be one.*got a list of 0"),
    ("case", broken("exemplar_chunks", [(0, 2), (2, 6)]), "`exemplar_chunks` must be one.*end <= 5, got a list of 2"),
    ("case", broken("exemplar_chunks", [(0, 0), (0, 5)]), "`exemplar_chunks` must be one.*start < end"),
    ("case", broken("exemplar_chunks", [(0, 2), (2, 5.0)]), "`exemplar_chunks` must be one"),
    ("case", broken("synth_tensors", torch.ones(4, 6)), r"`synth_tensors` must be a dictionary.*got .*\(4, 6\)"),
    ("case", broken("synth_tensors", {}), "`synth_tensors` must be a dictionary.*keys none"),
    ("case", broken("synth_paths", {"gpt": ["a"] * 4}), "about the prompt types gpt, object, got keys gpt"),
    ("case", broken("synth_tensors", torch.ones(4, 7), "gpt"), r"synth_tensors\['gpt'\].*\(m, 6\).*\(4, 7\)"),
    ("case", broken("synth_tensors", torch.ones(0, 6), "gpt"), r"synth_tensors\['gpt'\].*at least one row"),
    ("case", broken("synth_paths", ["a"] * 3, "object"), r"synth_paths\['object'\].*4 texts"),
    ("case", broken("synth_ids", [0, 1, 2, 1], "object"), r"synth_ids\['object'\].*0 to 1, got a list of 4"),
    ("case", broken("synth_ids", [0, 1, 1], "object"), r"synth_ids\['object'\].*a list of 3"),
    ("case", broken("synth_ids", [0, 1, 1.0, 1], "object"), r"synth_ids\['object'\].*got a list of 4"),
]


def test_a_file_in_another_form_is_refused_with_its_name_and_what_to_do(tmp_path: Path) -> None:
    for number, (kind, value, said) in enumerate(DEPARTURES):
        path = tmp_path / f"{number}.pth"
        if kind == "mapper" and not isinstance(value, list) and "real_mapper" not in list(value):
            value = {"real_mapper": value, "synth_mapper": value}
        torch.save(value, path)
        with pytest.raises(BenchmarkError, match=said) as refusal:
            READERS[kind](path)
        assert str(path) in str(refusal.value) and ";" in str(refusal.value), said


def test_missing_truncated_and_foreign_files_are_refused(tmp_path: Path, source: Path) -> None:
    whole = source.read_bytes()
    for name, data in (("half.pth", whole[: len(whole) // 2]), ("text.pth", b"404"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(data)
        for read in (Laion, read_test_case):
            with pytest.raises(BenchmarkError, match="download the file again"):
                read(tmp_path / name)
    for read in READERS.values():
        with pytest.raises(BenchmarkError, match="check the path"):
            read(tmp_path / "none.pth")


@pytest.mark.parametrize("ids_as_tensor", [False, True])
def test_every_field_of_a_test_case_is_read(tmp_path: Path, ids_as_tensor: bool) -> None:
    saved = content()
    saved["exemplar_tensors"] = saved["exemplar_tensors"].half()
    saved["synth_tensors"]["gpt"].requires_grad_()
    if ids_as_tensor:
        saved["synth_ids"] = {kind: torch.tensor(ids) for kind, ids in saved["synth_ids"].items()}
    torch.save(saved, tmp_path / "test_artchive.pth")
    case = read_test_case(tmp_path / "test_artchive.pth")
    assert case.exemplar_paths == saved["exemplar_paths"] and case.chunks == [(0, 2), (2, 5)]
    np.testing.assert_array_equal(case.exemplars, saved["exemplar_tensors"].numpy())
    assert list(case.queries) == ["gpt", "object"]
    for kind, queries in case.queries.items():
        assert queries.paths == saved["synth_paths"][kind] and queries.ids.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(queries.features, saved["synth_tensors"][kind].detach().numpy())
        assert queries.features.dtype == case.exemplars.dtype == np.float32


@pytest.mark.parametrize(("dtype", "old_format"), [(np.float16, False), (np.float32, True)])
def test_every_row_and_path_of_laion_arrives_as_released(tmp_path: Path, dtype: Any, old_format: bool) -> None:
    opened = Laion(write_laion(tmp_path / "laion.pth", FEATS.astype(dtype), PATHS, old_format=old_format))
    np.testing.assert_array_equal(opened.rows(10, 13), FEATS[10:13].astype(dtype))
    np.testing.assert_array_equal(opened.rows(48, 99), FEATS[48:].astype(dtype))
    assert opened.shape == FEATS.shape and opened.paths == PATHS
