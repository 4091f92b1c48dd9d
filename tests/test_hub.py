"""Bundles from the hub, against a stand-in on this machine: what is loaded, what is refused, and what is asked when."""

import hashlib
import importlib
import json
import shutil
import time
from copy import deepcopy
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants

import app
from aad.attribution import Attributor
from aad.bundle import BundleError
from aad.hub import CHECKSUMS, WANTED, hub_address, local_bundle, parse_address
from aad.schema import CONTENTS
from interface import present
from precompute import evaluate, publish
from tests.factory import tiny_bundle
from tests.hub_server import MARKS, NAME, TOKEN, HubServer, point_to

pytestmark = MARKS
ADDRESS = f"hf://{NAME}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def server(bundle, tmp_path_factory):
    """A stand-in for the hub, where the tiny bundle is published."""
    folder = tmp_path_factory.mktemp("publishing")
    with HubServer() as server:
        with pytest.MonkeyPatch.context() as patch:
            point_to(server.url, folder / "cache", patch)
            publish.main(["--bundle", str(bundle), "--repo", NAME, "--upload", "--out", str(folder / "out")])
        yield server


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """What huggingface_hub takes for the hub, as it was after publishing, and an empty cache."""
    kept = deepcopy(server.repositories)
    server.asked.clear()
    point_to(server.url, tmp_path / "cache", monkeypatch)
    yield server
    server.repositories, server.altered = kept, {}


