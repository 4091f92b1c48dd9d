"""What a release holds, what its cards say, what is refused, and what the hub has after a line that breaks."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, constants

from aad.attribution import Attributor
from aad.bundle import Bundle, BundleError
from precompute import evaluate, publish
from precompute.publishing import release
from tests.factory import N_QUERIES, N_REFERENCES, tiny_bundle
from tests.hub_server import MARKS, NAME, HubServer, point_to
from tests.spoilt_bundles import rewritten, told

pytestmark = MARKS


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        point_to(server.url, tmp_path / "cache", monkeypatch)
        yield server


def run(bundle: Path, *options: str, repo: str = NAME) -> None:
    publish.main(["--bundle", str(bundle), "--repo", repo, "--out", str(bundle.parent / "out"), *options])


@dataclass
class Published:
    """One bundle, looked at and then sent: what was printed each time, and the two repositories."""

    bundle: Path
    dry: str
    sent: str
    model: dict[str, bytes]
    dataset: dict[str, bytes]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    bundle = tiny_bundle(tmp_path_factory.mktemp("published"))
    evaluate.main(["--bundle", str(bundle)])
    with HubServer() as hub, pytest.MonkeyPatch.context() as patch:
        point_to(hub.url, bundle.parent / "cache", patch)
        told = []
        for options in ((), ("--upload",)):
            with redirect_stdout(io.StringIO()) as said:
                run(bundle, *options)
            told.append(said.getvalue())
            assert options or hub.asked == [], "a dry run sends nothing"
        yield Published(bundle, *told, hub.tree("model", NAME), hub.tree("dataset", NAME))


def changed(i: int, **entries: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """A table with other entries in row i."""
    return lambda rows: [row | (entries if place == i else {}) for place, row in enumerate(rows)]


def front(text: bytes) -> dict[str, Any]:
    return yaml.safe_load(text.decode().split("---\n")[1])


def test_a_dry_run_leaves_both_cards_to_read_and_tells_every_file(published: Published) -> None:
    out = published.bundle.parent / "out"
    assert "nothing was sent" in published.dry and "nothing was sent" not in published.sent
    assert (out / "model" / "README.md").exists() and (out / "dataset" / "README.md").exists()
    listed = (out / "model_files.txt").read_text()
    assert all(name in listed for name in ("pictures/r0.png", "heads.safetensors", "checksums.json"))
    size = sum(int(line.split()[0].replace(",", "")) for line in listed.splitlines())
    assert f"{size:,} bytes" in published.sent and "| CC0 | 10 | 6 |" in published.dry


def test_the_model_repository_is_the_whole_bundle_with_a_checksum_for_every_file(published: Published) -> None:
    files = published.model
    told = json.loads(files["checksums.json"])["files"]
    assert set(files) == {*told, "checksums.json", "README.md", ".gitattributes"}
    for name, entry in told.items():
        assert entry == {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
    ours, theirs = Bundle.open(published.bundle).manifest, json.loads(files["manifest.json"])
    assert theirs == {**ours, "images": "pictures"}
    assert {name.removeprefix("pictures/") for name in told if name.startswith("pictures/")} == {
        path.name for path in (published.bundle.parent / "pictures").iterdir()
    }


def test_the_printed_line_names_the_commit_that_loads_with_the_stamp_on_the_card(published: Published) -> None:
    address = published.sent.strip().splitlines()[-1].rpartition(" ")[2]
    assert re.fullmatch(rf"hf://{NAME}@[0-9a-f]{{40}}", address)
    assert f"`{Attributor.load(address).stamp['bundle']}`" in published.model["README.md"].decode()


def test_the_viewer_finds_every_picture_of_every_table_and_split(published: Published) -> None:
    files = published.dataset
    shown: dict[str, int] = {}
    for config in front(files["README.md"])["configs"]:
        for part in config["data_files"]:
            found = [name for name in files if fnmatch(name, part["path"])]
            folder = part["path"].removesuffix("**")
            rows = [json.loads(line) for line in files[f"{folder}metadata.jsonl"].decode().splitlines()]
            assert {folder + row["file_name"] for row in rows} == {n for n in found if not n.endswith(".jsonl")}
            assert {row["split"] for row in rows} == {part["split"]}
            assert len({tuple(row) for row in rows}) == 1, "one set of columns"
            assert all(row["licence"] == "CC0" for row in rows)
            assert all(path in files for row in rows for path in row.get("exemplars", []))
            shown[config["config_name"]] = shown.get(config["config_name"], 0) + len(rows)
    assert shown == {"references": N_REFERENCES, "queries": N_QUERIES}


def test_the_cards_are_valid_for_the_hub_and_every_figure_is_the_steps_own(published: Published) -> None:
    model, dataset = (files["README.md"].decode() for files in (published.model, published.dataset))
    ModelCard(model), DatasetCard(dataset)  # raise where the front matter is none
    meta = front(model.encode())
    assert meta["license"] == "other" and meta["license_link"] == "LICENSE.md" and meta["datasets"] == [NAME]
    assert front(dataset.encode())["license"] == "cc0-1.0"
    metrics = Bundle.open(published.bundle).read_json("metrics.json")
    for words in (
        "Closeness is evidence, not proof", f'Attributor.load("hf://{NAME}")', f"python app.py --bundle hf://{NAME}",
        "arXiv:2601.22663", "efficientnet_lite0", "| CC0 | 10 | 6 |", evaluate.table(metrics),
        "maps keep: backbone 50%, aligned 50%, disentangled 50%",
        *(f"{space} {error:.2f}" for space, error in metrics["calibration_error"].items()),
    ):  # fmt: skip
        assert words in model, words
    assert "{" not in model.replace("{n}", "{") and "| references | 0 |" not in dataset


def test_private_holds_for_both(bundle: Path, hub: HubServer) -> None:
    run(bundle, "--upload", "--private")
    assert all(hub.repositories[kind, NAME].private for kind in ("model", "dataset"))


def test_pictures_without_a_licence_are_not_uploaded_nor_a_bundle_that_does_not_load(
    bundle: Path, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(bundle, "references.json", changed(2, licence="not stated"))
    run(bundle)
    assert "Nothing was measured" in (bundle.parent / "out" / "model" / "README.md").read_text()
    assert "warning: 2 pictures have no stated licence" in capsys.readouterr().out  # r2, and q2 that is made from it
    with pytest.raises(BundleError, match=r"2 pictures have no licence.*metadata\.csv"):
        run(bundle, "--upload")
    (bundle / "coordinates.npy").unlink()
    with pytest.raises(BundleError, match=r"coordinates\.npy"):  # it does not load
        run(bundle, "--upload")
    assert hub.asked == []


def test_missing_pictures_are_all_counted_and_a_malformed_name_is_refused(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("r1", "r5", "q0"):
        (bundle.parent / "pictures" / f"{name}.png").unlink()
    with pytest.raises(BundleError, match=r"(?s)3 of 16 pictures are missing.*r1\.png.*r5\.png.*q0\.png"):
        run(bundle)
    with pytest.raises(SystemExit):
        run(bundle, repo="tester/tiny/more")
    assert "--repo must be owner/name" in capsys.readouterr().err


def test_what_the_hub_refuses_is_told(bundle: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(why: str, repo: str = NAME) -> None:
        with pytest.raises(BundleError, match=why):
            run(bundle, "--upload", repo=repo)

    refused(r"somebody/tiny was not published: tester may not write there", "somebody/tiny")
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_wrong")
        refused(r"this token may not write there.*hf auth login")
        patch.delenv("HF_TOKEN")
        refused(r"not logged in.*hf auth login.*HF_TOKEN")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        refused("HF_HUB_OFFLINE is set")
    assert hub.repositories == {}
    hub.stop()
    refused(r"did not take it")


def test_a_line_that_breaks_leaves_nothing_half_and_a_second_run_goes_on(bundle: Path, hub: HubServer) -> None:
    hub.fail_after = 5
    with pytest.raises(BundleError, match=r"nothing is half: run the same command again"):
        run(bundle, "--upload")
    assert set(hub.tree("dataset", NAME)) == {".gitattributes"} and ("model", NAME) not in hub.repositories
    held, hub.fail_after = set(hub.stored), None
    hub.asked.clear()
    run(bundle, "--upload")
    sent = {line.rpartition("/")[2] for line in hub.asked if line.startswith("PUT")}
    assert len(held) == 5 and not sent & held
    assert "pictures/r0.png" in hub.tree("model", NAME) and "references/test/r0.png" in hub.tree("dataset", NAME)
    assert [line for line in hub.asked if "/commit/" in line] == [
        f"POST /api/datasets/{NAME}/commit/main",
        f"POST /api/models/{NAME}/commit/main",
    ]


def test_a_new_release_replaces_the_old_one_whole_and_the_same_again_makes_no_commit(
    bundle: Path, hub: HubServer
) -> None:
    run(bundle, "--upload")
    before = {key: dict(repository.branches) for key, repository in hub.repositories.items()}
    run(bundle, "--upload")
    assert {key: dict(repository.branches) for key, repository in hub.repositories.items()} == before
    old = before["model", NAME]["main"]
    rewritten(bundle, "queries.json", changed(5, path="q4.png"))
    run(bundle, "--upload")
    assert "pictures/q5.png" in hub.tree("model", NAME, old)
    assert "pictures/q5.png" not in hub.tree("model", NAME) and "queries/test/q5.png" not in hub.tree("dataset", NAME)
    assert Attributor.load(f"hf://{NAME}@{old}").queries[5].path.name == "q5.png"


def test_a_licence_text_beside_the_pictures_goes_with_them(bundle: Path, hub: HubServer) -> None:
    folder = bundle.parent / "pictures" / "set"
    folder.mkdir()
    (bundle.parent / "pictures" / "r0.png").rename(folder / "r0.png")
    (folder / "LICENCE.md").write_text("credit the painter")
    rewritten(bundle, "references.json", changed(0, path="set/r0.png"))
    run(bundle, "--upload")
    assert hub.tree("model", NAME)["pictures/set/LICENCE.md"] == b"credit the painter"
    assert hub.tree("dataset", NAME)["licences/set/LICENCE.md"] == b"credit the painter"
    assert Attributor.load(f"hf://{NAME}").references[0].path.parent.name == "set"


def test_a_command_that_names_a_folder_of_this_machine_is_pointed_out(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "python -m precompute.extract_features --references /srv/me/pictures"
    told(bundle, "steps", "extract_features", "command", value=command)
    run(bundle)
    assert "the command of extract_features names a folder of this machine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "licence"),
    [
        ({"licence": "CC-BY-4.0", "exemplar_ids": [1]}, "CC-BY-4.0"),
        ({"exemplar_ids": [0, 1]}, "CC0 and GPL-2.0-or-later"),
        ({"exemplar_ids": [0, 2]}, "not stated"),
        ({"exemplar_ids": []}, "not stated"),
        ({"exemplar_ids": [0], "recipe": {"subject": {"name": "a"}, "style": 3}}, "CC0"),
        ({"exemplar_ids": [0], "recipe": {"backdrop": {"name": "sea"}}}, f"CC0 and {release.FURTHER}"),
    ],
)
def test_a_query_is_under_the_terms_of_what_it_is_made_from(query: dict[str, Any], licence: str) -> None:
    references = [
        {"path": "x/a.png", "licence": "CC0"},
        {"path": "x/b.png", "licence": "GPL-2.0-or-later"},
        {"path": "x/c.png", "licence": " Unknown "},
    ]
    assert release.licence_of_query(query, references) == licence
