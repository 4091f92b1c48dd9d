"""Engines: what computes a backbone's features. One bundle, one engine: gallery and query never mix.

    torch          float32 in torch: what every machine has, and what the shipped bundle was made with
    torch-bf16     torch with bfloat16 products (autocast): also on a GPU; fast where the processor multiplies bfloat16
    openvino       float32 in OpenVINO, CPU only: the same features to seven digits; pip install -r requirements-fast.txt
    openvino-bf16  bfloat16 in OpenVINO, only where the processor multiplies bfloat16

float32 in OpenVINO keeps the features of every backbone. bfloat16 rounds weights to three digits: whether features survive that
depends on the backbone and must be looked at (``--engine auto`` does); those of EfficientNet-Lite0 do not.

Each engine gives the same bytes for the same batch. What else is in the batch changed no bit in OpenVINO where it was measured, and
the last bits in torch (up to 1e-6), so galleries are embedded in batches of one size. Tests hold 1e-5.
"""

import importlib.util
import sys
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np

from aad.backbones.spec import TORCH, BackboneError, Engine, torch_engine

if TYPE_CHECKING:
    import torch

LEAST_COSINE = 0.9999  # to float32 in torch, of every picture: what keeps the features
ENGINES = (TORCH, "torch-bf16", "openvino", "openvino-bf16")


def engines_for(device: str) -> tuple[str, ...]:
    """The engines that may run on a device (``cpu`` or ``cuda``) and whose packages are installed; not yet tried."""
    return tuple(name for name in ENGINES if not _unfit(name, device))


def build_engine(name: str, network: "torch.nn.Module", image_size: int, device: str = "cpu") -> Engine | None:
    """What runs a network in that engine; None for ``torch``, which runs the network itself.

    OpenVINO takes as many threads as torch has at this moment.

    Args:
        name: one of ``ENGINES``.
        network: (n, 3, s, s) to (n, dim), frozen, on ``device``; left as it is. Later changes of its weights may go unseen.
        image_size: s, in pixels.
        device: ``cpu`` or ``cuda``.

    Raises:
        BackboneError: no such engine, or not on this device or processor, or its package is missing.
    """
    if unfit := _unfit(name, device):
        raise BackboneError(unfit)
    if name == TORCH:
        return None
    if name == "torch-bf16":
        return torch_engine(network, device, halved=True)
    return _openvino(name, network, image_size)


def _unfit(name: str, device: str) -> str:
    """Why an engine cannot be had here, in words; empty when it can."""
    if name not in ENGINES:
        return f"unknown engine {name!r}; known: {', '.join(ENGINES)}"
    if not name.startswith("openvino"):
        return ""
    if not device.startswith("cpu"):
        return f"the engine {name} runs on the CPU only, got device {device}: use --device cpu, or the engine torch or torch-bf16"
    if importlib.util.find_spec("openvino") is None:
        return f"the engine {name} needs the package openvino, which is not installed: run pip install -r requirements-fast.txt"
    return ""


def _openvino(name: str, network: "torch.nn.Module", image_size: int) -> Engine:
    import torch

    if "openvino" not in sys.modules:
        # Its telemetry would send an event over the network at the import; where that is missing, a stub sends nothing.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    example = torch.zeros(2, 3, image_size, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's tracing: its own deprecation, and constants that are meant as such
        model = openvino.convert_model(network, example_input=example, input=[-1, 3, image_size, image_size])
    wanted = openvino.Type.bf16 if name.endswith("bf16") else openvino.Type.f32
    options = {
        "INFERENCE_PRECISION_HINT": wanted,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch: batches come one after the other
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    used = compiled.get_property("INFERENCE_PRECISION_HINT")
    if used != wanted:  # it is a hint: an older processor computes in float32 and does not say so
        raise BackboneError(
            f"the engine {name} needs a processor that multiplies bfloat16, this one would compute in {used.to_string()}: use the "
            "engine openvino, and make features again that were computed with this one"
        )
    request, turn = compiled.create_infer_request(), threading.Lock()

    def run(batch: np.ndarray) -> np.ndarray:
        with turn:  # one request, which uses every thread anyway; its output is overwritten by the next
            return np.array(request.infer([batch])[0], dtype=np.float32)

    return run
