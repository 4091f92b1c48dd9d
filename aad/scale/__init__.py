"""Search among millions of references: from disk, by codes in memory, or by Qdrant on other machines.

    rows = StoredRows("references.npy")                  # on disk, fp16 or fp32, never all in memory
    arrays, settings = build_index(rows, queries)        # settings["recall_at_10"], measured on these queries
    index = open_index(rows, arrays, settings)           # an index as `aad.search` describes it

Every index answers with exact cosines of the stored rows, equal ones ordered by reference id, and the same bits for the same row;
they differ in which rows they look at, and where those are kept. Nothing here is imported until a gallery needs it.
"""
