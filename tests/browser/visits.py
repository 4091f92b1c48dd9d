"""A visit to the page in a real browser, and what tests do there and ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from interface import scripts
from interface.page import DEFAULT_K

WINDOW: Any = {"width": 1280, "height": 800}
PATIENCE = 20_000  # milliseconds; two slow cores
PAD = 22  # pixels around the frame of a map, as in map.js
# Afterwards ``window.attributionPage`` has what the page's modules export, as it is at that moment; they are not loaded anew.
OPEN_DOOR = """async (names) => {
  const found = await Promise.all(names.map((name) => import(new URL(name, document.baseURI).href)));
  window.attributionPage = new Proxy({}, { get: (_, name) => found.find((one) => name in one)?.[name] });
}"""
# All that a visitor may have opened, chosen, moved or asked, back to what the page shows at first; what stays otherwise
# (the slider of a toy) is for a test with a page of its own.
HOME = """k => { const page = window.attributionPage, { set, state } = page, first = page.catalogue.examples[0].id;
  const plain = decodeURIComponent;
  document.querySelectorAll("dialog[open]").forEach(one => one.close());
  for (const one of [".segment button:last-child", "> header button", ".all-numbers[open] > summary"])
    document.querySelectorAll(`.explain-body ${one}`).forEach(found => found.click());
  document.querySelectorAll(".filter[open] > summary").forEach(one => one.click());
  document.querySelectorAll(".numbers[open], .options[open], .exhibit[open]").forEach(one => { one.open = false; });
  document.activeElement?.blur();
  for (const name of ["selected", "selection", "group", "hover"]) set(name, null);
  for (const [name, value] of [["lasso", false], ["mapsShown", "trio"], ["colours", "group"]]) set(name, value);
  page.everyMap.all.forEach(({ camera }) => camera.reset());
  page.movingMap.halt();
  page.movingMap.go(0);
  page.setFilter(null);
  page.showView("compare");
  window.isHome = () => { const { answer, busy } = state; return !busy && !state.talk && !document.fullscreenElement
    && answer?.query?.id === first && answer.k === k && !answer.gallery
    && plain(document.querySelector("#query-picture img")?.src ?? "").endsWith(plain(answer.query.url)); };
  if (window.isHome()) return;
  if (state.answer?.k !== k) page.chooseK(k);
  page.askQuery(first); }"""
ANSWERED = "id => !attributionPage.state.busy && attributionPage.state.answer?.query?.id === id"

expect.set_options(timeout=PATIENCE)


class Visit:
    """A page that keeps what it asked for and what it complained about.

    Args:
        context: The browser's profile, whose next page this is; or a browser, where the visitor has never been.
        url: Of the page.
        more: How such a browser differs from the usual one.
    """

    def __init__(self, context: Browser | BrowserContext, url: str, **more: Any) -> None:
        self.own = context.new_context(**{"viewport": WINDOW, **more}) if isinstance(context, Browser) else None
        self.context: Any = self.own or context
        self.url = url
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.set_default_timeout(PATIENCE)
        self.is_spoilt = True

    def open(self) -> Visit:
        self.page.goto(self.url)
        for sign in (".match", ".map canvas"):
            self.page.wait_for_selector(sign, state="attached")
        self.page.evaluate(OPEN_DOOR, [f"{scripts.folder()}/{name}" for name in scripts.modules()])
        self.is_spoilt = False
        return self

    def home(self) -> Page:
        """The page as it was first shown; opened anew only where a test has failed on it."""
        if self.is_spoilt:
            self.open()
        self.page.bring_to_front()  # behind another page it would be drawn once a second
        if self.own is None and self.page.viewport_size != WINDOW:
            self.page.set_viewport_size(WINDOW)
        self.page.emulate_media(reduced_motion="null")
        self.page.unroute_all()
        self.page.evaluate(HOME, DEFAULT_K)
        self.page.wait_for_function("window.isHome()")
        self.page.evaluate("address => history.replaceState(null, '', address)", self.url)
        self.page.mouse.move(1, 1)
        return self.page

    def check(self) -> None:
        """Nobody else was asked, nothing was complained of, nothing of the visitor is kept."""
        complaints, self.complaints[:] = [*self.complaints], []
        here = self.url.partition("?")[0].rstrip("/")
        outside = [url for url in self.requests if not url.startswith((here, "data:", "blob:", "about:"))]
        kept = self.page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
        assert not outside, f"the page must ask nobody else, it asked {outside}"
        assert not complaints, complaints
        assert (kept, self.context.cookies()) == ([[], []], []), (
            "the page keeps nothing, so the next visitor is another"
        )

    def leave(self) -> None:
        """Check, and leave the browser to the next as it was."""
        try:
            self.check()
        finally:
            self.context.set_offline(False)
            self.context.clear_permissions()
            (self.own or self.page).close()


def rest(page: Page) -> None:
    """Wait until nothing on the page moves or is about to be drawn."""
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )


def show(page: Page, view: str) -> None:
    """Go to a view by its name in the navigation, and wait for what it holds."""
    page.locator("#nav").get_by_role("button", name=view, exact=True).click()
    page.wait_for_selector(
        {"Inspect": ".case", "Why it works": ".toy-plot", "Compare": "#view-compare", "Many pictures": ".batch-view"}[
            view
        ]
    )


def ask(page: Page, query_id: int) -> None:
    page.evaluate("id => window.attributionPage.askQuery(id)", query_id)
    page.wait_for_function(ANSWERED, arg=query_id)


def choose_k(page: Page, k: int) -> None:
    options(page).locator(f".segment [data-value='{k}']").click()
    page.wait_for_function("k => window.attributionPage.state.answer.k === k", arg=k)


def options(page: Page) -> Any:
    """The panel behind the one button, opened."""
    page.evaluate("document.querySelector('.options').open = true")
    return page.locator(".options-panel")


def unfold(page: Page) -> None:
    """Show the numbers of every column."""
    page.evaluate("document.querySelectorAll('.numbers').forEach(one => { one.open = true; })")


def picture(path: Path) -> Path:
    """A small picture of one colour, as a file of the visitor's."""
    Image.new("RGB", (300, 200), (200, 80, 40)).save(path)
    return path


