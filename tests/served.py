"""The app in a process of its own, as a person starts it, with every connection it opens written down.

    python -m tests.served --port PORT --log FILE [--folder FOLDER --seconds 1.5]

With ``--folder`` the attributor is the invented one of `tests.fakes`, whose answer to an upload takes so many seconds; without,
it is the bundle that ships.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
EVENTS = {"socket.connect": 1, "socket.getaddrinfo": 0, "socket.sendto": 1}  # event -> which argument says where to


def watch(log: Path) -> None:
    """Write down where this process reaches, below anything that a library could replace."""
    file = log.open("a", buffering=1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            file.write(json.dumps([event, repr(arguments[EVENTS[event]])]) + "\n")

    sys.addaudithook(hook)


def reached(log: Path) -> tuple[int, list[str]]:
    """How often a process reached for this machine, and what else it reached for."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    away = [
        place
        for _, place in rows
        if not any(here in place for here in ("127.0.0.1", "localhost", "0.0.0.0", "::1'", "/run/", "/tmp/"))
    ]
    return len(rows) - len(away), away


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

        class Loader:
            load = staticmethod(lambda *_: Slow(options.folder, n_per_group=2))

        aad.Attributor = Loader  # type: ignore[assignment,misc]
        vars(app)["outcomes_of"] = lambda _: None
    return app.main(["--port", options.port])


if __name__ == "__main__":
    sys.exit(main())
