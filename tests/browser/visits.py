"""A visit to the page in a real browser, and what tests ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from benchmarks.door import open_door
from tests.fakes import FakeAttributor

WINDOW: Any = {"width": 1280, "height": 800}
PATIENCE = 20_000  # milliseconds; two slow cores


class Visit:
    """A page that keeps what it asked for and what it complained about.

    Args:
        browser: where the visitor has never been; or a profile, whose next page this is.
        url: of the page.
        context: how the browser differs from the usual one; a profile is as it is.
    """

    def __init__(self, browser: Browser | BrowserContext, url: str, **context: Any) -> None:
        if isinstance(browser, Browser):
            self.context = browser.new_context(**{"viewport": WINDOW, **context})
        else:
            self.context = browser
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.set_default_timeout(PATIENCE)
        self.page.goto(url)
        self.page.wait_for_selector(".match", timeout=PATIENCE)
        self.page.wait_for_selector(".map canvas", timeout=PATIENCE)
        open_door(self.page)


def rest(page: Page) -> None:
    """Wait until nothing on the page moves or is about to be drawn."""
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )


def upload(page: Page, path: Path) -> None:
    """Give the page a file, as a visitor picks one."""
    page.locator("#query-picture input[type=file]").first.set_input_files(path)


def ink(page: Page, index: int) -> int:
    """Number of opaque pixels on one map."""
    script = """i => { const c = document.querySelectorAll('.map .plot canvas')[i];
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let j = 3; j < d.length; j += 4) n += d[j] > 0; return n; }"""
    return int(page.evaluate(script, index))


def points_of(page: Page, attributor: FakeAttributor, space: str, reference_id: int) -> tuple[float, float]:
    """Where a reference lies on a map's canvas, in CSS pixels; 22 pixels of margin as in map.js."""
    box = page.locator(f".map[data-space={space}] .plot canvas").bounding_box()
    assert box is not None
    x, y = attributor.coordinates[space][reference_id]  # type: ignore[index]
    side, pad = box["width"], 22
    return pad + float(x) * (side - 2 * pad), side - pad - float(y) * (side - 2 * pad)
