"""Engines: what computes a backbone's features. One bundle, one engine: gallery and query never mix.

    torch       float32 in torch: what every machine has, and what the shipped bundle was made with
    openvino    float32 in OpenVINO, CPU only: the same features to seven digits; pip install -r requirements-fast.txt

Each engine gives the same bytes for the same batch. What else is in the batch changed no bit in OpenVINO where it was measured, and
the last bits in torch (up to 1e-6), so galleries are embedded in batches of one size. Tests hold 1e-5.
"""

import importlib.util
import sys
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np

from aad.backbones.spec import TORCH, BackboneError, Engine

if TYPE_CHECKING:
    import torch

ENGINES = (TORCH, "openvino")


def engines_for(device: str) -> tuple[str, ...]:
    """The engines that may run on a device (``cpu`` or ``cuda``) and whose packages are installed, the fastest last."""
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
        BackboneError: no such engine, or not on this device, or its package is missing.
    """
    if unfit := _unfit(name, device):
        raise BackboneError(unfit)
    if name == TORCH:
        return None
    import torch

    # Its telemetry would send an event over the network at the import; where that is missing, a stub sends nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    example = torch.zeros(2, 3, image_size, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's tracing: its own deprecation, and constants that are meant as such
        model = openvino.convert_model(network, example_input=example, input=[-1, 3, image_size, image_size])
    options = {
        "INFERENCE_PRECISION_HINT": openvino.Type.f32,  # by default bfloat16 where the processor multiplies it
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch: batches come one after the other
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    request, turn = compiled.create_infer_request(), threading.Lock()

    def run(batch: np.ndarray) -> np.ndarray:
        with turn:  # one request, which uses every thread anyway; its output is overwritten by the next
            return np.array(request.infer([batch])[0], dtype=np.float32)

    return run


def _unfit(name: str, device: str) -> str:
    """Why an engine cannot be had here, in words; empty when it can."""
    if name not in ENGINES:
        return f"unknown engine {name!r}; known: {', '.join(ENGINES)}"
    if name == "openvino" and not device.startswith("cpu"):
        return f"the engine {name} runs on the CPU only, got device {device}: use --device cpu, or the engine torch"
    if name == "openvino" and importlib.util.find_spec("openvino") is None:
        return f"the engine {name} needs the package openvino, which is not installed: run pip install -r requirements-fast.txt"
    return ""
