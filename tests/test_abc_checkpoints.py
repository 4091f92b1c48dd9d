"""Official mappers and calibrators, ours, and a bundle's heads; other files are refused with file, expectation and remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aad.spaces import Domain
from precompute.abc.checkpoints import read_calibrator, read_mapper
from precompute.abc.splits import BenchmarkError
from tests.abc_files import write_calibrator


def test_state_dict_of_real_layers_is_read(tmp_path: Path) -> None:
    layers = {name: torch.nn.Linear(3, 3) for name in ("real_mapper", "synth_mapper")}
    torch.save({name: layer.state_dict() for name, layer in layers.items()}, tmp_path / "m.pth")
    weight = read_mapper(tmp_path / "m.pth")[Domain.SYNTHETIC].weight
    np.testing.assert_array_equal(weight, layers["synth_mapper"].weight.detach().numpy())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"real_mapper": {"weight": torch.eye(2), "bias": torch.zeros(2)}},
            "must have the key `synth_mapper`, got keys real",
        ),
        (
            {"real_mapper": {"0.weight": torch.eye(2), "1.running_mean": torch.zeros(2)}},
            "linear layer.*got 0.weight, 1.runn",
        ),
        ({"real_mapper": {"weights": torch.ones(1, 2)}}, "linear layer.*mlp and channel mappers are not supported"),
        ({"real_mapper": torch.eye(2)}, "linear layer.*got Tensor"),
        (
            {"real_mapper": {"weight": torch.eye(2), "bias": torch.zeros(3)}},
            r"bias of shape \(k,\), got \(2, 2\) and \(3,\)",
        ),
        ({"real_mapper": {"weight": torch.ones(2), "bias": torch.zeros(2)}}, r"weight of shape \(k, d\)"),
        (
            {"real_mapper": {"weight": torch.eye(2).int(), "bias": torch.zeros(2)}},
            "real_mapper.weight` must be a float tensor",
        ),
        ({"real_mapper": {"weight": torch.eye(2) / 0, "bias": torch.zeros(2)}}, "real_mapper.weight` must be finite"),
        (
            {n: {"weight": torch.eye(s), "bias": torch.zeros(s)} for n, s in (("real_mapper", 2), ("synth_mapper", 3))},
            r"one shape, got \(2, 2\) and \(3, 3\)",
        ),
        (torch.eye(2), "must be a dictionary, got Tensor"),
    ],
)
def test_other_mapper_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    torch.save(value, tmp_path / "m.pth")
    with pytest.raises(BenchmarkError, match=said) as refusal:
        read_mapper(tmp_path / "m.pth")
    assert str(tmp_path / "m.pth") in str(refusal.value) and ";" in str(refusal.value)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"real_mapper.weight": torch.eye(2)}, tmp_path / "m.safetensors")
    with pytest.raises(BenchmarkError, match=r"`real_mapper` must be a linear layer.*got weight in"):
        read_mapper(tmp_path / "m.safetensors")
    save_file({"other": torch.eye(2)}, tmp_path / "m.safetensors")
    with pytest.raises(BenchmarkError, match="got none in"):
        read_mapper(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes(b"no")
    for path in (tmp_path / "m.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(BenchmarkError, match="readable safetensors file"):
            read_mapper(path)


def test_calibrator_is_read_with_the_bias_that_is_used(tmp_path: Path) -> None:
    calibrator = read_calibrator(write_calibrator(tmp_path / "c.pth", 31.5, -2.0))
    assert (calibrator.inverse_temperature, calibrator.bias) == (31.5, pytest.approx(-0.002))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"inv_tau": torch.tensor(1.0)}, "must have the key `bias`, got keys inv_tau"),
        ({"inv_tau": torch.ones(2), "bias": torch.tensor(0.0)}, r"`inv_tau` must be one number, got shape \(2,\)"),
        ({"inv_tau": torch.tensor(0.0), "bias": torch.tensor(0.0)}, "inv_tau above 0"),
        ({"inv_tau": torch.tensor(1.0), "bias": torch.tensor(-1000.0)}, "bias above -1000"),
        ({"inv_tau": torch.tensor(float("nan")), "bias": torch.tensor(0.0)}, "`inv_tau` must be finite"),
        ({"inv_tau": 1.0, "bias": 0.0}, "`inv_tau` must be a float tensor, got float"),
    ],
)
def test_other_calibrator_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    torch.save(value, tmp_path / "c.pth")
    with pytest.raises(BenchmarkError, match=said) as refusal:
        read_calibrator(tmp_path / "c.pth")
    assert str(tmp_path / "c.pth") in str(refusal.value)
