"""Load the references of a bundle into Qdrant, a vector database on other machines, one collection per space.

Reads   references.json and references_{space}.npy of the bundle
Writes  collections aad-{bundle}-{space}-{sha256} of the server, and the alias aad-{bundle}-{space} of each

    python -m precompute.load_qdrant --url http://localhost:6333
    python -m precompute.load_qdrant --url https://qdrant.example.org:6333 --shards 6 --replicas 2
    python app.py --qdrant http://localhost:6333

A run that was interrupted goes on where it was. References that have changed go into new collections, beside those that are being
served; the alias moves when they are complete. The API key of the server is read from the environment variable QDRANT_API_KEY.
Needs requirements-qdrant.txt. More in docs/serving.md.
"""

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aad.bundle import Bundle, read_heads
from aad.hub import open_bundle
from aad.references import References
from aad.scale.qdrant import FIELDS, QdrantIndex
from aad.scale.qdrant_calls import QdrantError, alias_name, collection_name, connect, is_local, speaking
from aad.scale.stored import StoredRows, map_rows
from aad.spaces import SPACES, Domain, Space
from precompute.common.cli import run_step, step_parser

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

KEPT = ("title", "concept", *FIELDS)  # of each reference, in the payload beside its reference_id
TIMEOUT = 600  # seconds: a server that is building its index may keep a batch waiting


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--url", required=True, help="http(s)://host:port; or a folder, to try it without a server")
    parser.add_argument("--recreate", action="store_true", help="drop the collections of these references first")
    parser.add_argument("--codes", choices=("int8", "binary", "none"), default="int8", help="compression in memory")
    parser.add_argument("--shards", type=int, help="parts of a collection, over the machines of a cluster")
    parser.add_argument("--replicas", type=int, help="copies of each part")
    parser.add_argument("--batch", type=int, default=256, help="references in one request")
    parser.add_argument("--queries", type=int, default=50, help="of the bundle's, to measure recall with; 0 for none")
    arguments = parser.parse_args(argv)
    if min(arguments.batch, arguments.shards or 1, arguments.replicas or 1) < 1:
        parser.error("--batch, --shards and --replicas must be at least 1")
    bundle = open_bundle(arguments.bundle)
    client = connect(arguments.url, TIMEOUT, create=True)
    try:
        layout = {
            "quantization_config": quantisation(arguments.codes),
            "shard_number": arguments.shards,
            "replication_factor": arguments.replicas,
        }
        names = load_collections(bundle, client, layout, arguments.recreate, arguments.batch)
        for space, name in names.items():
            print(f"{space}: {name}")
        if arguments.queries and not is_local(client):  # local mode is exact anyway
            recall = measure(bundle, client, names, arguments.queries)
            shares = ", ".join(f"{space} {share:.4f}" for space, share in recall.items())
            print(f"recall@10 against exact search: {shares or 'not measured, the bundle has no queries'}")
        ours = "|".join(re.escape(alias_name(bundle, space)) for space in SPACES)
        with speaking(client):
            there = [one.name for one in client.get_collections().collections]
        older = sorted(set(there) - set(names.values()))
        if older := [name for name in older if re.fullmatch(rf"({ours})-[0-9a-f]{{16}}", name)]:
            print(f"older collections of this bundle, to be deleted once nothing serves them: {', '.join(older)}")
    finally:
        client.close()


def quantisation(codes: str) -> "models.QuantizationConfig | None":
    """Compression in memory: ``int8`` to a quarter, ``binary`` to a 32nd (for 1,000 dimensions and more), or ``none``."""
    from qdrant_client import models

    if codes == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    kind = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    return models.ScalarQuantization(scalar=kind) if codes == "int8" else None


def load_collections(
    bundle: Bundle, client: "QdrantClient", layout: Mapping[str, Any] = {}, recreate: bool = False, batch: int = 256
) -> dict[Space, str]:
    """Load all spaces of a bundle, or what is missing of them, and point the aliases at them.

    Args:
        bundle: whose references to load.
        client: an open client.
        layout: further arguments of ``create_collection`` for those that are made; one that is there keeps its own.
        recreate: drop collections of these references first.
        batch: references in one request.

    Returns:
        The name of each space's collection.

    Raises:
        BundleError: a file is missing or damaged.
        QdrantError: the server does not answer, or holds another number of references than it was given.
    """
    from qdrant_client import models

    entries = bundle.read_json("references.json")
    dim = bundle.section("backbone")["dim"]
    names = {space: collection_name(bundle, space) for space in SPACES}
    for space, name in names.items():
        rows = map_rows(bundle, f"references_{space}.npy", (len(entries), dim))
        if recreate:
            with speaking(client):
                client.delete_collection(name)
        about = {"bundle": bundle.manifest.get("name", ""), "space": str(space)}
        load_collection(client, name, rows, entries, {"metadata": about, **layout}, batch)
    for space, name in names.items():  # in one step for whoever searches by an alias
        alias = alias_name(bundle, space)
        made = models.CreateAlias(collection_name=name, alias_name=alias)
        steps: list[Any] = [models.CreateAliasOperation(create_alias=made)]
        with speaking(client):
            if alias in (one.alias_name for one in client.get_aliases().aliases):
                steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
            client.update_collection_aliases(steps)
    return names


