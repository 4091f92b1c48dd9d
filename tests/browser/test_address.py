"""The address of what is shown leads back to it, and one that leads nowhere is told."""

from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_compare import answered
from tests.browser.visits import Visit, ask, ask_own, choose_k, panel, show
from tests.fakes import FakeAttributor


def test_an_address_opens_the_same_page_again(page: Page, profile: BrowserContext, attributor: FakeAttributor) -> None:
    page.evaluate(
        """() => { const page = window.attributionPage, group = new Set(["birds", "sea life", "tools"]);
        page.setFilter({ group, licence: new Set(["GPL-2.0-or-later"]) }); page.askReference(60); }"""
    )
    page.wait_for_function("window.attributionPage.state.answer.gallery !== null")
    choose_k(page, 15)
    page.get_by_role("button", name="Morph").click()
    page.locator(".toolbar [data-value=source]").click()
    page.evaluate("window.attributionPage.explainMatch(7) && null")
    expect(page.locator(".explain-body")).to_have_attribute("data-state", "shown")
    page.locator(".explain-body .segment [data-space=aligned]").click()
    profile.grant_permissions(["clipboard-read", "clipboard-write"])
    panel(page).get_by_role("button", name="Copy link").click()
    expect(page.locator("dialog.takeaway > .takeaway-status")).to_have_text("The link is copied.")
    assert page.url == page.evaluate("navigator.clipboard.readText()")
    again = Visit(profile, page.url).open()
    expect(again.page.locator(".explain-body")).to_have_attribute("data-state", "shown")
    expect(again.page.locator(".explain-body")).to_have_attribute("data-space", "aligned")
    again.page.wait_for_function(
        "Math.abs(document.querySelector('#explain h2').getBoundingClientRect().top - 50) < 50"
    )
    expect(again.page.locator(".explain-body h3")).to_have_text(attributor.references[7].title)
    assert answered(again.page) == answered(page)
    expect(again.page.locator(".options .segment [aria-pressed=true]")).to_have_text("15")
    expect(again.page.locator(".chip")).to_have_count(4)
    expect(again.page.locator(".query-caption")).to_contain_text("searched again")
    expect(again.page.locator(".morph")).to_be_visible()
    expect(again.page.locator(".toolbar [data-value=source]")).to_have_attribute("aria-pressed", "true")
    assert again.page.url == page.url
    again.leave()


def test_back_undoes_a_view_a_search_again_and_an_example(page: Page, tmp_path: Path) -> None:
    ask(page, 3)
    ask_own(page, tmp_path / "mine.png")
    page.evaluate("window.attributionPage.askReference(50)")
    page.wait_for_function("window.attributionPage.state.answer.query.reference === 50")
    show(page, "Why it works")
    page.go_back()
    expect(page.locator("#view-compare")).to_be_visible()
    expect(page.locator(".query-caption")).to_contain_text("searched again")
    page.go_back()
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    page.go_back()
    page.wait_for_function("window.attributionPage.state.answer.query.id === 3")
    page.go_forward()
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
