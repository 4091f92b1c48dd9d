"""What stays where it is: files outside the served folders, what a picture tells of its maker, and the network."""

from __future__ import annotations

import http.client
import io
import re
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import app
from aad.bundle import Bundle
from aad.images import load_image
from benchmarks.serving import free_port
from interface import pictures, uploads
from interface.gradio_gaps import original_image
from interface.page import HERE
from interface.pictures import to_serve
from tests import served
from tests.pages import MARKS, SECRET, Page

pytestmark = MARKS

MAKER = "Jane Q. Photographer"
PLACE = (52.0, 30.0, 59.25)  # degrees, minutes, seconds


def raw(address: str, path: str) -> tuple[int, bytes]:
    """Asked for exactly as written; other clients tidy a path up before they send it."""
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=10)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    reply = connection.getresponse()
    try:
        return reply.status, reply.read()
    finally:
        connection.close()


def steps(target: str, dots: str, slash: str) -> str:
    return slash.join([dots] * 12) + slash + target.lstrip("/").replace("/", slash)


WAYS = (("..", "/"), ("%2e%2e", "/"), ("..", "%2f"), ("%252e%252e", "%252f"), ("..", "\\"))


DOORS = ("gradio_api/file=", "gradio_api/file/", "gradio_api/file=//", "gradio_api/file%3d", "assets/", "static/", "")


@pytest.mark.parametrize("door", DOORS)
def test_no_way_of_writing_a_path_leads_out(page: Page, door: str) -> None:
    inside, own = quote(str(page.attributor.references[0].path.parent)), quote(str(page.root / "uploads"))
    beside = page.root / "pictures-beside" / "secret.png"  # its name begins like a served one's
    for target in (str(beside), str(HERE / "app.py")):
        content = Path(target).read_bytes()
        paths = [quote(target), quote(target, safe=""), quote(quote(target, safe=""), safe="")]
        for dots, slash in WAYS:
            paths += [f"{start}{steps(target, dots, slash)}" for start in (inside + slash, "", own + slash)]
        picture = quote(str(page.attributor.references[0].path))
        paths += [f"{picture}%00.png", "%00", "/" + "a" * 5000, "/" + "a/" * 3000]
        for path in paths:
            status, body = raw(page.url, f"/{door}{path}")
            assert status in (400, 403, 404, 422, 500) and content not in body, path
    assert raw(page.url, f"/gradio_api/file={picture}")[0] == 200


def test_a_link_that_leads_out_of_a_served_folder_is_not_followed(page: Page) -> None:
    folder = page.attributor.references[0].path.parent
    for name, target in (("link.txt", page.root / "secret.txt"), ("linked", page.root)):
        (folder / name).symlink_to(target)
    try:
        for path in ("link.txt", "linked/secret.txt"):
            status, body = raw(page.url, f"/gradio_api/file={quote(str(folder))}/{path}")
            assert status in (403, 404) and SECRET.encode() not in body, path
    finally:
        for name in ("link.txt", "linked"):
            (folder / name).unlink()


def test_a_question_about_a_file_of_the_server_is_refused(page: Page) -> None:
    for path in (page.root / "secret.txt", Path("/etc/passwd"), HERE / "assets" / "ui" / "page.css"):
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        told = page.ask("attribute", file, 2)
        assert "event: error" in told and SECRET not in told and "root:" not in told


def telling(kind: str) -> bytes:
    """A picture that says who made it and where."""
    picture, buffer = Image.new("RGB", (64, 48), (30, 120, 200)), io.BytesIO()
    exif = Image.Exif()
    exif[0x013B], exif[0x0112] = MAKER, 6
    exif.get_ifd(0x8825).update({1: "N", 2: PLACE, 3: "E", 4: PLACE})
    if kind == "png":
        words = PngImagePlugin.PngInfo()
        words.add_text("Author", MAKER)
        words.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{MAKER}</x:xmpmeta>")
        picture.save(buffer, "PNG", pnginfo=words, exif=exif)
    else:
        xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{MAKER}</x:xmpmeta>".encode()
        picture.save(buffer, kind, exif=exif, xmp=xmp, **({"comment": MAKER} if kind == "jpeg" else {}))
    assert MAKER.encode() in buffer.getvalue()
    return buffer.getvalue()


def answered(page: Page, name: str, *data: Any) -> str:
    told = page.ask(name, *data)
    assert "event: complete" in told
    return told


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_what_is_sent_back_tells_nothing_of_its_maker_and_looks_as_the_network_sees_it(page: Page, kind: str) -> None:
    content = telling(kind)
    path = page.upload(f"given back.{kind}", content + MAKER.encode())["path"]
    for way in (path, path.replace("/given", "/./given"), path.replace("/given", "//given")):
        reply = httpx.get(page.url + pictures.file_url(path).replace(path, way))
        assert reply.status_code == 200 and reply.headers["content-type"] == "image/jpeg"
        assert MAKER.encode() not in reply.content
        with Image.open(io.BytesIO(reply.content)) as after:
            assert not dict(after.getexif()) and after.size == load_image(content).size == (48, 64), "turned"
            assert np.abs(np.subtract(after, load_image(content), dtype=int)).max() < 16


def test_an_upload_that_is_no_picture_is_not_sent_back(page: Page) -> None:
    path = page.upload("words.png", SECRET.encode())["path"]
    reply = httpx.get(page.url + pictures.file_url(path))
    assert reply.status_code == 204 and not reply.content


