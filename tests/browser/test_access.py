"""axe-core on every view, light and dark: nothing serious. The text of the script comes with the package axe-playwright-python."""

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.visits import Visit, panel, rest, show, talk


def faults(page: Page, where: str) -> list[str]:
    """Serious findings in one part of the page, each with the first elements it was found on."""
    page.wait_for_function("!document.querySelector('.is-pending')")
    rest(page)  # what fades in has its colours
    found: dict[str, Any] = page.evaluate("where => axe.run(where, { resultTypes: ['violations'] })", where)
    return [
        f"{one['id']} ({one['impact']}): " + "; ".join(node["html"][:160] for node in one["nodes"][:4])
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious(profile: BrowserContext, address: str, theme: str) -> None:
    visit = Visit(profile, f"{address}?__theme={theme}").open()
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = {"compare": faults(page, "html")}
    panel(page)
    found["take away"] = faults(page, "dialog.takeaway")
    page.keyboard.press("Escape")
    talk(page)
    found["talk"] = faults(page, "dialog.talk")
    page.keyboard.press("Escape")
    show(page, "Why it works")
    found["why"] = faults(page, "#view-why")
    show(page, "Inspect")
    found["inspect"] = faults(page, "#view-inspect")
    for name in ("recall", "confusions", "hubs"):
        page.locator(f"#inspect-tab-{name}").click()
        page.wait_for_selector(f"#inspect-panel-{name} :is(tbody tr, button)")
        found[name] = faults(page, f"#inspect-panel-{name}")
    assert not any(found.values()), found
    page.locator("#nav button").first.evaluate("button => { button.textContent = ''; }")
    assert [fault.partition(" ")[0] for fault in faults(page, "#nav")] == ["button-name"], "a fault would be found"
    visit.leave()
