"""axe-core on every view, light and dark: nothing serious. The text of the script comes with the package axe-playwright-python."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.visits import PATIENCE, Visit

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

THEMES = ["light", pytest.param("dark", marks=pytest.mark.slow)]
SERIOUS = {"serious", "critical"}
VIEWS = {
    "compare": ("", "#maps canvas"),
    "inspect": ("&view=inspect", "#inspect .cases img"),
    "why": ("&view=why", "#why canvas, #why svg"),
}


def faults(page: Page) -> list[str]:
    """Serious findings, each with the first elements it was found on."""
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']} ({one['impact']}): " + "; ".join(node["html"][:160] for node in one["nodes"][:4])
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


def opened(browser: Browser, address: str, theme: str, view: str) -> Visit:
    query, sign = VIEWS[view]
    visit = Visit.__new__(Visit)
    visit.context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    visit.page = visit.context.new_page()
    visit.page.set_default_timeout(PATIENCE)
    visit.page.goto(f"{address}?__theme={theme}{query}")
    visit.page.wait_for_selector(sign)
    visit.page.wait_for_timeout(500)  # what fades in has its colours
    return visit


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("view", list(VIEWS))
def test_axe_finds_nothing_serious(browser: Browser, address: str, theme: str, view: str) -> None:
    visit = opened(browser, address, theme, view)
    try:
        assert faults(visit.page) == []
    finally:
        visit.context.close()


@pytest.mark.parametrize("opener", ["Talk", "Take away"])
def test_axe_finds_nothing_serious_in_what_opens_over_the_page(browser: Browser, address: str, opener: str) -> None:
    visit = opened(browser, address, "light", "compare")
    try:
        visit.page.locator("#nav").get_by_role("button", name=opener, exact=True).click()
        visit.page.wait_for_timeout(1500)
        assert faults(visit.page) == []
    finally:
        visit.context.close()


def test_a_fault_would_be_found(browser: Browser, address: str) -> None:
    visit = opened(browser, address, "light", "compare")
    try:
        visit.page.evaluate("document.querySelector('#nav nav button').innerHTML = ''")
        assert any(fault.startswith("button-name") for fault in faults(visit.page))
    finally:
        visit.context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious_on_any_tab_of_inspect(browser: Browser, address: str, theme: str) -> None:
    visit = opened(browser, address, theme, "inspect")
    try:
        for name in ("Recall by kind", "Confusions", "Hubs"):
            visit.page.locator("#inspect").get_by_role("tab", name=name).click()
            visit.page.wait_for_timeout(1000)
            assert faults(visit.page) == [], name
    finally:
        visit.context.close()
