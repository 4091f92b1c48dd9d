"""Decoding in a process of its own: what ends that process, or keeps it, is told, and the next picture is answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

    os.utime(picture)  # another file, which is not kept
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


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_picture_asked_for_again_or_at_once_is_decoded_once(tmp_path: Path) -> None:
    Image.effect_noise((1200, 900), 90).save(path := tmp_path / "one.png")
    before, decode = processes(), decoder.Decoder(2)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(decode, (path, path))
    try:
        assert len(processes() - before) == 1  # the other did not ask for one of its own
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert decode(path).tobytes() == second.tobytes() == first.tobytes()
        os.utime(path)
        for _ in range(2):  # another file, and no refusal is kept either
            with pytest.raises(ImageError, match="must be PNG"):
                decode(path)
        Image.new("RGB", (16, 16)).save(path)
        assert decode(path).size == (16, 16)
    finally:
        decode.stop()