def upload(page: Page, path: Path) -> None:
    """Give the page a file, as a visitor picks one."""
    page.locator("#query-picture input[type=file]").first.set_input_files(path)


def ask_own(page: Page, path: Path) -> Path:
    """A picture of the visitor's, uploaded and answered."""
    upload(page, picture(path))
    expect(page.locator(".query-caption")).to_contain_text("Your picture")
    return path


def orders(page: Page) -> dict[str, list[int]]:
    """Ids as each space's answer ranks them."""
    spaces = page.evaluate("window.attributionPage.state.answer.spaces")
    return {space: [match["id"] for match in found["matches"]] for space, found in spaces.items()}


def panel(page: Page) -> Any:
    """The panel to take away from, opened."""
    page.get_by_role("button", name="Export", exact=True).click()
    dialog = page.get_by_role("dialog", name="Export")
    expect(dialog).to_be_visible()
    return dialog


def take(page: Page, name: str, folder: Path, place: Any = None) -> Path:
    """A file that the panel, or another place, offers by a name, saved."""
    with page.expect_download() as download:
        (place or page.get_by_role("dialog", name="Export")).get_by_role("button", name=name, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def talk(page: Page) -> None:
    page.keyboard.press("f")
    page.wait_for_selector(".talk[data-ready]")


def canvas_of(space: str) -> str:
    return f".map[data-space={space}] .plot canvas"


def pixels(page: Page, coordinates: np.ndarray, canvas: str, camera: tuple[float, ...] = (0.5, 0.5, 1)) -> np.ndarray:
    """Where (n, 2) coordinates of a map lie on the window, in CSS pixels."""
    box = page.locator(canvas).bounding_box()
    assert box is not None
    step = camera[2] * (box["width"] - 2 * PAD)
    x = box["x"] + box["width"] / 2 + (coordinates[:, 0] - camera[0]) * step
    y = box["y"] + box["height"] / 2 - (coordinates[:, 1] - camera[1]) * step
    return np.stack([x, y], axis=1)


def point_at(page: Page, place: np.ndarray) -> None:
    page.mouse.move(float(place[0]), float(place[1]))


def show_maps(page: Page) -> None:
    """Scroll so that the maps lie wholly in the window, and let the page come to rest."""
    page.evaluate("document.querySelector('#maps .toolbar').scrollIntoView()")
    rest(page)


def scrolls_sideways(page: Page) -> bool:
    window = page.viewport_size  # Gradio's frame cuts off what is wider: it has the width, not the document
    return bool(window and page.evaluate("document.querySelector('.gradio-container').scrollWidth") > window["width"])