@pytest.fixture
def unplugged(tmp_path, monkeypatch):
    """When called, the hub is where nothing listens; the cache stays."""
    return lambda: point_to("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)


@pytest.fixture
def commit(hub):
    """Where the tiny bundle is on the stand-in."""
    return hub.repositories["model", NAME].branches["main"]


def test_every_file_that_a_bundle_may_have_is_fetched():
    assert not [name for name in CONTENTS if "." in name and not any(fnmatch(name, one) for one in WANTED)]


def test_a_malformed_address_is_refused_with_the_right_form():
    for address in (
        "hf://", "hf://name", "hf://owner/name/file", "hf://owner/", "hf:///name", "hf://owner/na me", "hf://own--er/name",
        "hf://owner/name@", "hf://owner/name@../../x", "hf://owner/name@a b", "hf://owner/..", "hf://datasets/owner/name",
    ):  # fmt: skip
        with pytest.raises(BundleError, match=r"hf://owner/name@revision"):
            parse_address(address)


def test_the_page_of_a_repository_means_it_and_no_other_page_does():
    for page, address in (
        ("https://huggingface.co/o/n", "hf://o/n"),
        ("http://www.huggingface.co/o/n/?library=x#files", "hf://o/n"),
        ("HTTPS://hf.co/o/n/tree/v1/", "hf://o/n@v1"),
        ("https://huggingface.co/o/n/blob/refs/pr/1", "hf://o/n@refs/pr/1"),
        (Path("https://huggingface.co/o/n"), "hf://o/n"),
        ("C:/bundles/o", None),
        ("huggingface.co/o/n", None),
    ):
        assert hub_address(page) == address
    for page in ("https://example.org/o/n", "https://huggingface.co/datasets/o/n", "file:///o/n", "s3://o/n"):
        with pytest.raises(BundleError, match=r"hf://owner/name@revision"):
            Attributor.load(page)


def test_a_published_bundle_loads_back_as_it_was(commit, bundle):
    ours, theirs = Attributor.load(bundle), Attributor.load(f"{ADDRESS}@{commit}")
    assert [(r.title, r.licence) for r in theirs.references] == [(r.title, r.licence) for r in ours.references]
    for mine, other in zip((*ours.references, *ours.queries), (*theirs.references, *theirs.queries), strict=True):
        assert other.path.read_bytes() == mine.path.read_bytes()
    for space in ours.spaces:
        np.testing.assert_array_equal(theirs.similarities([0, 3], space), ours.similarities([0, 3], space))


def test_what_is_laid_out_are_plain_files_that_take_no_second_place_on_the_disk(commit):
    folder = local_bundle(f"{ADDRESS}@{commit}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(path.is_symlink() for path in [folder, *folder.rglob("*")])
    assert all(path.stat().st_nlink > 1 for path in files if path.suffix == ".npy")
    for path in folder.rglob("*.png"):
        assert present.file_url(path).endswith(f"{commit}/pictures/{path.name}")


def test_without_a_revision_the_newest_commit_is_named_so_that_it_can_be_pinned(commit, unplugged, capsys):
    assert local_bundle(ADDRESS).name == commit
    assert f"{ADDRESS}@{commit}" in capsys.readouterr().err
    assert local_bundle(f"{ADDRESS}@main").name == commit
    unplugged()
    assert local_bundle(ADDRESS).name == commit, "the newest that is known here"


def test_a_pinned_revision_is_asked_for_and_checked_once_and_opens_without_the_hub(commit, hub, unplugged, monkeypatch):
    local_bundle(f"{ADDRESS}@{commit}")
    hub.asked.clear()
    monkeypatch.setattr("aad.hub.file_sha256", lambda path: pytest.fail(f"{path} is checked again"))
    Attributor.load(f"{ADDRESS}@{commit}")
    assert hub.asked == []
    unplugged()
    Attributor.load(f"{ADDRESS}@{commit}")


def test_what_the_hubs_own_tools_downloaded_is_laid_out_offline(commit, unplugged, monkeypatch):
    huggingface_hub.snapshot_download(NAME, revision=commit)
    unplugged()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    Attributor.load(f"{ADDRESS}@{commit}")


def test_without_the_hub_or_a_cache_the_way_out_is_told_at_once(hub, unplugged, monkeypatch):
    started = time.monotonic()
    for is_offline, said in ((True, "HF_HUB_OFFLINE is set"), (False, "http://127.0.0.1:9")):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
        for revision in ("", "@main", f"@{'0' * 40}"):
            with pytest.raises(BundleError) as caught:
                local_bundle(ADDRESS + revision)
            for words in (ADDRESS + revision, said, "load it once while online", "bundle folder on this machine"):
                assert words in str(caught.value)
        assert hub.asked == []
        unplugged()
    assert time.monotonic() - started < 8


def test_an_unknown_revision_is_told_apart_from_an_unknown_bundle(hub):
    for revision in ("nowhere", "0" * 40):
        with pytest.raises(BundleError, match="that revision is not"):
            local_bundle(f"{ADDRESS}@{revision}")
        with pytest.raises(BundleError, match="no model repository tester/other"):
            local_bundle(f"hf://tester/other@{revision}")


def test_private_and_gated_bundles_say_how_to_get_in(commit, hub, monkeypatch):
    repository = hub.repositories["model", NAME]
    repository.private = True
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(BundleError, match=r"private.*hf auth login.*HF_TOKEN"):
        local_bundle(ADDRESS)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    repository.gated = True
    with pytest.raises(BundleError, match=r"is gated: ask for access at .*tester/tiny"):
        local_bundle(ADDRESS)
    repository.gated = False
    assert local_bundle(ADDRESS).name == commit  # HF_TOKEN opens it


def test_a_file_that_is_not_as_published_is_named_with_the_folder_to_delete(commit, hub):
    for name in ("pictures/r3.png", "heads.safetensors", "references.json"):
        data = hub.tree("model", NAME)[name]
        hub.altered[name] = data[:-1] + bytes([data[-1] ^ 1])
        with pytest.raises(BundleError, match=r"delete (\S+) and load it again") as caught:
            Attributor.load(f"{ADDRESS}@{commit}")
        assert name in str(caught.value) and "not as published" in str(caught.value)
        hub.altered.clear()
        with pytest.raises(BundleError):  # the damaged file is still in the cache
            Attributor.load(f"{ADDRESS}@{commit}")
        folder = str(caught.value).split("delete ")[1].split(" and load")[0]
        assert Path(folder).parent == Path(constants.HF_HUB_CACHE)
        shutil.rmtree(folder)
        Attributor.load(f"{ADDRESS}@{commit}")
        shutil.rmtree(folder)


def test_an_interrupted_check_leaves_nothing_that_looks_whole(commit, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aad.hub.os.link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        local_bundle(f"{ADDRESS}@{commit}")
    kept = Path(constants.HF_HUB_CACHE) / "models--tester--tiny" / "aad"
    assert not kept.exists() or list(kept.iterdir()) == []


def republish(hub, change):
    """Commit other bytes with fitting checksums, as somebody with ill will would."""
    repository = hub.repositories["model", NAME]
    tree = dict(repository.commits[repository.branches["main"]])
    tree |= {name: (data, False) for name, data in change.items()}
    if CHECKSUMS not in change:
        listing = json.loads(tree[CHECKSUMS][0])
        for name, data in change.items():
            listing["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        tree[CHECKSUMS] = (json.dumps(listing).encode(), False)
    return repository.commit("main", tree)


def test_a_bundle_that_names_files_outside_itself_or_has_no_list_of_checksums_to_read_is_refused(commit, hub, tmp_path):
    manifest = json.loads(hub.tree("model", NAME)["manifest.json"])
    for images in ("..", "../../..", "/etc", str(tmp_path)):
        republish(hub, {"manifest.json": json.dumps({**manifest, "images": images}).encode()})
        with pytest.raises(BundleError, match="must be relative and stay inside"):
            local_bundle(ADDRESS)
    outside = [{"format": 1, "files": {name: {"sha256": "0" * 64, "bytes": 1}}} for name in ("../x.png", "/etc/passwd")]
    for listing, said in (
        *((json.dumps(one).encode(), "must be relative and stay inside") for one in outside),
        *((one, r"is no bundle with checksums in format 1") for one in (b"", b"[]", b"[" * 100_000)),
        (b'{"format": 9, "files": {}}', "in format 1"),
        (b'{"format": 1, "files": {"a": 3}}', "in format 1"),
    ):
        republish(hub, {CHECKSUMS: listing})
        with pytest.raises(BundleError, match=said):
            local_bundle(ADDRESS)


def test_only_the_files_of_a_bundle_are_downloaded_and_only_of_one(commit, hub):
    repository = hub.repositories["model", NAME]
    repository.commit("main", repository.commits[commit] | {"model.bin": (b"x", True), "code.py": (b"x", False)})
    local_bundle(ADDRESS)
    repository.commit("main", {"model.safetensors": (b"x" * 1000, True)})
    with pytest.raises(BundleError, match=r"is no bundle: it has no checksums\.json"):
        local_bundle(ADDRESS)
    assert not any(name in line for line in hub.asked for name in ("model.bin", "code.py", "model.safetensors"))


def test_steps_read_a_bundle_on_the_hub_and_refuse_to_write_to_it(commit, tmp_path):
    address = f"{ADDRESS}@{commit}"
    evaluate.main(["--bundle", address, "--out", str(tmp_path / "metrics.json")])
    assert json.loads((tmp_path / "metrics.json").read_text())["n_references"] == 10
    for step in ("evaluate", "extract_views", "train_heads", "project"):
        with pytest.raises(BundleError, match=r"writes into a folder of this machine.*hf download tester/tiny"):
            importlib.import_module(f"precompute.{step}").main(["--bundle", address])


def test_the_app_tells_that_a_bundle_is_out_of_reach_and_exits_with_2(hub, monkeypatch, capsys):
    monkeypatch.setenv("AAD_BUNDLE", "hf://tester/nothing")  # as a Space names it
    for options, said in (
        (["--bundle", "hf://tester/other"], "no model repository tester/other"),
        (["--bundle", "hf://tester"], "hf://owner/name@revision"),
        ([], "no model repository tester/nothing"),
    ):
        assert app.main(options) == 2
        assert said in capsys.readouterr().err
