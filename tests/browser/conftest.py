"""What every browser test stands on: the page served with invented pictures, Chromium, and a visit that watches what is asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

import app
from tests.browser.visits import WINDOW, Visit
from tests.fakes import FakeAttributor, free_port

BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def address(attributor: FakeAttributor) -> Iterator[str]:
    url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
    yield url
    stop()


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A visitor who comes back: scripts are fetched and compiled once, which is half of what opening the page takes."""
    path = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
    if not Path(path).exists():
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if found is None:
            pytest.fail("the browser tests need Chromium: install it, or name its path in the variable CHROMIUM")
        path = found
    folder = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=path, args=BROWSER_FLAGS, viewport=WINDOW
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def browser(profile: BrowserContext) -> Browser:
    """For visitors who have never been there."""
    assert profile.browser is not None
    return profile.browser


@pytest.fixture
def visit(profile: BrowserContext, address: str) -> Iterator[Visit]:
    visit = Visit(profile, address + "?__theme=light")
    yield visit
    kept = visit.page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
    profile.set_offline(False)
    profile.clear_permissions()
    for page in profile.pages[1:]:  # the first is the empty one that a browser starts with
        page.close()
    outside = [url for url in visit.requests if not url.startswith((address.rstrip("/"), "data:", "blob:"))]
    assert not outside, f"the page must ask nobody else, it asked {outside}"
    assert not visit.complaints, visit.complaints
    assert (kept, profile.cookies()) == ([[], []], []), "the page keeps nothing of a visitor, so the next is another"