def test_from_start_to_stop_it_reaches_for_no_other_machine_logs_no_upload_and_answers_what_it_was_asked(
    tmp_path: Path,
) -> None:
    port, log, temporary = free_port(), tmp_path / "log", tmp_path / "temporary"
    page = Page(f"http://127.0.0.1:{port}/", None, cast(Any, None), tmp_path)
    arguments = ("--folder", str(tmp_path / "pictures"), "--seconds", "0.8")
    environment = {"GRADIO_ANALYTICS_ENABLED": "", "GRADIO_TEMP_DIR": str(temporary)}
    environment |= {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "NO_PROXY": "a.example",
    }  # of a company
    with served.process(port, log, *arguments, environment=environment) as process:
        assert httpx.get(page.url).status_code == 200
        files = [page.upload(f"holiday.{kind}", telling(kind)) for kind in ("jpeg", "png")]
        (own,) = temporary.iterdir()
        assert own.stat().st_mode & 0o777 == 0o700 and Path(files[0]["path"]).is_relative_to(own)
        answered(page, "report", files[:1], 2)
        assert "/matplotlib/" not in Path(f"/proc/{process.pid}/maps").read_text(), "half a second of the first answer"
        for place in ("http://192.0.2.1/a.png", "http://example.org/a.png"):
            httpx.get(f"{page.url}gradio_api/file={place}")
            file = {"path": place, "meta": {"_type": "gradio.FileData"}}
            assert "must be uploaded, got an address" in page.ask("attribute", file, 2)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(answered, page, "attribute", files[1], 2)
            time.sleep(0.4)
            process.send_signal(signal.SIGTERM)
            answer.result(20)  # complete, or `answered` says so
        assert process.wait(20) == 0
    assert list(temporary.iterdir()) == [] and not served.alive(port)
    here, away = served.reached(log)
    assert here > 0, "the watch sees nothing"
    assert away == []
    # The invented attributor makes its pictures; tempfile tries which folder can be written.
    allowed = rf"({temporary}|{tmp_path}/pictures|/dev|/proc)/.*|/tmp/\w{{8}}|.*__pycache__.*"
    assert [path for path in served.written(log) if not re.fullmatch(allowed, path)] == []
    told = log.with_suffix(".txt").read_text()
    assert "holiday" not in told and MAKER not in told and "Traceback" not in told


def test_the_first_example_is_not_copied_where_it_is_no_picture_by_its_name(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.key"
    secret.write_bytes(page.attributor.queries[0].path.read_bytes())
    named = (replace(page.attributor.queries[0], path=secret), *page.attributor.queries[1:])
    for queries, copied in ((page.attributor.queries, True), (named, False)):
        monkeypatch.setattr(page.attributor, "queries", queries)
        boxes = [part for part in app.build_app(page.attributor).blocks.values() if isinstance(part, original_image())]
        assert [box.value is not None for box in boxes] == [copied]


def test_the_limits_of_what_is_kept_are_those_that_are_told(page: Page) -> None:
    frequency, age = page.demo.delete_cache
    assert frequency + age <= 86_400 and uploads.MAX_AGE + uploads.PAUSE < 86_400
    assert "deleted within a day" in (HERE / "docs" / "api.md").read_text("utf-8")


def files_in(entries: Sequence[Path]) -> set[Path]:
    """Every file that serving these folders and files would send."""
    found = {path for path in entries if path.is_file()}
    return found.union(*([path for path in entry.rglob("*") if path.is_file()] for entry in entries))


def tree(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def test_a_folder_of_other_things_keeps_its_parents_closed(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "x/a/1.png", "x/b/1.png", "y/a/1.png", "y/b/1.png", "y/b/c/2.png", "z/1.png", "z/d/2.png")
    tree(tmp_path, "y/list.csv", "x/b/beside.txt", "secret/key", "z/d/deep/key")
    served = to_serve(pictures, private=[])
    assert served == [tmp_path / name for name in ("x", "y/a", "y/b", "z/1.png", "z/d/2.png")]
    assert files_in(served) == {*pictures, tmp_path / "x/b/beside.txt"}


def test_a_link_or_a_private_folder_keeps_its_parent_from_being_served(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "linked/a/1.png", "home/pictures/1.png", "elsewhere/1.png")[:2]
    (tmp_path / "linked" / "b").symlink_to(tmp_path / "elsewhere")
    inside = tmp_path / "home" / "pictures"
    assert to_serve(pictures, private=[]) == [tmp_path / "home", tmp_path / "linked" / "a"]
    assert to_serve(pictures, private=[tmp_path / "home"]) == [inside, tmp_path / "linked" / "a"]
    assert to_serve(pictures, private=[inside / "keys"]) == [inside / "1.png", tmp_path / "linked" / "a"]


def test_the_demo_is_served_from_two_folders() -> None:
    """Gradio tries every entry for every answer: with one for each query's folder that took half a second."""
    bundle = Bundle.open(None)
    images = (bundle.folder / bundle.section("images")).resolve()
    names = [entry["path"] for name in ("references.json", "queries.json") for entry in bundle.read_json(name)]
    served = to_serve([images / name for name in names], private=[Path.home(), HERE])
    assert [path.name for path in served] == ["exemplar", "synth"]
    assert files_in(served) >= {images / name for name in names}
