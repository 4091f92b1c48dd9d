"""The network in a process of its own: torch is imported beside the server's start, and takes the interpreter from nobody there.

The server's first page and its examples need no torch, whose import takes as long as all of the rest. Arrays of pixels go there,
and features come back; what opens anybody's files is `interface.decoder`.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, cast

import numpy as np

from aad.backbones import Backbone, BackboneError, BackboneSpec, load_backbone
from interface.heat import features_without_regions


class Network:
    """Backbones, elsewhere. Safe to call from several threads, whose turns come one after the other.

    The process starts when it is first needed, and ends with this one. If it dies, who waits is told, and the next call starts
    another.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """The process, and the import of torch in it."""
        self._submit(_import_torch)

    def load(self, *key: Any) -> Backbone:
        """As ``aad.backbones.load_backbone``, of the same arguments; its ``network`` is an `Elsewhere`."""
        there = Elsewhere(self, key)
        return Backbone(there.ask(_spec), cast(Any, there), compiled=there.run)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function gives in that process.

        Raises:
            BackboneError: the process has ended, or the function says so.
        """
        try:
            return self._submit(function, *arguments).result()
        except BrokenExecutor as error:
            raise BackboneError("the process of the network has ended; ask again") from error

    def stop(self) -> None:
        """End the process; a later call starts another."""
        with self._starting:
            if self._pool is not None:
                for child in multiprocessing.active_children():  # the decoder's are none
                    child.kill()
                waiter = threading.Thread(target=self._pool.shutdown, daemon=True)
                waiter.start()
                waiter.join(1)  # its own threads may wait for what the process was just sending
            self._pool = None

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with self._starting:
            for _ in range(2):
                if self._pool is None:
                    context = multiprocessing.get_context("spawn")
                    self._pool = ProcessPoolExecutor(1, context, initializer=_settle)
                try:
                    return self._pool.submit(function, *arguments)
                except BrokenExecutor:  # by an earlier call
                    self._pool = None
        raise BackboneError("the process of the network cannot be started")


class Elsewhere:
    """Stands for the network of a backbone that another process holds.

    Args:
        process: which.
        key: arguments of ``load_backbone``.
    """

    def __init__(self, process: Network, key: tuple[Any, ...]) -> None:
        self._process, self._key = process, key

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(backbone, *arguments)`` there."""
        return self._process.ask(_called, self._key, function, *arguments)

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """As ``Backbone.run``."""
        return self.ask(Backbone.run, pixels)

    def features_without_regions(self, pixels: np.ndarray) -> np.ndarray:
        """As `interface.heat.features_without_regions` of that backbone."""
        return self.ask(features_without_regions, pixels)


network = Network()


def _settle() -> None:
    """In the new process: it ends when the server does, however that ends, and not before."""
    for kind in (signal.SIGINT, signal.SIGTERM):  # told to all of a group: the server answers first what it was asked
        signal.signal(kind, signal.SIG_IGN)
    with suppress(AttributeError, TypeError):  # of glibc: fresh memory for each picture costs a fifth of the time
        for option in (-3, -1):  # one heap, of which nothing is given back
            ctypes.CDLL(None).mallopt(option, 1 << 30)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(0)


def _import_torch() -> None:
    importlib.import_module("torch")


_loaded = cache(load_backbone)


def _called(key: tuple[Any, ...], function: Callable[..., Any], *arguments: Any) -> Any:
    return function(_loaded(*key), *arguments)


def _spec(backbone: Backbone) -> BackboneSpec:
    return backbone.spec
