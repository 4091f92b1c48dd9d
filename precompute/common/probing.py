"""Which engine is fastest here and keeps the features: a look of some seconds before a long run."""

import timeit
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image

from aad.backbones import LEAST_COSINE, Backbone, BackboneError, build_engine, engines_for
from aad.backbones.spec import TORCH

CLEARLY = 1.1  # times faster, or the engine that comes first in ENGINES stays: a second probe should choose the same
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Probe:
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


def probe_engines(backbone: Backbone, images: Sequence[Image.Image]) -> list[Probe]:
    """Run every engine that is installed on a few pictures.

    Args:
        backbone: its network and device; whatever its engine.
        images: one batch or less of real pictures, for a fair look at the features.
    """
    base, probes = backbone.in_torch(), []
    pixels = [base.spec.preprocess(image) for image in images]
    expected = base.embed_pixels(pixels)
    for name in engines_for(base.device):
        try:
            compiled = build_engine(name, base.network, base.spec.image_size, base.device)
            engine = replace(base, spec=replace(base.spec, engine=name), compiled=compiled)
            cosine = float((engine.embed_pixels(pixels) * expected).sum(1).min())  # also warms it up
            seconds = min(timeit.repeat(partial(engine.embed_pixels, pixels), number=1, repeat=_ROUNDS))
        except (BackboneError, RuntimeError) as error:  # the second: the engine gives up on this network or processor
            probes.append(Probe(name, refused=str(error).strip().partition("\n")[0]))
            continue
        changed = f"it changes the features: cosine {cosine:.5f}, at least {LEAST_COSINE} is needed"
        probes.append(Probe(name, len(pixels) / seconds, cosine, "" if cosine >= LEAST_COSINE else changed))
    return probes


def fastest(probes: Sequence[Probe]) -> str:
    """The engine to take: the fastest that keeps the features, and the earlier one where it is a near thing.

    >>> fastest([Probe("torch", 30), Probe("torch-bf16", 99, 0.99, "changes"), Probe("openvino", 80), Probe("openvino-bf16", 85)])
    'openvino'
    """
    chosen = Probe(TORCH)
    for probe in probes:
        if not probe.refused and probe.images_per_second > CLEARLY * chosen.images_per_second:
            chosen = probe
    return chosen.engine


def describe_probes(probes: Sequence[Probe]) -> str:
    """A line for each engine, for people."""
    width = max(len(probe.engine) for probe in probes)
    lines = []
    for probe in probes:
        speed = f"{probe.images_per_second:6.1f} images/s" if probe.images_per_second else "   not here"
        kept = f"not used: {probe.refused}" if probe.refused else f"cosine {probe.cosine:.6f}"
        lines.append(f"  {probe.engine.ljust(width)}  {speed.ljust(15)}  {kept}")
    return "\n".join(lines)
