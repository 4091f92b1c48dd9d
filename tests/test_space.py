"""The repository as a Space on the hub: its front matter, and the app from a bare clone with a Space's settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml

from aad.spaces import SPACES
from benchmarks.serving import free_port
from tests.served import started

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
GIT_LIMIT = 10 * 2**20  # of the hub, for a file that is not in its large file store
BLOCKED = """
import socket
def refuse(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
        raise RuntimeError(f"the app reached for {address}")
    return connect(self, address)
connect, socket.socket.connect = socket.socket.connect, refuse
print("other machines are out of reach", flush=True)
"""


def test_the_front_matter_is_as_the_hub_takes_it_and_names_the_versions_that_are_pinned() -> None:
    found = re.match(r"---\n(.*?)\n---\n", README, re.DOTALL)
    assert found, "README.md opens with the Space's settings"
    front = yaml.safe_load(found[1])
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), "every version is exact"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert front["sdk"] == "gradio" and f"gradio=={front['sdk_version']}" in lines
    assert project["requires-python"] == f">={front['python_version']}"
    assert project["license"].lower() == front["license"]
    assert (ROOT / front["app_file"]).is_file()
    assert front["title"] and 0 < len(front["short_description"]) <= 60
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert isinstance(front["pinned"], bool) and isinstance(front["sdk_version"], str)
    assert isinstance(front["python_version"], str)  # 3.10 as a number would be 3.1


def tracked() -> list[str]:
    """What a clone has: tracked files as they are now, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_is_too_large_for_the_hub() -> None:
    """But for rows, which ``hf upload`` sends as LFS."""
    large = {name for name in tracked() if (ROOT / name).stat().st_size > GIT_LIMIT}
    assert large <= {"assets/bundle/queries_backbone.npy"}


@pytest.mark.slow
def test_the_app_starts_from_a_bare_clone_as_a_space_and_answers(tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    port, home, clone = free_port(), tmp_path / "home", tmp_path / "app"
    for name in tracked():
        if not name.startswith(("tests/", "docs/", "precompute/")):  # the page must not need them
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)
    home.touch()  # a home that nobody, not even root, can write into
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKED)
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "OMP_NUM_THREADS") if key in os.environ}
    settings = {
        "HOME": str(home),
        "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{clone}",
        "SYSTEM": "spaces",
        "SPACE_ID": "tester/where-from",
        "SPACE_HOST": "tester-where-from.hf.space",
        "SPACE_AUTHOR_NAME": "tester",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
    }
    log = tmp_path / "log"
    with started([sys.executable, "app.py"], port, log, cwd=clone, env={**kept, **settings}) as server:
        url = f"http://127.0.0.1:{port}/"
        assert "Where did this image come from?" in httpx.get(url).text
        asked = httpx.get(url + "config").json()
        assert asked["space_id"] == "tester/where-from"
        config = str(asked["components"])
        shown = re.search(r"gradio_api/file=(\S+?/assets/abc_mini/synth/[^'\"]+\.webp)", config)
        assert shown and Path(shown[1]).is_relative_to(clone)
        assert httpx.get(f"{url}gradio_api/file={shown[1]}").headers["content-type"] == "image/webp"
        assert httpx.get(f"{url}gradio_api/file={clone / 'app.py'}").status_code == 403
        reply = Client(url, verbose=False).predict(handle_file(shown[1]), 3, api_name="/attribute")
        assert all(len(reply[space]["matches"]) == 3 for space in SPACES)
        assert "out of reach" in log.read_text() and "reached for" not in log.read_text()
        assert "libtorch" not in Path(f"/proc/{server.pid}/maps").read_text(), "the network has a process of its own"
