"""How a measurement in a browser reaches the page's modules: one object that finds a name in whichever of them exports it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interface import scripts

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
#: for a page that has loaded: afterwards ``window.attributionPage`` has what the modules export, as it is at that moment
OPEN_DOOR = """async () => {
  const found = await Promise.all(%s.map((name) => import(new URL(name, document.baseURI).href)));
  window.attributionPage = new Proxy({}, { get: (_, name) => found.find((one) => name in one)?.[name] });
}"""
BLANK = "http://blank.invalid/"  # answered by the browser's own side: nothing is asked of a network


def chromium() -> str:
    """Path of the installed Chromium, or of the one named in $CHROMIUM.

    Raises:
        FileNotFoundError: there is none.
    """
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        raise FileNotFoundError("Chromium is needed: install it, or name its path in the variable CHROMIUM")
    return found


@contextmanager
def browser_page(path: str, width: int, height: int) -> Iterator[Any]:
    """A Playwright page in the Chromium at ``path``, so many pixels large."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()


def open_door(page: Any) -> None:
    """Reach the modules that a Playwright page has loaded; they are not loaded anew."""
    page.evaluate(OPEN_DOOR % json.dumps([f"{scripts.folder()}/{name}" for name in scripts.modules()]))


def open_blank(page: Any, html: str) -> None:
    """An otherwise empty Playwright page that can load the modules, without a server.

    Args:
        page: A Playwright page; what it held is replaced.
        html: What it holds instead.
    """

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(BLANK)
        if not name:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        else:
            route.fulfill(path=scripts.UI / name.removeprefix(f"{scripts.folder()}/"))

    page.unroute(BLANK + "**")
    page.route(BLANK + "**", answer)
    page.goto(BLANK)
    open_door(page)
