r"""AbC's evaluation on the authors' feature files, or on ours in the same form: recall@k and mean average precision.

Reads   LAION features (`laion_subset.pth`), the features of one test case (`test_artchive.pth`), and what embeds them: a --mapper
        of the authors' or the heads of a --bundle; without either the features themselves are compared
Writes  --out: per prompt type {"recall": {"5": x, "10": x, "100": x}, "map": x, "n_queries": n, ...}, and beside it
        FILE.queries.jsonl: per query the ranks and similarities of its exemplars and what ranked first

For each query the gallery is all LAION rows, then the exemplars of the query's own model. Recall@k is the share of these exemplars
among the first k; average precision is over the full ranking and divides by their number; both are means over queries. At equal
similarity LAION rows come first. An interrupted run goes on where it was when it is started again.

    python -m precompute.abc_evaluate --laion-features feats/dino/laion_subset.pth --test-features feats/dino/test_artchive.pth \
        --mapper weights/mapper/dino_tuned.pth --out results/test_artchive.json
    python -m precompute.abc_evaluate --table results/*.json
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aad.bundle import write_atomically
from aad.spaces import SPACES, Domain, Space
from precompute.abc import protocol, results
from precompute.abc.files import Laion, Maps, bundle_maps, read_mapper, read_test_case
from precompute.abc.splits import BenchmarkError
from precompute.common.cli import command_line, run_step
from precompute.common.store import write_table

HEAD = 1 << 20  # bytes of a file that its fingerprint reads; the size and the time catch the rest
FORMAT = 2  # of the counts; another number starts every interrupted run afresh


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--laion-features", type=Path, help="laion_subset.pth")
    add("--test-features", type=Path, help="features of one test case; the file's name names the case in the results")
    maps = parser.add_mutually_exclusive_group()
    maps.add_argument("--mapper", type=Path, help="an official mapper checkpoint")
    heads = "a bundle whose heads to use, real for the gallery, synthetic for queries"
    maps.add_argument("--bundle", type=Path, help=heads)
    add("--space", choices=[str(space) for space in SPACES], help="of the bundle (default: disentangled)")
    add("--recall-k", type=int, nargs="+", default=[5, 10, 100], help="(default: 5 10 100)")
    add("--out", type=Path, help="results file (default: NAME.results.json in this folder, NAME the test case)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    shown = "print R@5 of results files beside the published figures and stop"
    add("--table", nargs="+", metavar="FILE", help=shown)
    arguments = parser.parse_args(argv)
    if arguments.table:
        print(results.table(arguments.table))
        return
    if not arguments.laion_features or not arguments.test_features:
        parser.error("--laion-features and --test-features are required")
    if arguments.space and not arguments.bundle:
        parser.error("--space names a space of a --bundle")
    if min(arguments.recall_k) < 1:
        parser.error(f"--recall-k must be 1 or more, got {min(arguments.recall_k)}")
    if arguments.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BenchmarkError("--device cuda needs a GPU that torch can use, got none; use --device cpu")
    print(json.dumps(evaluate(arguments, command_line("precompute.abc_evaluate", argv)), indent=1))


def evaluate(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    """Run the protocol and write both result files; returns what ``--out`` holds."""
    test_case = arguments.test_features.stem
    out = arguments.out or Path(f"{test_case}.results.json")
    case = read_test_case(arguments.test_features)
    maps, mapped_by = _read_maps(arguments)
    laion = Laion(arguments.laion_features)
    of = {"LAION features": laion.shape[1], "test-case features": case.exemplars.shape[1]}
    of |= {"maps": maps[Domain.REAL].weight.shape[1]} if maps else {}
    if len(set(of.values())) > 1:
        told = ", ".join(f"{what} of {columns} columns" for what, columns in of.items())
        raise BenchmarkError(f"all must come from one backbone, got {told}; give files of the same backbone")
    used = {name: getattr(arguments, name) for name in ("test_features", "mapper", "laion_features")}
    contents = {name: fingerprint(path) for name, path in used.items() if path}
    inputs = {name: {"file": str(used[name]), **told} for name, told in contents.items()}
    digest = hashlib.sha256(json.dumps([FORMAT, mapped_by, contents], sort_keys=True).encode()).hexdigest()[:16]
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{digest}.work.npz")  # changes with all that changes the counts
    work = protocol.prepare(case, maps, arguments.device)
    tally, n = protocol.Tally.load(scratch, work), laion.shape[0]
    with tqdm(total=n, initial=tally.next_row, unit="row", unit_scale=True, disable=None) as bar:
        for n_done in protocol.sweep(laion, maps, work, tally, arguments.device):
            tally.keep(scratch)
            bar.update(n_done)
    records = results.per_query(laion, case, work, tally)
    queries_file = out.with_suffix(".queries.jsonl")
    facts = {
        "test_case": test_case,
        "n_laion": n,
        "ties": "LAION rows come first",
        "queries_file": queries_file.name,
        "embedded_by": mapped_by,
        "inputs": inputs,
        "command": command,
    }
    summaries = {kind: results.summary(some, arguments.recall_k) | facts for kind, some in records.items()}
    lines = [json.dumps({"type": kind} | one, ensure_ascii=False) + "\n" for kind in records for one in records[kind]]
    write_atomically(queries_file, "".join(lines).encode())
    write_table(out, summaries)
    scratch.unlink(missing_ok=True)
    return summaries


def _read_maps(arguments: argparse.Namespace) -> tuple[Maps, Any]:
    """The maps, and a description of them for the results."""
    if arguments.mapper:
        return read_mapper(arguments.mapper), "mapper"
    if arguments.bundle:
        space = Space(arguments.space or Space.DISENTANGLED)
        maps = bundle_maps(arguments.bundle, space)
        told = fingerprint(arguments.bundle / "heads.safetensors")
        return maps, {"bundle": str(arguments.bundle), "space": space, **told}
    return {}, "nothing: the features themselves"


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes, time of the last change in ns and sha256 of the first MiB: tells files apart without reading all of them."""
    status = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256_head": head}


if __name__ == "__main__":
    run_step(main)
