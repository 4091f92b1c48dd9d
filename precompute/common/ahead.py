"""What comes next is computed in threads while the network, or a processor of pixels, is at work on what came before."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def ahead(
    function: Callable[[T], R], items: Iterable[T], n_ahead: int, n_threads: int | None = None
) -> Iterator[Iterator[R]]:
    """``map(function, items)``, computed in threads up to ``n_ahead`` items before they are asked for, in the same order.

    Worth it where ``function`` frees the interpreter lock, as Pillow does when it decodes and resizes. What it raises is raised
    when its item is asked for. Leaving the block, also by an exception or Ctrl-C, drops what has not begun and waits for what has,
    so that no thread is left.

    Args:
        function: safe to call from several threads.
        items: drawn from one at a time, in the thread that asks.
        n_ahead: results that may wait at once, so what they take of memory is bounded.
        n_threads: as many as cores when None.

    >>> with ahead(str.upper, "abc", n_ahead=2) as shouted:
    ...     list(shouted)
    ['A', 'B', 'C']
    """
    pool = ThreadPoolExecutor(n_threads or os.cpu_count() or 1)

    def results() -> Iterator[R]:
        begun = (pool.submit(function, item) for item in items)
        waiting = deque(islice(begun, n_ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(islice(begun, 1))  # before it is worked on, so that the threads stay busy meanwhile
            yield result

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)
