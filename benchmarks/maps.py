"""How long the maps take to draw, in a real browser: at a hover, at a zoom, in the morph, at 10,000 and 50,000 references.

    python -m benchmarks.maps --sizes 10000 50000 200000 --json maps.json       # needs Chromium, named in $CHROMIUM or found

The page's own scripts run on an otherwise empty page, over an invented collection. A figure is the time of all three maps (of the
one, for the morph), from the change until a pixel of each can be read back. A hover must stay within `BUDGETS`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from aad.spaces import SPACES
from benchmarks.common import arguments, finish, percentiles, run, table
from benchmarks.door import browser_page, chromium, open_blank
from interface.scripts import UI

BUDGETS = {10_000: 16.0, 50_000: 50.0}  # milliseconds that a hover may take
N_GROUPS = 24
WIDTH, HEIGHT = 1920, 1080  # of the window, in pixels
COLUMNS = {
    "references": "references",
    "change": "change",
    "median_ms": "median, ms",
    "p95_ms": "95th percentile, ms",
    "share": "of the budget",
}

# Times `change(i)` and all that the maps in question have to draw after it; the draw functions are called at once, so that the
# browser's own pace of 60 frames a second is not in the figure.
MEASURE = """({ name, n_rounds, n }) => {
  const page = window.attributionPage;
  const id = (i) => Math.floor((((i * 0.618034) % 1) * n));
  const [first] = page.everyMap.all;
  const square = (x) => [[x, x], [x + 0.3, x], [x + 0.3, x + 0.3], [x, x + 0.3]];
  const changes = {
    hover: (i) => {
      const [x, y] = [first.view.geometry.points[2 * id(i)], first.view.geometry.points[2 * id(i) + 1]];
      page.set("hover", first.view.geometry.nearest(x, y, 16 * first.perPixel(), page.passingNow()));
    },
    zoom: (i) => first.camera.look(0.5, 0.5, 1 + (i % 30) / 10),
    lasso: (i) => page.set("selection", first.view.geometry.inside(square(0.1 + 0.5 * ((i * 0.618034) % 1)))),
    legend: (i) => page.set("group", i % 5),
    morph: (i) => page.movingMap.go(((i * 0.618034) % 1) * 2),
  };
  page.set("selection", null); page.set("group", null); first.camera.reset();
  page.everyMap.show(name === "morph" ? "morph" : "trio");
  const maps = name === "morph" ? [page.movingMap.map] : page.everyMap.all.slice(0, 3);
  const finish = () => maps.forEach((map) => { map.draw(); map.canvas.getContext("2d").getImageData(0, 0, 1, 1); });
  return new Promise((resolve) => setTimeout(() => {
    finish();
    const times = [];
    for (let i = 0; i < n_rounds + 5; i++) {
      const began = performance.now();
      changes[name](i);
      finish();
      if (i >= 5) times.push(performance.now() - began);
    }
    resolve(times);
  }, 300));
}"""
START = """(catalogue) => {
  const page = window.attributionPage;
  page.setCatalogue(catalogue);
  page.mountMaps(document.getElementById("maps"));
  const answer = (space, s) => ({ position: [0.5, 0.5], remainder: 0.2, elsewhere: 0.3,
    matches: Array.from({ length: 15 }, (_, i) => (
      { id: (i * 97 + s * 31) % catalogue.n, rank: i + 1, similarity: 0.9 - i / 50, weight: 0.5 / 15 })) });
  page.set("answer", { status: "answer", k: 15, query: { truth: [5] },
    spaces: Object.fromEntries(catalogue.spaces.map(({ id }, s) => [id, answer(id, s)])) });
}"""


def invented_catalogue(n: int, *, seed: int = 0) -> dict[str, Any]:
    """A catalogue in the form of `interface.present.catalogue`, of n references in clusters that move between the spaces.

    Args:
        n: References.
        seed: Everything follows from it.

    Returns:
        JSON-ready dict.
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(N_GROUPS, size=n)
    centres = rng.uniform(0.1, 0.9, size=(N_GROUPS, 2))
    spread = rng.normal(size=(n, 2))
    spaces = []
    for width, space in zip((0.06, 0.05, 0.04), SPACES, strict=True):
        centres = np.clip(centres + 0.04 * rng.normal(size=centres.shape), 0.08, 0.92)
        places = np.clip(centres[group] + width * (spread + 0.3 * rng.normal(size=spread.shape)), 0, 1)
        levels = np.rint(places * 65535).astype("<u2")
        coordinates = base64.b64encode(levels.tobytes()).decode("ascii")
        spaces.append(
            {"id": str(space), "name": str(space), "line": "", "preservation": 0.4, "coordinates": coordinates}
        )
    words: dict[str, Any] = {
        "group": {"values": [f"group {i}" for i in range(N_GROUPS)], "index": group.tolist()},
        "source": {"values": ["one", "two", "three"], "index": (group % 3).tolist()},
        "split": {"values": ["train", "validation", "test"], "index": rng.integers(3, size=n).tolist()},
        **{field: {"values": [""], "index": [0] * n} for field in ("licence", "author", "url", "concept")},
    }
    return {
        "n": n,
        "titles": [f"Picture {i}" for i in range(n)],
        "files": ["x"] * n,
        "folders": {"values": ["data:image/gif;base64,R0lGODlhAQABAAAAACw="], "index": [0] * n},
        "words": words,
        "spaces": spaces,
        "examples": [],
    }


def blank_page() -> str:
    """HTML of a page that holds the real styles, and one empty slot for the maps."""
    styles = "".join(path.read_text(encoding="utf-8") for path in (UI / "page.css", UI / "maps.css"))
    body = '<div class="gradio-container"><div id="maps" class="part"><div class="slot"></div></div></div>'
    return f"<!doctype html><meta charset='utf-8'><style>{styles}</style><body>{body}</body>"


CHANGES = ("hover", "zoom", "lasso", "legend", "morph")


def measure(page: Any, n: int, *, n_rounds: int, names: Sequence[str] = CHANGES) -> dict[str, list[float]]:
    """Milliseconds of every kind of change, over n references on a Playwright page.

    Args:
        page: A Playwright page; what it held is replaced.
        n: References.
        n_rounds: Times each kind is measured, after five rounds that do not count.
        names: Kinds to measure.

    Returns:
        Kind of change -> (n_rounds,) times in milliseconds.
    """
    open_blank(page, blank_page())
    page.evaluate(START, invented_catalogue(n))
    page.wait_for_selector(".map canvas")
    page.wait_for_timeout(300)
    return {name: page.evaluate(MEASURE, {"name": name, "n_rounds": n_rounds, "n": n}) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON.

    Returns:
        0 when every hover stayed within its budget, else 1.
    """
    parser = arguments(__doc__, rounds=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(BUDGETS), help="numbers of references")
    options = parser.parse_args(argv)
    rows = []
    with browser_page(chromium(), WIDTH, HEIGHT) as page:
        version = page.context.browser.version
        for n in options.sizes:
            for name, times in measure(page, n, n_rounds=options.rounds).items():
                (median, high), budget = percentiles(times), BUDGETS.get(n) if name == "hover" else None
                row = {"references": n, "change": name, "median_ms": median, "p95_ms": high, "budget_ms": budget}
                rows.append(row | ({"share": high / budget} if budget else {}))
    told = {"chromium": version, "width": WIDTH, "ratio": 1.0, "rounds": options.rounds}
    finish(options.json, told | {"rows": rows}, lambda report: table(report["rows"], COLUMNS))
    return int(any(row.get("share", 0) > 1 for row in rows))


if __name__ == "__main__":
    run(main)
