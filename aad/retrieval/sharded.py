"""A gallery in shards, searched as one."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aad.retrieval.search import Index, SearchResult, check_ids, check_search

SILENT = (OSError, ConnectionError, TimeoutError)  # a shard that raises one of these is missing, not wrong


class ShardedIndex:
    """Shards side by side; the answer is that of one index over all of them.

    Args:
        shards: name to index; each holds the references from its offset on.
        offsets: name to the id of the shard's first reference; without it the shards follow one another in their order.

    Raises:
        ValueError: no shard, other dimensions, or offsets that leave a gap or overlap.
    """

    def __init__(self, shards: Mapping[str, Index], offsets: Mapping[str, int] | Sequence[int] | None = None) -> None:
        if not shards:
            raise ValueError("an index in shards needs at least one shard, got none")
        if offsets is None:
            offsets = np.cumsum([0, *(len(shard) for shard in shards.values())])[:-1].tolist()
        by_name = dict(offsets) if isinstance(offsets, Mapping) else dict(zip(shards, offsets, strict=True))
        if by_name.keys() != shards.keys():
            raise ValueError(f"offsets must name the shards {sorted(shards)}, got {sorted(by_name)}")
        self._shards = dict(sorted(shards.items(), key=lambda item: by_name[item[0]]))
        self._offsets, n = {}, 0
        for name, shard in self._shards.items():
            if by_name[name] != n:
                raise ValueError(
                    f"shard {name} must start at reference {n}, where the one before it ends, got {by_name[name]}"
                )
            self._offsets[name], n = n, n + len(shard)
        self._n = n
        dims = {shard.dim for shard in shards.values()}
        if len(dims) != 1:
            raise ValueError(f"all shards must have one dimension, got {sorted(dims)}")
        self._dim = dims.pop()

    @property
    def dim(self) -> int:
        """Columns of a query."""
        return self._dim

    def __len__(self) -> int:
        return self._n

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        among: np.ndarray | None = None,
        without: int | None = None,
        inverse_temperature: float | None = None,
    ) -> SearchResult:
        """As ``Index.search``. Shards that do not answer are named in ``missing``, and the mass is then that of the others.

        Raises:
            ConnectionError: no shard answered.
            ValueError: an argument of another shape, type or range.
        """
        queries, _ = check_search(queries, k, self, among, without)

        def ask(name: str) -> SearchResult | OSError:
            shard, start = self._shards[name], self._offsets[name]
            own = slice(start, start + len(shard))
            inside = without is not None and own.start <= without < own.stop
            try:
                return shard.search(
                    queries,
                    k,
                    among=None if among is None else among[own],
                    without=without - start if inside and without is not None else None,
                    inverse_temperature=inverse_temperature,
                )
            except SILENT as error:
                return error

        with ThreadPoolExecutor(len(self._shards)) as pool:
            answers = dict(zip(self._shards, pool.map(ask, self._shards), strict=True))
        found = {name: answer for name, answer in answers.items() if isinstance(answer, SearchResult)}
        missing = tuple(name for name in answers if name not in found)
        if not found:
            raise ConnectionError(f"no shard answered: {'; '.join(f'{name}: {why}' for name, why in answers.items())}")
        ids = np.concatenate([answer.ids + self._offsets[name] for name, answer in found.items()], axis=1)
        similarities = np.concatenate([answer.similarities for answer in found.values()], axis=1)
        order = np.lexsort((ids, -similarities), axis=1)[:, :k]
        log_mass = None
        if inverse_temperature is not None:
            log_mass = np.logaddexp.reduce(np.array([answer.log_mass for answer in found.values()]), axis=0)
        return SearchResult(
            np.take_along_axis(ids, order, 1),
            np.take_along_axis(similarities, order, 1),
            log_mass,
            bool(missing) or any(answer.estimated for answer in found.values()),
            missing + tuple(name for answer in found.values() for name in answer.missing),
        )

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32; every shard must answer."""
        return np.concatenate([shard.similarities(queries) for shard in self._shards.values()], axis=1)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids; the shards that hold them must answer."""
        ids = check_ids(ids, len(self))
        found = np.empty((len(ids), self.dim), np.float32)
        for name, shard in self._shards.items():
            own = (ids >= self._offsets[name]) & (ids < self._offsets[name] + len(shard))
            if own.any():
                found[own] = shard.rows(ids[own] - self._offsets[name])
        return found
