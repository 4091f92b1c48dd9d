"""Cosine retrieval over the references of one space: exact in memory, exact from disk, compressed, or in shards.

    index = ExactIndex(rows)                                    # in memory, to some 200,000 references
    found = index.search(queries, k=10)                         # found.ids, found.similarities

    rows = StoredRows("references.npy")                         # on disk, fp16 or fp32, never all in memory
    arrays, settings = build_index(rows, queries)               # settings["recall_at_10"], measured on these queries
    index = open_index(rows, arrays, settings)                  # the same search

Every class answers `search` with exact cosines of the stored rows, equal ones ordered by reference id, and the same bits for the
same row whatever the class: see `aad.retrieval.exact`. They differ in which rows they look at, and where those are kept.
"""

from aad.retrieval.building import METHODS, build_index, method_for, open_index
from aad.retrieval.compressed import CompressedIndex
from aad.retrieval.exact import ExactIndex, ScanIndex
from aad.retrieval.mass import TailSample
from aad.retrieval.search import Index, SearchResult
from aad.retrieval.sharded import ShardedIndex
from aad.retrieval.stored import StoredRows

__all__ = [
    "METHODS",
    "CompressedIndex",
    "ExactIndex",
    "Index",
    "ScanIndex",
    "SearchResult",
    "ShardedIndex",
    "StoredRows",
    "TailSample",
    "build_index",
    "method_for",
    "open_index",
]
