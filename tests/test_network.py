"""The network in a process of its own: the same bits come back, and what ends it, or fails in it, is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from aad.backbones import BackboneError, load_backbone
from interface.heat import features_without_regions
from interface.network import Network
from tests.small import ROOT, alive

KEY = "efficientnet_lite0_moments", None, "cpu", "torch"


@pytest.fixture
def network() -> Iterator[Network]:
    yield (made := Network())
    made.stop()


def test_features_and_what_they_are_without_a_region_are_those_of_this_process(network: Network) -> None:
    here, there = load_backbone(*KEY), network.load(*KEY)
    assert there.spec == here.spec
    images = [Image.effect_noise((90, 60), spread).convert("RGB") for spread in range(20, 60)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(there.embed, (images, images[:1], images)))
    for few, rows in zip((images, images[:1], images), found, strict=True):
        assert np.array_equal(rows, here.embed(few))
    pixels = here.spec.preprocess(images[0])
    inside = cast(Any, there.network).features_without_regions(pixels)
    assert inside.shape == (50, here.spec.dim) and np.array_equal(inside, features_without_regions(here, pixels))


def test_weights_that_are_not_there_are_told_in_words_and_another_fault_is_none_of_the_backbone(
    network: Network, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match=r"must be a file, got .*none\.pth"):
        network.load(KEY[0], str(tmp_path / "none.pth"), *KEY[2:])
    with pytest.raises(RuntimeError, match="channels") as caught:
        network.load(*KEY).run(np.zeros((1, 5, 224, 224), np.float32))
    assert not isinstance(caught.value, BackboneError) and "network.py" in str(caught.value.__cause__)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_who_waits_for_a_process_that_ends_is_told_and_the_next_call_starts_another(network: Network) -> None:
    image, there = Image.effect_noise((90, 60), 50).convert("RGB"), network.load(*KEY)
    before, one = there.embed([image]), network.ask(os.getpid)
    os.kill(one, signal.SIGTERM)  # which some tell all processes of a service: it goes on
    assert np.array_equal(there.embed([image]), before) and network.ask(os.getpid) == one
    with pytest.raises(BackboneError, match="has ended; ask again"):
        network.ask(os._exit, 3)
    assert np.array_equal(there.embed([image]), before) and network.ask(os.getpid) != one


KILLED = """
import os, signal
from interface.network import network
if __name__ == "__main__":
    print(network.ask(os.getpid), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_the_process_ends_with_a_server_that_is_killed() -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    ends = time.monotonic() + 30
    while alive(int(ended.stdout)):
        assert time.monotonic() < ends
        time.sleep(0.01)
