"""Which folders are served for the pictures: as few as say the same, and none that holds what is private."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aad.bundle import Bundle, safe_paths
from interface.page import HERE
from interface.pictures import to_serve


def files_in(entries: Sequence[Path]) -> set[Path]:
    """Every file that serving these folders and files would send."""
    found = {path for path in entries if path.is_file()}
    return found.union(*([path for path in entry.rglob("*") if path.is_file()] for entry in entries))


def tree(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def test_folders_of_nothing_but_pictures_are_served_as_one(tmp_path: Path) -> None:
    pictures = tree(tmp_path, *(f"set/{part}/{item}/{n}.png" for part in "ab" for item in range(3) for n in range(2)))
    (tmp_path / "notes.txt").touch()
    assert to_serve(pictures, private=[]) == [tmp_path / "set"]


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


def test_a_folder_that_holds_private_things_is_never_served_whole(tmp_path: Path) -> None:
    inside, beside = tree(tmp_path / "home", "pictures/a.png", "b.png")
    served = to_serve([inside, beside], private=[tmp_path / "home", tmp_path / "home" / "project"])
    assert served == [beside, inside.parent]


def test_the_demo_is_served_from_two_folders() -> None:
    """Gradio tries every entry for every answer: with one for each query's folder that took half a second."""
    bundle = Bundle.open(None)
    images = (bundle.folder / bundle.section("images")).resolve()
    names = [entry["path"] for name in ("references.json", "queries.json") for entry in bundle.read_json(name)]
    served = to_serve(safe_paths(images, names), private=[Path.home(), HERE])
    assert [path.name for path in served] == ["exemplar", "synth"]
    assert files_in(served) >= set(safe_paths(images, names))
