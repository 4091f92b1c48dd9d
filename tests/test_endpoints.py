"""The public endpoints: which there are, what they answer and refuse, and that every example of docs/api.md runs as it stands."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from aad.answers import Attribution
from aad.spaces import SPACES
from aad.verdict import Verdict
from interface import endpoints
from interface.requests import MAX_FILES, Refused
from tests.pages import MARKS, Page

pytestmark = MARKS

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
PUBLIC = ["/attribute", "/attribute_batch", "/bundled_queries", "/references", "/report"]


@pytest.fixture(autouse=True)
def judged(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that carry a verdict, as those of a bundle with a judge do."""
    plain = page.attributor.attribute

    def attribute(*given: Any, **options: Any) -> Attribution:
        found = plain(*given, **options)
        return replace(found, verdict=Verdict("found", found["disentangled"].matches[0].reference_id, 0.9))

    monkeypatch.setattr(page.attributor, "attribute", attribute)


@pytest.fixture(scope="module")
def client(page: Page) -> Client:
    return Client(page.url, verbose=False)


@pytest.fixture
def folder(picture: Path, tmp_path: Path) -> Path:
    Image.new("RGB", (48, 48), (200, 120, 90)).save(tmp_path / "second.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return tmp_path


def test_these_endpoints_are_public_and_no_other(client: Client) -> None:
    found = client.view_api(return_format="dict", print_info=False)
    assert sorted(found["named_endpoints"]) == PUBLIC
    assert not found["unnamed_endpoints"]
    assert sorted(re.findall(r"^\| `(/\w+)`", GUIDE, re.MULTILINE)) == PUBLIC, "the guide names each once"


def test_every_python_example_of_the_guide_runs(page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [code.replace("http://127.0.0.1:7860", page.url.rstrip("/")) for code in PYTHON]
    assert len(examples) == GUIDE.count("```python") == sum(page.url.rstrip("/") in code for code in examples)
    monkeypatch.chdir(folder)
    for code in examples:
        exec(compile(code, "docs/api.md", "exec"), {})
    assert "</html>" in (folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize("code", re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL))
def test_every_shell_example_of_the_guide_runs(code: str, folder: Path, page: Page) -> None:
    settled = code.replace("http://127.0.0.1:7860", page.url.rstrip("/"))
    assert settled != code
    done = subprocess.run(["bash", "-euc", settled], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads((folder / re.findall(r"> (\w+\.json)", code)[0]).read_text("utf-8"))
    if "attribute" in code:
        expected = page.attributor.attribute(folder / "picture.png", 10).to_dict()
        assert {key: answer[key] for key in (*map(str, SPACES), "verdict")} == expected
    else:
        assert len(answer["references"]) == len(page.attributor.references)


def test_batch_answers_each_file_in_order_and_tells_why_one_is_refused(
    client: Client, folder: Path, page: Page
) -> None:
    names = ["picture.png", "broken.png", "second.png"]
    reply = client.predict([handle_file(str(folder / name)) for name in names], 3, api_name="/attribute_batch")
    assert [result["file"] for result in reply["results"]] == names
    assert "spaces" not in reply["results"][1] and "broken.png" in reply["results"][1]["error"]
    for result in (reply["results"][0], reply["results"][2]):
        expected = page.attributor.attribute(folder / result["file"], 3).to_dict()
        assert result["verdict"] == expected.pop("verdict")
        assert result["spaces"] == expected
        for part in expected.values():
            for match in part["matches"]:
                title = page.attributor.references[match["reference_id"]].title
                assert reply["references"][str(match["reference_id"])]["title"] == title
    assert reply["stamp"]["bundle"] == page.attributor.stamp["bundle"]
    paths = (str(folder), str(page.attributor.references[0].path.parent))
    assert not any(path in json.dumps(reply) for path in paths), "no path of a machine"


def test_tables_come_in_pages_that_join_without_gap_or_path(client: Client, page: Page) -> None:
    parts = [client.predict(start, 30, api_name="/references") for start in (0, 30)]
    rows = [row for part in parts for row in part["references"]]
    assert [row["reference_id"] for row in rows] == list(range(len(page.attributor.references)))
    assert parts[0]["total"] == len(rows) and len(parts[0]["references"]) == 30
    assert rows[3]["title"] == page.attributor.references[3].title
    queries = client.predict(5, 2, api_name="/bundled_queries")
    assert [row["query_id"] for row in queries["queries"]] == [5, 6]
    assert queries["queries"][0]["exemplar_ids"] == list(page.attributor.queries[5].exemplar_ids)
    assert queries["examples"] == list(page.attributor.examples)
    assert str(page.attributor.references[0].path.parent) not in json.dumps([parts, queries])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("/references", (0, 1001), "count must be a whole number from 1 to 1000"),
        ("/bundled_queries", (10_000, 1), "start must be"),
        ("/report", ([], 5), "needs a list of image files"),
        ("/attribute", ("picture.png", 2.5), "k must be a whole number from 1 to 100, got 2.5"),
        ("/attribute", ("broken.png", 3), r"an image must be complete .* decode \(broken\.png: "),
        ("/attribute_batch", (["picture.png"], 0), "k must be a whole number from 1 to 100"),
        ("/report", (["broken.png"], 5), r"at least one usable picture: .*broken\.png"),
    ],
)
def test_a_fault_reaches_the_client_in_words_and_the_server_goes_on(
    client: Client, folder: Path, name: str, arguments: tuple[Any, ...], words: str
) -> None:
    file, number = arguments
    if isinstance(file, str):
        file = handle_file(str(folder / file))
    elif isinstance(file, list):
        file = [handle_file(str(folder / one)) for one in file]
    with pytest.raises(AppError, match=words) as refusal:
        client.predict(file, number, api_name=name)
    assert "Traceback" not in str(refusal.value) and "/" not in str(refusal.value), "no path of the server"
    assert client.predict(handle_file(str(folder / "picture.png")), 1, api_name="/attribute")["k"] == 1


OWN = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        *[
            ("attribute", data, r"attribute takes image, a file \(uploaded .*handle_file\) and k, a number, got ")
            for data in (
                [], ["picture.png"], ["/etc/passwd", 3], ["data:image/png;base64,iVBOR", 3], [3, 3], [["picture.png"], 3],
                [{"path": "picture.png"}, 3], [{"url": "http://example.org/a.png"}, 3], [OWN, 3], [{**OWN, "path": None}, 3],
                [{**OWN, "path": ""}, 3], ["picture.png", 3, 4], [True], [{}, 1],
            )
        ],
        *[
            (name, data, rf"{name} takes images, a list of files .*, got ")
            for name in ("attribute_batch", "report")
            for data in (["picture.png"], [OWN, 3], [["picture.png"], 3], [[None], 3], [[OWN], 3], [[[]]], [{"0": OWN}])
        ],
        ("references", [0, 1, 2], "references takes start, a number and count, a number, got 0, 1, 2;"),
        ("attribute", [None, 3], "attribute needs an image file, got none"),
        ("references", [None, "3"], "start must be a whole number from 0 to .*, got None"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_what_was_required_and_what_came(
    page: Page, name: str, data: list[Any], words: str
) -> None:
    said = page.ask(name, *data)
    assert "event: error" in said and re.search(words, json.loads(said.partition("data: ")[2])["error"]), said


def test_what_is_left_out_at_the_end_of_a_call_has_its_default_and_no_endpoint_is_not_found(
    page: Page, picture: Path
) -> None:
    file = page.upload(picture.name, picture.read_bytes())
    assert page.ask("attribute", file) == page.ask("attribute", file, 10) and '"k": 10' in page.ask("attribute", file)
    assert '"start": 0' in page.ask("references")
    for path, body in (
        ("call/predict", {"data": []}),
        ("call/v2/nothing", {}),
        ("call/v2/attribute", {"picture": file}),
        ("queue/join", {"data": [file, 3], "fn_index": 999, "session_hash": "a"}),
    ):
        reply = httpx.post(f"{page.url}gradio_api/{path}", json=body)
        assert reply.status_code == 404 and "There is no such endpoint, or parameter" in reply.json()["detail"]


def test_too_many_files_are_refused_before_any_is_opened(page: Page) -> None:
    batch = endpoints.functions(page.attributor)[1]
    with pytest.raises(Refused, match=f"at most {MAX_FILES} files in one call, got {MAX_FILES + 1}"):
        batch(["nowhere.png"] * (MAX_FILES + 1), 5)
