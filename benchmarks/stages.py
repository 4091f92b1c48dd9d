"""Where the time of one answer goes: a stopwatch around the parts of a query's path, from opened file to JSON.

    with Stages(attributor) as stages:
        times = stages.of(lambda: json.dumps(handlers.answer_upload(attributor, path, 8)))

A part's time is its own: what it calls and is measured by itself is taken off, so that the parts of one answer sum to its total.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from aad.backbones import spec
from interface import present

if TYPE_CHECKING:
    from aad.attribution import Attributor

#: in the order in which a query goes through them; ``rest`` is what none of them holds
STAGES = ("decode", "preprocess", "embed", "search", "weigh", "draw")


class Stages:
    """A stopwatch for one attributor, running while it is a context manager.

    Args:
        attributor: An `aad.Attributor` whose backbone is loaded. Its modules' functions are wrapped, in every thread.
    """

    def __init__(self, attributor: Attributor) -> None:
        self._attributor = attributor
        self._patches = ExitStack()
        self._threads = threading.local()
        self._taken: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Stages:
        """Wrap the parts."""
        attributor = self._attributor
        found: list[tuple[Any, str, str]] = [
            (importlib.import_module("aad.attribution"), "load_image", "decode"),
            (spec.BackboneSpec, "preprocess", "preprocess"),
            (type(attributor._backbone), "embed", "embed"),
            (type(attributor), "attribute", "weigh"),
            (type(attributor), "near_copies", "draw"),
            (present, "answer", "draw"),
        ]
        found += [(kind, "search", "search") for kind in {type(index) for index in attributor._index.values()}]
        for owner, name, stage in found:
            self._patches.enter_context(patch.object(owner, name, self._timed(getattr(owner, name), stage)))
        return self

    def __exit__(self, *_: object) -> None:
        """Take the wrappers off again."""
        self._patches.close()

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner = getattr(self._threads, "inner", 0.0)
            self._threads.inner = 0.0
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                whole = time.perf_counter() - began
                with self._lock:
                    self._taken[stage] = self._taken.get(stage, 0.0) + whole - self._threads.inner
                self._threads.inner = inner + whole

        return timed

    def take(self) -> dict[str, float]:
        """Milliseconds of each stage since the last call, all threads together."""
        with self._lock:
            taken, self._taken = self._taken, {}
        return {stage: 1000 * taken.get(stage, 0.0) for stage in STAGES}
