"""A plan for very many images: machines, hours, money, memory and network, from the measured curves and named assumptions.

    python -m benchmarks.plan --images 100000000       # from docs/figures; by default a billion

What `benchmarks.search` and `benchmarks.workers` measured is carried on in proportion to the number of images; what nobody measured
here is a constant below, and stands in the table as assumed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from typing import Any

from aad.spaces import SPACES
from benchmarks.common import FIGURES, positive, run, table

BILLION = 1_000_000_000
BYTES_OF_A_NUMBER = 2  # float16, as a bundle keeps its rows
STRAGGLERS = 0.1  # of the working time, with retries
ROOM = 0.8  # of a machine's memory that codes may fill
PICTURE_KB = 60  # of a stored picture: a JPEG of about 400 pixels
CORES, MACHINES = 32, 20  # of one machine that embeds; that many of them
CORE_HOUR, TB_MONTH, SERVER_MONTH = 0.045, 23, 700  # dollars: of a core, of object storage, of a machine that serves
SERVER_GB, SERVER_CORES = 128, 16  # of one machine that serves
COPIES = 2  # of each shard that serve


def plan(measured: Mapping[str, Any], embedding: Mapping[str, Any], n: int) -> list[tuple[str, str, str]]:
    """The stages in order: what, its amount, and how the amount comes about.

    Args:
        measured: the report of `benchmarks.search`, whose largest size counts.
        embedding: the report of `benchmarks.workers`.
        n: references.
    """
    largest, one, dim = measured["rows"][-1], embedding["rows"][0], measured["dim"]
    rate = one["images_per_s"] / one["workers"]
    times = n / largest["n"]
    core_hours = n / rate / 3600 / (1 - STRAGGLERS)
    hours = core_hours / CORES / MACHINES
    pictures_tb = n * PICTURE_KB / 1e9
    rows_tb = n * dim * BYTES_OF_A_NUMBER * len(SPACES) / 1e12
    codes_gb = largest["index_gb"] * times * len(SPACES)
    shards = math.ceil(codes_gb / (SERVER_GB * ROOM))
    encode_hours = largest["build_s"] * times * len(SPACES) / 3600 / shards
    scan_ms = largest["p50_ms"] * times / shards * len(SPACES)
    servers = shards * COPIES
    per_second = servers * SERVER_CORES * 1000 / (scan_ms * shards)
    at, cores = f"{largest['n']:,}", measured["machine"]["cores"]
    return [
        ("pictures stored", f"{pictures_tb:,.0f} TB", f"{PICTURE_KB} kB each, assumed"),
        (
            "decode, preprocess, embed",
            f"{core_hours:,.0f} core-hours",
            f"{rate:.0f} images a second and worker, measured; a tenth more for stragglers",
        ),
        (
            f"on {MACHINES} machines of {CORES} cores",
            f"{hours:,.1f} hours, ${core_hours * CORE_HOUR:,.0f}",
            f"${CORE_HOUR:g} a core-hour, assumed; workers share nothing",
        ),
        (
            "network to each of them",
            f"{pictures_tb * 8e3 / hours / 3600 / MACHINES:.2f} Gbit/s",
            "every picture is read once",
        ),
        (
            f"rows of {len(SPACES)} spaces on disk",
            f"{rows_tb:,.1f} TB, ${rows_tb * TB_MONTH:,.0f} a month",
            f"{dim} x float16; ${TB_MONTH} a TB-month, assumed",
        ),
        (
            "codes in memory",
            f"{codes_gb:,.0f} GB",
            f"{largest['index_gb'] * 1e9 / largest['n']:.0f} bytes a row and space, measured at {at}",
        ),
        ("shards", f"{shards} of {n / shards / 1e6:,.0f} million", f"codes fill {ROOM:.0%} of {SERVER_GB} GB"),
        (
            "building the index, a machine per shard",
            f"{encode_hours:,.1f} hours",
            f"{largest['build_s']:,.0f} s for {at} on {cores} cores, measured, carried on in proportion",
        ),
        (
            "machines that serve",
            f"{servers}, ${servers * SERVER_MONTH:,.0f} a month",
            f"{COPIES} copies; ${SERVER_MONTH} each, assumed",
        ),
        (
            "one query, three spaces, shards side by side",
            f"{scan_ms:,.0f} ms on one core of each",
            f"{largest['p50_ms']:.3g} ms a space at {at}, measured, carried on in proportion to the rows",
        ),
        (
            "the same, asked alone",
            f"{scan_ms / SERVER_CORES:,.0f} ms",
            f"a shard in {SERVER_CORES} parts, one on each core; that the memory keeps up is assumed",
        ),
        ("queries a second, all machines busy", f"{per_second:,.0f}", "a query keeps one core of every shard busy"),
    ]


def tables(measured: Mapping[str, Any], images: int = BILLION) -> str:
    """The plan as Markdown, from the report of `benchmarks.search`."""
    words = ("what", "amount", "from")
    embedding = json.loads((FIGURES / "workers.json").read_bytes())
    rows = [dict(zip(words, row, strict=True)) for row in plan(measured, embedding, images)]
    return table(rows, dict(zip(words, words, strict=True)))


def main() -> int:
    """Print the plan as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=BILLION, metavar="N", help="references (a billion)")
    options = parser.parse_args()
    print(tables(json.loads((FIGURES / "scaling.json").read_bytes()), options.images))
    return 0


if __name__ == "__main__":
    run(main)
