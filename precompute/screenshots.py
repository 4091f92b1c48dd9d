"""Take the README's pictures of the page: compare, inspect and why, from the shipped bundle.

Reads   the bundle, through app.py in a process of its own
Writes  assets/screenshot.webp, screenshot_inspect.webp and screenshot_why.webp

Needs Chromium (``apt-get install chromium``, or its path in the variable CHROMIUM) and requirements-dev.txt.

    python -m precompute.screenshots
"""

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from aad.bundle import write_atomically
from precompute.common.cli import run_step

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 1280  # CSS pixels
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SHOTS = {  # file -> address, what must be there before the picture is taken, height
    "screenshot.webp": ("", "#maps canvas", 1180),
    "screenshot_inspect.webp": ("&view=inspect", "#inspect .cases img", 1080),
    "screenshot_why.webp": ("&view=why", "#why canvas, #why svg", 1180),
}
PATIENCE = 60  # seconds


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "assets", help="folder of the pictures (assets/)")
    arguments = parser.parse_args(argv)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise FileNotFoundError("Chromium is needed: install it, or name its path in the variable CHROMIUM")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/?__theme=light"
    server = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _wait_for(address, server)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, picture in _taken(address, path):
            write_atomically(arguments.out / name, picture)
            print(f"{arguments.out / name}: {len(picture) / 1000:.0f} kB")
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str, server: subprocess.Popen[Any]) -> None:
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"app.py showed no page within {PATIENCE} s; start it by hand to see why")


def _taken(address: str, chromium: str) -> Iterator[tuple[str, bytes]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, (view, sign, height) in SHOTS.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(address + view)
            page.wait_for_selector(sign, timeout=1000 * PATIENCE)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(2000)  # pictures fade in
            buffer = io.BytesIO()
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(buffer, "WEBP", quality=82, method=6)
            page.close()
            yield name, buffer.getvalue()
        browser.close()


if __name__ == "__main__":
    run_step(main)
