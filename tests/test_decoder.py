"""Decoding in a process of its own: what ends that process, or keeps it, is told, and the next picture is answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

from aad.images import ImageError, load_image
from interface import decoder

New = Callable[[], decoder.Decoder]


@pytest.fixture
def new() -> Iterator[Callable[[], decoder.Decoder]]:
    made: list[decoder.Decoder] = []
    yield lambda: made.append(decoder.Decoder(1)) or made[-1]
    for one in made:
        one.stop()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.effect_noise((80, 60), 90).save(path := tmp_path / "line\nend.png")
    return path


def processes() -> set[int]:
    """The children of this process that decode."""
    found = (path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if b"interface.decoder" in path.read_bytes())
    return {int(one.name) for one in found if int((one / "stat").read_text().rsplit(")")[-1].split()[1]) == os.getpid()}


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_process_that_ends_is_told_and_another_takes_its_place(
    new: New, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, decode = processes(), new()
    assert decode(picture).tobytes() == load_image(picture).tobytes()
    (one,) = processes() - before
    assert f"Max address space         {decoder.MAX_MEMORY}" in Path(f"/proc/{one}/limits").read_text()

    def crash(*_: object) -> Mock:  # in place of the clock, which starts when it has been asked
        os.kill(one, signal.SIGSEGV)
        return Mock()

    with monkeypatch.context() as patch:
        patch.setattr(decoder.threading, "Timer", crash)
        with pytest.raises(ImageError, match=rf"whose decoder ended with -{int(signal.SIGSEGV)} .*save it anew"):
            decode(picture)
    assert decode(picture).size == (80, 60)
    (other,) = processes() - before
    assert other != one


def test_what_keeps_its_process_too_long_is_refused(new: New, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MAX_SECONDS", -decoder.PATIENCE)  # none is so fast
    decode = new()
    with pytest.raises(ImageError, match=rf"whose decoder ended with -{int(signal.SIGKILL)} "):
        decode(picture)
    monkeypatch.undo()
    assert decode(picture).size == (80, 60)
