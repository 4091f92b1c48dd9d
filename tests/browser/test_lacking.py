"""A bundle of folders of one's own, which lacks what a view is about: each view says what is missing, and the page goes on."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visits import Visit
from tests.fakes import FakeAttributor


class Plain(FakeAttributor):
    """Of folders: no known sources, nothing measured, and a network without a grid of regions."""

    @property
    def explain(self) -> Any:
        raise AttributeError


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    attributor = Plain(tmp_path_factory.mktemp("pictures"), n_per_group=3)
    attributor.queries = tuple(replace(query, type="upload", exemplar_ids=()) for query in attributor.queries)
    attributor.stamp["calibration"] = "copied from bundle"
    return attributor


def test_without_known_sources_inspect_leads_back(page: Page) -> None:
    page.get_by_role("button", name="Inspect").click()
    notice = page.locator("#view-inspect .notice")
    expect(notice).to_contain_text("None of the 12 queries of this collection has one")
    notice.get_by_role("button").click()
    expect(page.locator("#view-compare")).to_be_visible()


def test_what_was_not_measured_is_said_with_the_command(page: Page) -> None:
    page.get_by_role("button", name="Why it works").click()
    commands = ["python -m precompute.measure_theory --bundle FOLDER", "python -m precompute.leave_out --bundle FOLDER"]
    expect(page.locator(".unmeasured code")).to_have_text(commands)
    assert all(find_spec(command.split()[2]) for command in commands)
    expect(page.locator(".toy-plot").first).to_be_visible()
    assert page.locator(".panels").count() == 0
    expect(page.locator("#imprint footer")).to_contain_text("Closeness is evidence, not proof")


def test_where_a_match_cannot_be_explained_the_reason_stands_instead(page: Page, desk: Visit) -> None:
    page.locator(".explain-offer button").click()
    expect(page.locator(".explain-body")).to_have_attribute("data-state", "absent")
    expect(page.locator(".explain-invite")).to_contain_text("does not pool its feature from a grid of regions")
    expect(page.locator(".heat-pane").first).to_be_visible()
    assert page.locator(".explain-invite button").count() == 0
    assert not [asked for asked in desk.requests if "component_server" in asked]


def test_all_queries_of_a_folder_are_listed_and_each_opens(page: Page) -> None:
    expect(page.locator(".verdict")).to_contain_text("How sure it is was measured on another collection.")
    page.get_by_role("button", name="Many pictures").click()
    page.get_by_role("button", name="All 12 of the folder").click()
    expect(page.locator(".batch-view .takeaway-status")).to_have_text("12 of 12 pictures compared.")
    rows = page.locator(".batch tbody tr")
    expect(rows).to_have_count(12)
    rows.nth(7).get_by_role("button").click()
    page.wait_for_function("window.attributionPage.state.answer.query.id === 7")
    expect(page.locator("#view-compare")).to_be_visible()
