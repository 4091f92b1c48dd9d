"""The index of each space of a bundle: in memory while it is small, read from disk beyond, compressed where one was built."""

from typing import Any

from aad.bundle import Bundle
from aad.retrieval import ExactIndex, Index, ScanIndex, method_for, open_index
from aad.spaces import SPACES, Space
from aad.vectors import l2_normalise

SECTION, STEP = "retrieval", "build_index"


def index_file(space: Space) -> str:
    """Name of the file that ``build_index`` writes for one space, where its method needs one."""
    return f"index_{space}.safetensors"


def open_indexes(bundle: Bundle, n: int, qdrant: str | None = None) -> dict[Space, Index]:
    """One index per space, over the same references in the same order.

    Without a section ``retrieval`` in the manifest a gallery is searched exactly: in memory up to the size at which
    ``aad.retrieval.method_for`` says otherwise, from there on by reading all of it for each query, which is slow.

    Args:
        bundle: what holds the rows, and the index where it has one.
        n: references that every space must have.
        qdrant: address of a server that holds them; what lies in the bundle is then not read.

    Raises:
        BundleError: a file is missing or damaged, or an index is of other references.
    """
    if qdrant:
        from aad.retrieval.qdrant import open_collections

        return open_collections(bundle, qdrant)
    settings = bundle.section(SECTION) if SECTION in bundle.manifest else {}
    return {space: _open(bundle, space, n, settings.get(space)) for space in SPACES}


def _open(bundle: Bundle, space: Space, n: int, settings: dict[str, Any] | None) -> Index:
    name, shape = f"references_{space}.npy", (n, bundle.section("backbone")["dim"])
    method = method_for(n) if settings is None else settings.get("method")
    if method == "exact":
        return ExactIndex(l2_normalise(bundle.read_array(name, shape)))
    rows = bundle.map_rows(name, shape)
    if settings is None or method == "scan":
        return ScanIndex(rows)
    arrays = bundle.read_tensors(index_file(space))
    if settings.get("references") != bundle.manifest["files"][name]["sha256"]:
        raise bundle.refusal(index_file(space), f"is an index of other references than those of {name}")
    try:
        return open_index(rows, arrays, settings)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise bundle.refusal(index_file(space), f"is no index of the {n} references ({error})") from None
