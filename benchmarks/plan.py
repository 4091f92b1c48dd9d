"""A plan for very many images: machines, hours, money, memory and network, from the measured curves and named assumptions.

    python -m benchmarks.plan --images 100000000       # from docs/figures/scaling.json; by default a billion

What `benchmarks.scaling` measured is carried on in proportion to the number of images; what nobody measured here is in
`Assumptions`, and stands in the table as one. Embedding runs at the rate of one worker times its cores, less a tenth for
stragglers and retries.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aad.spaces import SPACES
from benchmarks.common import ROOT, positive, run, table

FIGURES = ROOT / "docs" / "figures" / "scaling.json"
BYTES_OF_A_NUMBER = 2  # float16, as a bundle keeps its rows
STRAGGLERS = 0.1  # of the working time
ROOM = 0.8  # of a machine's memory that codes may fill


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured here."""

    images: int = 1_000_000_000  # references
    picture_kb: float = 60.0  # of a stored picture, in kB: a JPEG of about 400 pixels
    cores: int = 32  # of one machine that embeds
    machines: int = 20  # that embed
    core_hour: float = 0.045  # price of a core for an hour, in dollars, on demand
    tb_month: float = 23.0  # price of a TB in object storage for a month, in dollars
    server_gb: int = 128  # memory of one machine that serves
    server_cores: int = 16  # its cores
    server_month: float = 700.0  # price of one such machine with local disks for a month, in dollars
    copies: int = 2  # of each shard that serve


DEFAULTS = Assumptions()


def plan(measured: Mapping[str, Any], assumed: Assumptions) -> list[dict[str, str]]:
    """The stages in order.

    Args:
        measured: the report of `benchmarks.scaling`.
        assumed: everything else.

    Returns:
        Rows of `what`, `amount` and `from`, the last saying how the amount comes about.

    Raises:
        ValueError: the report lacks a size or the embedding.
    """
    sizes = [row for row in measured["rows"] if "p50_ms" in row]
    workers = [row for row in measured["embedding"] if "images_per_s" in row]
    if not sizes or not workers:
        raise ValueError("the plan needs a measured size and embedding; run python -m benchmarks.scaling first")
    largest, one = sizes[-1], min(workers, key=lambda row: row["workers"])
    rate = one["images_per_s"] / one["workers"]
    n, dim = assumed.images, measured["dim"]
    times = n / largest["n"]

    core_hours = n / rate / 3600 / (1 - STRAGGLERS)
    hours = core_hours / assumed.cores / assumed.machines
    pictures_tb = n * assumed.picture_kb / 1e9
    rows_tb = n * dim * BYTES_OF_A_NUMBER * len(SPACES) / 1e12
    codes_gb = largest["index_gb"] * times * len(SPACES)
    shards = math.ceil(codes_gb / (assumed.server_gb * ROOM))
    encode_hours = largest["build_s"] * times * len(SPACES) / 3600 / shards
    per_shard = n / shards
    scan_ms = largest["p50_ms"] * per_shard / largest["n"] * len(SPACES)
    servers = shards * assumed.copies
    per_second = servers * assumed.server_cores * 1000 / (scan_ms * shards)

    rows = [
        ("pictures stored", f"{pictures_tb:,.0f} TB", f"{assumed.picture_kb:g} kB each, assumed"),
        (
            "decode, preprocess, embed",
            f"{core_hours:,.0f} core-hours",
            f"{rate:.0f} images a second and worker, measured; a tenth more for stragglers",
        ),
        (
            f"on {assumed.machines} machines of {assumed.cores} cores",
            f"{hours:,.1f} hours, ${core_hours * assumed.core_hour:,.0f}",
            f"${assumed.core_hour:g} a core-hour, assumed; workers share nothing",
        ),
        (
            "network to each of them",
            f"{pictures_tb * 8e3 / hours / 3600 / assumed.machines:.2f} Gbit/s",
            "every picture is read once",
        ),
        (
            f"rows of {len(SPACES)} spaces on disk",
            f"{rows_tb:,.1f} TB, ${rows_tb * assumed.tb_month:,.0f} a month",
            f"{dim} x float16; ${assumed.tb_month:g} a TB-month, assumed",
        ),
        (
            "codes in memory",
            f"{codes_gb:,.0f} GB",
            f"{largest['index_gb'] * 1e9 / largest['n']:.0f} bytes a row and space, measured at {largest['n']:,}",
        ),
        ("shards", f"{shards} of {per_shard / 1e6:,.0f} million", f"codes fill {ROOM:.0%} of {assumed.server_gb} GB"),
        (
            "building the index, a machine per shard",
            f"{encode_hours:,.1f} hours",
            f"{largest['build_s']:,.0f} s for {largest['n']:,} on {measured['machine']['cores']} cores, measured, carried on in "
            "proportion",
        ),
        (
            "machines that serve",
            f"{servers}, ${servers * assumed.server_month:,.0f} a month",
            f"{assumed.copies} copies; ${assumed.server_month:g} each, assumed",
        ),
        (
            "one query, three spaces, shards side by side",
            f"{scan_ms:,.0f} ms on one core of each",
            f"{largest['p50_ms']:.3g} ms a space at {largest['n']:,}, measured, carried on in proportion to the rows",
        ),
        (
            "the same, asked alone",
            f"{scan_ms / assumed.server_cores:,.0f} ms",
            f"a shard in {assumed.server_cores} parts, one on each core; that the memory keeps up is assumed",
        ),
        ("queries a second, all machines busy", f"{per_second:,.0f}", "a query keeps one core of every shard busy"),
    ]
    return [dict(zip(("what", "amount", "from"), row, strict=True)) for row in rows]


def tables(measured: Mapping[str, Any], assumed: Assumptions = DEFAULTS) -> str:
    """The plan as Markdown."""
    return table(plan(measured, assumed), {"what": "what", "amount": "amount", "from": "from"})


def main() -> int:
    """Print the plan as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=DEFAULTS.images, metavar="N", help="references (a billion)")
    print(tables(json.loads(FIGURES.read_bytes()), Assumptions(**vars(parser.parse_args()))))
    return 0


if __name__ == "__main__":
    run(main)