def load_collection(
    client: "QdrantClient",
    name: str,
    rows: StoredRows | np.ndarray,
    entries: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any] = {},
    batch: int = 256,
) -> None:
    """Load rows into one collection, point i for row i; points that are there stay.

    Args:
        client: an open client.
        name: of the collection; made where it is not yet.
        rows: (n, d) of unit length.
        entries: n entries as in references.json, for the payload.
        layout: further arguments of ``create_collection``.
        batch: rows in one request.

    Raises:
        QdrantError: the server does not answer, or holds another number of points in the end.
    """
    from qdrant_client import models
    from tqdm import tqdm

    n, words = len(entries), References(entries, Path()).words
    with speaking(client):
        if not client.collection_exists(name):
            # Rows have unit length, so the dot product is the cosine; under COSINE the server would give back other bits.
            dot, floats = models.Distance.DOT, models.Datatype.FLOAT32
            kind = models.VectorParams(size=rows.shape[1], distance=dot, datatype=floats, on_disk=True)
            client.create_collection(name, kind, **layout)
            for field in (*FIELDS, "concept") if not is_local(client) else ():  # local mode has no indexes, and warns
                client.create_payload_index(name, field, models.PayloadSchemaType.KEYWORD, wait=True)
        held = client.count(name, exact=True).count
    with tqdm(total=n, desc=name, unit="reference", disable=None) as bar:
        for start in range(0, n, batch):
            ids: Sequence[int] = range(start, min(start + batch, n))
            with speaking(client):
                if held:
                    there = {point.id for point in client.retrieve(name, list(ids), with_payload=False)}
                    ids = [i for i in ids if i not in there]
                if ids:
                    vectors = rows[np.array(ids)].tolist()
                    payloads = [{"reference_id": i} | {key: words(key)[i] for key in KEPT} for i in ids]
                    client.upsert(name, models.Batch(ids=list(ids), vectors=vectors, payloads=payloads), wait=True)
            bar.update(min(batch, n - start))
    _settle(client, name)
    with speaking(client):
        held = client.count(name, exact=True).count
    if held != n:
        raise QdrantError(f"collection {name} must hold {n} references, got {held}; load it again with --recreate")


def _settle(client: "QdrantClient", name: str) -> None:
    """Wait until the server has built its index, so that what follows is searched as it will be served."""
    from qdrant_client import models

    for n_seconds in itertools.count():
        with speaking(client):
            info = client.get_collection(name)
        if info.status == models.CollectionStatus.RED:
            raise QdrantError(f"the server failed to build the index of {name} ({info.optimizer_status}); see its log")
        if info.status != models.CollectionStatus.YELLOW:
            return
        if n_seconds == 0:
            print(f"{name}: loaded; the server is building its index")
        time.sleep(1)


def measure(
    bundle: Bundle, client: "QdrantClient", names: Mapping[Space, str], n_queries: int, k: int = 10
) -> dict[Space, float]:
    """Share of the exact k nearest references that a search as it is served finds, over bundled queries; empty without any."""
    m, n = len(bundle.read_json("queries.json")), len(bundle.read_json("references.json"))
    if not m:
        return {}
    dim = bundle.section("backbone")["dim"]
    chosen = np.unique(np.linspace(0, m - 1, min(n_queries, m)).astype(int))
    features = bundle.read_array("queries_backbone.npy", (m, dim))[chosen]
    heads, found = read_heads(bundle), {}
    for space, name in names.items():
        queries = heads[space].embed(features, Domain.SYNTHETIC)
        both = (QdrantIndex(client, name, n, dim, exact=exact) for exact in (False, True))
        served, exact = (index.search(queries, k).ids for index in both)
        hits = [len(np.intersect1d(*pair)) for pair in zip(served, exact, strict=True)]
        found[space] = float(np.sum(hits) / exact.size)
    return found


if __name__ == "__main__":
    run_step(main)
