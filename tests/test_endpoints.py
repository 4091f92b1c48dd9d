"""The public endpoints: which there are, what they answer, and that every example of docs/api.md runs as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import app
from aad.spaces import SPACES
from interface import endpoints
from interface.requests import Refused
from interface.takeaway import MAX_FILES
from tests.fakes import FakeAttributor, free_port

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text("utf-8")
PUBLIC = ["/attribute", "/attribute_batch", "/bundled_queries", "/references", "/report"]


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=4)


@pytest.fixture(scope="module")
def address(attributor: FakeAttributor) -> Iterator[str]:
    url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
    yield url
    stop()


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    from gradio_client import Client

    return Client(address, verbose=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), (30, 120, 200)).save(tmp_path / "picture.png")
    Image.new("RGB", (48, 48), (200, 120, 90)).save(tmp_path / "second.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return tmp_path


def test_these_endpoints_are_public_and_no_other(client: Any) -> None:
    found = client.view_api(return_format="dict", print_info=False)
    assert sorted(found["named_endpoints"]) == PUBLIC
    assert not found["unnamed_endpoints"]
    assert sorted(re.findall(r"^\| `(/\w+)`", GUIDE, re.MULTILINE)) == PUBLIC, "the guide names each once"


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_every_python_example_of_the_guide_runs(code: str, address: str, folder: Path) -> None:
    settled = code.replace("http://127.0.0.1:7860", address.rstrip("/"))
    assert settled != code
    environment = {
        **os.environ,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", settled], cwd=folder, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    if "/report" in code:
        assert "</html>" in (folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize("code", re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL))
def test_every_shell_example_of_the_guide_runs(
    code: str, address: str, folder: Path, attributor: FakeAttributor
) -> None:
    settled = code.replace("http://127.0.0.1:7860", address.rstrip("/"))
    assert settled != code
    done = subprocess.run(["bash", "-euc", settled], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads((folder / re.findall(r"> (\w+\.json)", code)[0]).read_text("utf-8"))
    if "attribute" in code:
        expected = attributor.attribute(folder / "picture.png", 10).to_dict()
        assert {space: answer[space] for space in map(str, SPACES)} == expected
    else:
        assert len(answer["references"]) == len(attributor.references)


def test_batch_answers_each_file_in_order_and_tells_why_one_is_refused(
    client: Any, folder: Path, attributor: FakeAttributor
) -> None:
    from gradio_client import handle_file

    names = ["picture.png", "broken.png", "second.png"]
    reply = client.predict([handle_file(str(folder / name)) for name in names], 3, api_name="/attribute_batch")
    assert [result["file"] for result in reply["results"]] == names
    assert "spaces" not in reply["results"][1] and "broken.png" in reply["results"][1]["error"]
    for result in (reply["results"][0], reply["results"][2]):
        expected = attributor.attribute(folder / result["file"], 3).to_dict()
        assert result["spaces"] == expected
        for part in expected.values():
            for match in part["matches"]:
                title = attributor.references[match["reference_id"]].title
                assert reply["references"][str(match["reference_id"])]["title"] == title
    assert reply["stamp"]["bundle"] == attributor.stamp["bundle"]
    assert str(folder) not in json.dumps(reply), "no path of a machine"


def test_tables_come_in_pages_that_join_without_gap_or_path(client: Any, attributor: FakeAttributor) -> None:
    parts = [client.predict(start, 30, api_name="/references") for start in (0, 30)]
    rows = [row for part in parts for row in part["references"]]
    assert [row["reference_id"] for row in rows] == list(range(len(attributor.references)))
    assert parts[0]["total"] == len(rows) and len(parts[0]["references"]) == 30
    assert rows[3]["title"] == attributor.references[3].title
    queries = client.predict(5, 2, api_name="/bundled_queries")
    assert [row["query_id"] for row in queries["queries"]] == [5, 6]
    assert queries["queries"][0]["exemplar_ids"] == list(attributor.queries[5].exemplar_ids)
    assert queries["examples"] == list(attributor.examples)
    assert str(attributor.references[0].path.parent) not in json.dumps([parts, queries])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("/references", (-1, 10), "start must be a whole number from 0"),
        ("/references", (0, 1001), "count must be a whole number from 1 to 1000"),
        ("/references", (0.5, 1), "start must be a whole number"),
        ("/bundled_queries", (10_000, 1), "start must be"),
        ("/attribute_batch", ([], 5), "needs a list of image files"),
        ("/report", ([], 5), "needs a list of image files"),
    ],
)
def test_a_fault_reaches_the_client_in_words(client: Any, name: str, arguments: tuple[Any, ...], words: str) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=words):
        client.predict(*arguments, api_name=name)


@pytest.mark.parametrize("name", ["/attribute_batch", "/report"])
def test_k_out_of_range_is_refused_for_many_files_too(client: Any, folder: Path, name: str) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="k must be a whole number from 1 to 100"):
        client.predict([handle_file(str(folder / "picture.png"))], 0, api_name=name)


def test_too_many_files_are_refused_before_any_is_opened(attributor: FakeAttributor) -> None:
    with pytest.raises(Refused, match=f"at most {MAX_FILES} files in one call, got {MAX_FILES + 1}"):
        endpoints.attribute_files(attributor, ["nowhere.png"] * (MAX_FILES + 1), 5)


def test_report_of_nothing_usable_says_why(client: Any, folder: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=r"at least one usable picture: .*broken\.png"):
        client.predict([handle_file(str(folder / "broken.png"))], 5, api_name="/report")
