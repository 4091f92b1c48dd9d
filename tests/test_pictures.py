"""Which folders are served for the pictures: as few as say the same, and none that holds what is private."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aad.bundle import Bundle, safe_paths
from interface.page import HERE
from interface.pictures import served_paths, whole_folders


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
    served = served_paths(pictures, private=[])
    assert len(served) == 6
    assert whole_folders(served) == [tmp_path / "set"]


def test_fewer_entries_serve_the_same_files(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "x/a/1.png", "x/b/1.png", "y/a/1.png", "y/b/1.png", "y/b/c/2.png", "z/1.png", "z/d/2.png")
    tree(tmp_path, "y/list.csv", "x/b/beside.txt", "secret/key", "z/d/deep/key")
    served = served_paths(pictures, private=[])
    fewer = whole_folders(served)
    assert files_in(fewer) == files_in(served)
    assert tmp_path / "x" in fewer and tmp_path / "y" not in fewer and len(fewer) < len(served)


def test_a_link_or_a_private_folder_keeps_its_parent_from_being_served(tmp_path: Path) -> None:
    pictures = tree(tmp_path, "linked/a/1.png", "home/pictures/1.png", "elsewhere/1.png")
    (tmp_path / "linked" / "b").symlink_to(tmp_path / "elsewhere")
    served = served_paths(pictures[:2], private=[])
    assert tmp_path / "linked" not in whole_folders(served)
    assert tmp_path / "home" in whole_folders(served)
    assert tmp_path / "home" not in whole_folders(served, private=[tmp_path / "home"])
    assert tmp_path / "home" not in whole_folders(served, private=[tmp_path / "home" / "pictures" / "keys"])


def test_a_folder_that_holds_private_things_is_never_served_whole(tmp_path: Path) -> None:
    inside = tmp_path / "home" / "pictures" / "a.png"
    beside = tmp_path / "home" / "b.png"
    inside.parent.mkdir(parents=True)
    for path in (inside, beside):
        path.touch()
    served = served_paths([inside, beside], private=[tmp_path / "home", tmp_path / "home" / "project"])
    assert served == [beside, inside.parent]


def test_the_demo_is_served_from_two_folders() -> None:
    """Gradio tries every entry for every answer: with one for each query's folder that took half a second."""
    bundle = Bundle.open(None)
    images = (bundle.folder / bundle.section("images", "extract_features")).resolve()
    names = [entry["path"] for name in ("references.json", "queries.json") for entry in bundle.read_json(name)]
    pictures = safe_paths(images, names)
    private = [Path.home(), HERE]
    served = served_paths(pictures, private=private)
    fewer = whole_folders(served, private=private)
    assert [path.name for path in fewer] == ["exemplar", "synth"]
    assert files_in(fewer) == files_in(served)
