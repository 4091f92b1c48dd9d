"""A process that holds indices and is asked for searches, so that memory is one method's own and two methods can take turns.

The parent writes one JSON object per line and reads one back; `python -m benchmarks.searcher` is the other end. What is timed
is one call for one query, inside that process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import write_atomically
from aad.scale.building import build_index, open_index
from aad.scale.stored import StoredRows
from aad.search import Index
from benchmarks.common import ROOT, memory_of

BASELINES = ("argsort", "topk")
LOOK_EVERY = 0.05  # seconds between two looks at the memory of a process


class SearcherError(RuntimeError):
    """The process gave up or was ended; the text says what it said last."""


class Searcher:
    """The parent's end: a context manager that starts the process and ends it.

    Args:
        limit_gb: Memory of its own that it may have (`RLIMIT_DATA`; mapped files are not counted), or None for no limit.
    """

    def __init__(self, limit_gb: float | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.searcher", *([str(limit_gb)] if limit_gb else [])]
        # As app.py does it. The other process's threads would else go on spinning for a while after its turn, on these cores.
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._peak_mb = 0.0
        self._done = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Searcher:
        """Begin to watch its memory."""
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._done.set()
        self._process.kill()
        self._process.communicate()
        self._looking.join()

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            SearcherError: it could not be done, or the process is gone.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SearcherError(f"the process for {do!r} ended with code {self._process.wait()}; was memory short?")
        found = json.loads(line)
        if "error" in found:
            raise SearcherError(found["error"])
        return found

    def memory(self) -> dict[str, float]:
        """Megabytes (10^6 bytes) of the whole process: now, now without mapped files, and the highest of both so far."""
        found = memory_of(self._process.pid)
        self._peak_mb = max(self._peak_mb, found["own_mb"])
        return {**found, "peak_own_mb": self._peak_mb}

    def _look(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            try:
                self.memory()
            except (OSError, KeyError):
                return


def _build(request: dict[str, Any]) -> dict[str, Any]:
    """Build the index of a gallery and keep its arrays and settings at ``out`` (.safetensors and .json)."""
    from safetensors.numpy import save_file

    rows, queries = StoredRows(request["rows"]), np.load(request["queries"], allow_pickle=False)
    began = time.perf_counter()
    arrays, settings = build_index(rows, queries, method=request["method"], seed=request["seed"])
    seconds = time.perf_counter() - began
    out = Path(request["out"])
    partial = out.with_name(f".{out.name}.partial")
    save_file(arrays, partial)
    partial.replace(out)
    write_atomically(out.with_suffix(".json"), json.dumps(settings).encode())
    return {
        "build_s": round(seconds, 3),
        "settings": settings,
        "index_bytes": sum(array.nbytes for array in arrays.values()),
    }


def _open(request: dict[str, Any]) -> Callable[..., Any]:
    """A function from a (1, d) query and k to ids, cosines, and where asked for the log mass and whether it is estimated."""
    rows = StoredRows(request["rows"])
    if request["method"] in BASELINES:
        return _baseline(rows, full_sort=request["method"] == "argsort")
    from safetensors.numpy import load_file

    path = Path(request["index"])
    index: Index = open_index(rows, load_file(path), json.loads(path.with_suffix(".json").read_bytes()))
    among = np.load(request["among"], allow_pickle=False) if request.get("among") else None

    def search(query: np.ndarray, k: int, beta: float | None) -> tuple[Any, ...]:
        found = index.search(query, k, among=among, inverse_temperature=beta)
        return found.ids[0], found.similarities[0], found.log_mass, found.estimated

    return search


def _baseline(rows: StoredRows, *, full_sort: bool) -> Callable[..., Any]:
    import torch

    held = torch.empty(rows.shape)
    for start, chunk in rows.chunks():
        held[start : start + len(chunk)] = torch.from_numpy(chunk)

    def search(query: np.ndarray, k: int, beta: float | None) -> tuple[Any, ...]:
        with torch.inference_mode():
            similarities = held @ torch.from_numpy(query[0])
            if full_sort:
                ids = torch.argsort(similarities, descending=True)[:k]
            else:
                ids = torch.topk(similarities, min(k, len(held))).indices
            mass = None if beta is None else torch.logsumexp(beta * similarities.double(), 0).numpy()[None]
            return ids.numpy(), similarities[ids].numpy(), mass, False

    return search


def _time(search: Callable[..., Any], queries: np.ndarray, k: int, beta: float | None) -> dict[str, Any]:
    """Search one query at a time."""
    times, ids, cosines, masses, estimated = [], [], [], [], False
    for query in queries:
        began = time.perf_counter()
        found, similarities, mass, estimated = search(query[None], k, beta)
        times.append(1000 * (time.perf_counter() - began))
        ids.append(found.tolist())
        cosines.append(similarities.tolist())
        masses.append(None if mass is None else float(mass[0]))
    return {"ms": times, "ids": ids, "similarities": cosines, "log_mass": masses, "estimated": bool(estimated)}


def answer(request: dict[str, Any], opened: list[tuple[Callable[..., Any], np.ndarray]]) -> dict[str, Any]:
    """The answer to one request: ``build``, ``open`` (one more index, added to ``opened``) or ``search``."""
    try:
        if request["do"] == "build":
            return _build(request)
        if request["do"] == "open":
            opened.append((_open(request), np.load(request["queries"], allow_pickle=False)))
            return {"opened": len(opened)}
        search, queries = opened[request["index"]]
        first, last = request["range"]
        return _time(search, queries[first:last], request["k"], request.get("beta"))
    except Exception as error:  # whatever it is, the parent must hear of it rather than wait
        return {"error": f"{request['do']}: {type(error).__name__}: {error}"}


def main(argv: Sequence[str]) -> int:
    """The child's end; an argument is the limit in gigabytes."""
    if argv:
        limit = int(float(argv[0]) * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not break the line protocol
    opened: list[tuple[Callable[..., Any], np.ndarray]] = []
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), opened)) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
