"""The app in a process of its own, as a person starts it, with every connection it opens, and file it writes, noted.

    python -m tests.served --port PORT --log FILE [--folder FOLDER --seconds 1.5]

With ``--folder`` the attributor is the invented one of `tests.fakes`, whose answer to an upload takes so many seconds; without,
it is the bundle that ships.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving import free_port

ROOT = Path(__file__).resolve().parent.parent
EVENTS = {"socket.connect": 1, "socket.getaddrinfo": 0, "socket.sendto": 1}  # event -> which argument says where to


def watch(log: Path) -> None:
    """Write down where this process reaches, below anything that a library could replace."""
    file = log.open("a", buffering=1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR) and isinstance(arguments[0], str | bytes):
            file.write(json.dumps(["written", os.fsdecode(arguments[0])]) + "\n")
        if event in EVENTS:
            file.write(json.dumps([event, repr(arguments[EVENTS[event]])]) + "\n")

    sys.addaudithook(hook)


def reached(log: Path) -> tuple[int, list[str]]:
    """How often a process reached for this machine, and what else it reached for."""
    rows = [row for row in map(json.loads, log.read_text().splitlines()) if row[0] in EVENTS]
    away = [
        place
        for _, place in rows
        if not any(here in place for here in ("127.0.0.1", "localhost", "0.0.0.0", "::1'", "/run/", "/tmp/"))
    ]
    return len(rows) - len(away), away


def written(log: Path) -> list[str]:
    """The files that a process opened to write."""
    return [path for event, path in map(json.loads, log.read_text().splitlines()) if event == "written"]


@contextmanager
def started(command: Sequence[str], port: int, log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once it answers; what it says is in ``log``."""
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, **options)
        try:
            ends = time.monotonic() + 120
            while not alive(port):
                assert process.poll() is None and time.monotonic() < ends, log.read_text()
                time.sleep(0.05)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def process(port: int, log: Path, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """This module's process, started; what it says is in ``log`` with the suffix ``.txt``."""
    command = [sys.executable, "-m", "tests.served", "--port", str(port), "--log", str(log), *arguments]
    return started(command, port, log.with_suffix(".txt"), cwd=ROOT, env={**os.environ, **(environment or {})})


def _hears(pid: int) -> bool:
    """Whether a process has its own answer to SIGTERM; before Python runs its first line, none has."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def stopped(folder: Path, seconds: float, picture: Path | None = None) -> tuple[int, float, str]:
    """Start the app and tell it to stop so many seconds after its first page; below 0, after its first line.

    Args:
        folder: For its log and its uploads; empty again afterwards.
        seconds: When.
        picture: Asked about just before, with a page open; None asks nothing.

    Returns:
        Its exit code, the seconds it took, and what was answered: "" where nothing was asked.
    """
    port, told, environment = free_port(), "", {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads")}
    command, asked = [sys.executable, "app.py", "--port", str(port)], threading.Event()
    options: dict[str, Any] = {"cwd": ROOT, "env": environment}
    if seconds < 0:
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stderr=log, stdout=log, **options) as process,
        ):
            while process.poll() is None and not _hears(process.pid):
                time.sleep(0.01)
            time.sleep(-seconds)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            return process.wait(60), time.monotonic() - began, ""
    with (
        started(command, port, folder / "log", **options) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=60, trust_env=False) as client,
        ThreadPoolExecutor(2) as pool,
    ):

        def ask() -> str:
            path = client.post("gradio_api/upload", files={"files": picture.read_bytes()}).json()[0] if picture else ""
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            call = client.post("gradio_api/call/attribute", json={"data": [file, 3]}).json()["event_id"]
            asked.set()
            return client.get(f"gradio_api/call/attribute/{call}").text

        def stay() -> None:  # as a page does
            with suppress(httpx.TransportError), client.stream("GET", "gradio_api/heartbeat/page") as lines:
                deque(lines.iter_raw(), 0)

        pool.submit(stay)
        time.sleep(seconds)
        if picture:
            answer = pool.submit(ask)
            assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code, took = process.wait(60), time.monotonic() - began
        told = answer.result() if picture else ""
    assert not any((folder / "uploads").iterdir()), "uploads stay behind"
    return code, took, told


def alive(port: int) -> bool:
    """Whether it says so itself."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args(argv)
    watch(options.log)

    import aad
    import app

    if options.folder is not None:
        from tests.fakes import FakeAttributor

        class Slow(FakeAttributor):
            def attribute(self, *arguments: Any, **among: Any) -> Any:
                time.sleep(options.seconds)
                return super().attribute(*arguments, **among)

        aad.Attributor = lambda *_: Slow(options.folder, n_per_group=2)  # type: ignore[assignment,misc]
        vars(app)["outcomes_of"] = lambda _: None
    return app.main(["--port", options.port])


if __name__ == "__main__":
    import app

    app.run(main)
