"""What every browser test stands on: the page served with invented pictures, Chromium, and a visit that watches what is asked.

Server and browser start once, for all files of this folder. Where there is no browser these tests are left out, and the last
lines of the run say so; with NEED_BROWSER=1 in the environment they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import app
from aad.bundle import Bundle
from benchmarks.common import chromium
from benchmarks.serving import free_port
from tests.browser import HAS_PLAYWRIGHT
from tests.browser.visits import WINDOW, Visit
from tests.fakes import FakeAttributor

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests out where they cannot run; the server runs in this process, and its libraries warn of their own affairs."""
    lacking = "" if HAS_PLAYWRIGHT else "they need the package playwright (requirements-dev.txt)"
    try:
        chromium()
    except FileNotFoundError as error:
        lacking = lacking or str(error)
    for module in {item.getparent(pytest.Module) for item in items if HERE in item.path.parents} - {None}:
        module.add_marker(pytest.mark.filterwarnings("ignore"))
        if lacking and not os.environ.get("NEED_BROWSER"):
            module.add_marker(pytest.mark.skip(reason=lacking))


@pytest.fixture(scope="package")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    """Invented pictures and queries; what was measured beside is the bundle's that ships."""
    attributor = FakeAttributor(tmp_path_factory.mktemp("pictures"), n_queries=90)
    attributor.bundle = Bundle.open()
    return attributor


@pytest.fixture(scope="package")
def serve() -> Iterator[Callable[[FakeAttributor], str]]:
    """Gives the address of an attributor's page; each is served once."""
    stops = []

    @cache
    def address(attributor: FakeAttributor) -> str:
        url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
        stops.append(stop)
        return url

    yield address
    for stop in stops:
        stop()


@pytest.fixture(scope="module")  # a module may have an attributor of its own
def address(attributor: FakeAttributor, serve: Callable[[FakeAttributor], str]) -> str:
    return serve(attributor)


@pytest.fixture(scope="package")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A visitor who comes back: scripts are fetched and compiled once, which is half of what opening the page takes."""
    folder = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"], viewport=WINDOW
        )
        yield context
        context.close()


@pytest.fixture(scope="package")
def browser(profile: BrowserContext) -> Browser:
    """For visitors who have never been there."""
    assert profile.browser is not None
    return profile.browser


@pytest.fixture
def visit(profile: BrowserContext, address: str) -> Iterator[Visit]:
    """A page of its own, for a test that leaves something behind."""
    visit = Visit(profile, address + "?__theme=light").open()
    yield visit
    visit.leave()


@pytest.fixture(scope="package")
def desks(profile: BrowserContext) -> Iterator[dict[str, Visit]]:
    visits: dict[str, Visit] = {}
    yield visits
    for visit in visits.values():
        visit.leave()


@pytest.fixture(scope="module")
def desk(profile: BrowserContext, address: str, desks: dict[str, Visit]) -> Visit:
    """One page for all tests of an attributor that `Visit.home` brings back to where they began: opening one takes seconds."""
    if address not in desks:
        desks[address] = Visit(profile, address + "?__theme=light")
    return desks[address]


@pytest.fixture
def page(desk: Visit, request: pytest.FixtureRequest) -> Iterator[Page]:
    n_failed = request.session.testsfailed
    yield desk.home()
    desk.is_spoilt = request.session.testsfailed > n_failed
    desk.check()
