"""axe-core on every view, light and dark: nothing. The text of the script comes with the package axe-playwright-python."""

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.visits import Visit, options, panel, rest, show, talk, unfold

# Of rows that are alike the first three: contrast takes time for each word.
RUN = """where => axe.run({ include: [where], exclude: ['.case:nth-child(n + 4)', '.hubs li:nth-child(n + 4)'] },
    { resultTypes: ['violations'] })"""


def faults(page: Page, where: str) -> list[str]:
    """Findings in one part of the page, each with the first elements it was found on."""
    page.wait_for_function("!document.querySelector('.is-pending')")
    rest(page)  # what fades in has its colours
    found: dict[str, Any] = page.evaluate(RUN, where)
    return [
        f"{one['id']} ({one['impact']}): " + "; ".join(node["html"][:160] for node in one["nodes"][:4])
        for one in found["violations"]
    ]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(profile: BrowserContext, address: str, theme: str) -> None:
    visit = Visit(profile, f"{address}?__theme={theme}").open()
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    unfold(page)
    options(page)
    found = {"compare, with its numbers and options": faults(page, "html")}
    page.evaluate("document.querySelector('.options').open = false")
    page.locator(".hit").first.click()
    found["card"] = faults(page, ".details")
    page.keyboard.press("Escape")
    panel(page)
    found["export"] = faults(page, "dialog.takeaway")
    page.keyboard.press("Escape")
    talk(page)
    found["talk"] = faults(page, "dialog.talk")
    page.keyboard.press("Escape")
    show(page, "Many pictures")
    found["many"] = faults(page, "#view-batch")
    show(page, "Why it works")
    page.evaluate("document.querySelectorAll('.exhibit').forEach(one => { one.open = true; })")
    found["why"] = faults(page, "#view-why")
    show(page, "Inspect")
    found["inspect"] = faults(page, "#view-inspect")
    for name in ("recall", "confusions", "hubs"):
        page.locator(f".inspect-tabs [data-value={name}]").click()
        page.wait_for_selector(f"#inspect-panel-{name} :is(tbody tr, button)")
        found[name] = faults(page, f"#inspect-panel-{name}")
    assert not any(found.values()), found
    page.locator("#nav button").first.evaluate("button => { button.textContent = ''; }")
    assert [fault.partition(" ")[0] for fault in faults(page, "#nav")] == ["button-name"], "a fault would be found"
    visit.leave()
