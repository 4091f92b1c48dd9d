"""Which engine is fastest here and keeps the features: a look of some seconds before a long run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from aad.backbones.engines import build_engine, engines_for
from aad.backbones.spec import TORCH, Backbone, BackboneError

LEAST_COSINE = 0.9999  # to float32 in torch, of every picture
CLEARLY = 1.1  # times faster, or the engine that comes first in ENGINES stays: a second probe should choose the same
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one engine.

    Attributes:
        engine: its name.
        images_per_second: of the network alone, the fastest of some rounds; 0 where it could not be had.
        cosine: the least over the pictures to float32 in torch.
        refused: why it must not be used; empty when it may.
    """

    engine: str
    images_per_second: float = 0.0
    cosine: float = 0.0
    refused: str = ""


def probe_engines(backbone: Backbone, images: Sequence[Image.Image]) -> list[Trial]:
    """Run every engine that is installed on a few pictures, in turn, so that other work disturbs all alike.

    Args:
        backbone: its network and device; whatever its engine.
        images: one batch or less of real pictures, for a fair look at the features.
    """
    base = backbone.in_torch()
    pixels = [base.spec.preprocess(image) for image in images]
    expected = base.embed_pixels(pixels)
    ready, trials = {}, {}
    for name in engines_for(base.device):
        try:
            compiled = build_engine(name, base.network, base.spec.image_size, base.device)
            ready[name] = replace(base, spec=replace(base.spec, engine=name), compiled=compiled)
            cosine = float((ready[name].embed_pixels(pixels) * expected).sum(1).min())  # also warms it up
        except (
            BackboneError,
            RuntimeError,
        ) as error:  # the second: the engine itself gives up on this network or processor
            ready.pop(name, None)
            trials[name] = Trial(name, refused=str(error).strip().partition("\n")[0])
            continue
        said = (
            ""
            if cosine >= LEAST_COSINE
            else f"it changes the features: cosine {cosine:.5f}, at least {LEAST_COSINE} is needed"
        )
        trials[name] = Trial(name, 0.0, cosine, said)
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(_ROUNDS):
        for name, engine in ready.items():
            started = time.perf_counter()
            engine.embed_pixels(pixels)
            seconds[name].append(time.perf_counter() - started)
    return [
        replace(trial, images_per_second=len(pixels) / min(seconds[name])) if name in ready else trial
        for name, trial in trials.items()
    ]


def fastest(trials: Sequence[Trial]) -> str:
    """The engine to take: the fastest that keeps the features, and the earlier one where it is a near thing.

    >>> fastest([Trial("torch", 30), Trial("torch-bf16", 99, 0.99, "changes"), Trial("openvino", 80), Trial("openvino-bf16", 85)])
    'openvino'
    """
    chosen = Trial(TORCH)
    for trial in trials:
        if not trial.refused and trial.images_per_second > CLEARLY * chosen.images_per_second:
            chosen = trial
    return chosen.engine


def describe_trials(trials: Sequence[Trial]) -> str:
    """A line for each engine, for people."""
    width = max(len(trial.engine) for trial in trials)
    lines = []
    for trial in trials:
        speed = f"{trial.images_per_second:6.1f} images/s" if trial.images_per_second else "   not here"
        kept = f"not used: {trial.refused}" if trial.refused else f"cosine {trial.cosine:.6f}"
        lines.append(f"  {trial.engine.ljust(width)}  {speed.ljust(15)}  {kept}")
    return "\n".join(lines)
