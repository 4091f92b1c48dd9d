"""A server in a process of its own, on a free port of this machine, with what it takes of processor and memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.common import memory_of

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 180.0  # seconds for one request; a cold start on a busy machine takes most of a minute


class ServerError(RuntimeError):
    """The server could not be started or did not answer as the page expects."""


def free_port() -> int:
    """A port of this machine that nothing listens on now.

    Raises:
        ServerError: There is none to be had.
    """
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ServerError(f"a free port of this machine is needed, got none ({error})") from error


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own.

    Attributes:
        process: Its process.
        log: What it says on standard error.
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait_for_port(self, port: int, *, patience: float = PATIENCE) -> None:
        """Return as soon as it takes connections.

        Raises:
            ServerError: It ended before, with the last it said; or it took too long.
        """
        ends = time.perf_counter() + patience
        while time.perf_counter() < ends:
            if self.process.poll() is not None:
                self.log.seek(0)
                said = self.log.read().decode(errors="replace").strip()[-500:]
                raise ServerError(f"the server must stay up, it ended with status {self.process.returncode}: {said}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
                return
            except OSError:
                time.sleep(0.005)
        raise ServerError(f"the server must listen on port {port} within {patience:g} s, it does not")

    def cpu_seconds(self) -> float | None:
        """Processor time used so far, all threads; None where the system does not tell."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return None
        fields = stat.read_text("utf-8").rpartition(")")[2].split()  # the name before may hold spaces
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, float]:
        """As `benchmarks.common.memory_of`; empty where the system does not tell."""
        return memory_of(self.process.pid) if Path("/proc/self/status").exists() else {}


@contextmanager
def started(command: Sequence[str]) -> Iterator[Server]:
    """A server that is stopped at the end.

    Args:
        command: What follows the name of the interpreter, run in the project's folder.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield Server(process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def address_of(port: int) -> str:
    """Of a server on this machine."""
    return f"http://127.0.0.1:{port}/"
