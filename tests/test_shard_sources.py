"""What is read of tar files, Parquet files and tables of metadata, and which sources are refused."""

import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aad.images import load_image
from precompute import embed_shards
from precompute.common.sources import SourceError
from precompute.common.store import Shards
from tests.small import FakeEncoder, contents, embed, encoded, folder_of, picture, rows, tar_of


def told(out):
    """What the source says of each image."""
    tables = Shards.open(out).tables()
    return {name: said for table in tables for name, said in zip(table["names"], table["told"], strict=True)}


def expected(tmp_path, *seeds):
    """Rows of pictures."""
    return FakeEncoder(tmp_path / "own.log").embed([picture(seed) for seed in seeds]).astype(np.float16)


def test_a_tar_file_is_read_in_pieces_with_what_lies_beside_each_image(tmp_path):
    told_json = json.dumps({"caption": "A  boat", "license": "CC0-1.0", "url": "https://example.org/1", "width": 40})
    files = {"000.json": told_json.encode(), "000.png": encoded(0)}
    files |= {"deep/001.jpg": encoded(1, "JPEG"), "deep/001.txt": b"A dog\nruns"}
    files |= {"002.json": b"{broken", "002.png": encoded(2), "readme.md": b"no image"}
    files |= {"003.left.webp": encoded(3, "WEBP"), "other/003.txt": b"of another key", "004.png": b"no picture"}
    out, source = tmp_path / "out", tar_of(tmp_path / "a.tar", files)
    embed(out, source, size=2)
    names = ["a.tar/000.png", "a.tar/deep/001.jpg", "a.tar/002.png", "a.tar/003.left.webp"]
    assert list(rows(out)) == names
    said = told(out)
    assert said[names[0]] == {"title": "A boat", "licence": "CC0-1.0", "url": "https://example.org/1"}
    assert said[names[1]] == {"title": "A dog runs"} and said[names[2]] == said[names[3]] == {}
    table = json.loads((out / "00002.json").read_bytes())
    assert list(table["refused"]) == ["a.tar/004.png"] and "(004.png)" in table["refused"]["a.tar/004.png"]
    whole = FakeEncoder(tmp_path / "log").embed([load_image(files[name.removeprefix("a.tar/")]) for name in names])
    assert np.array_equal(np.stack(list(rows(out).values())), whole.astype(np.float16))


def test_a_second_name_in_a_tar_is_taken_and_what_is_not_is_counted(tmp_path, capsys):
    files = {"0.png": encoded(0), "a.heic": b"x", "b.heic": b"x", "none": b"x", "1.json": b"{}"}
    with tarfile.open(tar_of(tmp_path / "a.tar", files), "a") as archive:
        for name, kind in (("1.png", tarfile.LNKTYPE), ("2.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.png"
            archive.addfile(info)
    embed(tmp_path / "out", tmp_path / "a.tar")
    assert np.array_equal(*rows(tmp_path / "out").values()) and list(rows(tmp_path / "out")) == [
        "a.tar/0.png",
        "a.tar/1.png",
    ]
    assert "2 of .heic, 1 (no ending), 1 (a link, or of holes); HEIC and" in capsys.readouterr().err


def test_several_tar_files_change_apart_and_their_order_does_not_matter(tmp_path):
    tars = [
        tar_of(tmp_path / f"{name}.tar", {f"{i}.png": encoded(i) for i in some})
        for name, some in (("a", range(4)), ("b", range(4, 6)))
    ]
    assert embed(tmp_path / "out", *tars) == [3, 1, 2]
    embed(tmp_path / "back", *reversed(tars))
    assert contents(tmp_path / "out") == contents(tmp_path / "back")
    tar_of(tars[0], {f"{i}.png": encoded(i if i < 3 else 99) for i in range(4)})
    assert embed(tmp_path / "out", *tars) == [1]


def test_a_later_file_of_a_tar_replaces_an_earlier_one_of_its_name(tmp_path):
    path = tar_of(tmp_path / "a.tar", {"0.png": encoded(0), "1.png": encoded(1)})
    tar_of(path, {"0.png": encoded(5)}, "a")
    embed(tmp_path / "out", path)
    assert np.array_equal(rows(tmp_path / "out")["a.tar/0.png"], expected(tmp_path, 5)[0])


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_rows_are_read_across_row_groups(tmp_path, form):
    images = [encoded(i) for i in range(7)]
    images[4] = None
    if form == "struct":
        images = [image and {"bytes": image, "path": f"a/my_boat_{i}.png"} for i, image in enumerate(images)]
    captions = [f"boat {i}" if i < 2 else None for i in range(7)]
    table = {"image": images, "CAPTION": captions, "License": ["CC0"] * 7, "n": range(7)}
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=2)
    out = tmp_path / "out"
    assert embed(out, tmp_path / "a.parquet") == [3, 2, 1]
    assert list(rows(out)) == [f"a.parquet/{i}" for i in (0, 1, 2, 3, 5, 6)]
    assert np.array_equal(np.stack(list(rows(out).values())), expected(tmp_path, 0, 1, 2, 3, 5, 6))
    said = told(out)
    assert said["a.parquet/1"] == {"title": "boat 1", "licence": "CC0"}
    assert said["a.parquet/6"] == {"licence": "CC0"} | ({"title": "my boat 6"} if form == "struct" else {})
    assert "row 4 has no image bytes" in (out / "00001.json").read_text()


def test_the_column_of_images_is_found_or_asked_for(tmp_path):
    both = {"thumbnail": [encoded(0)], "photo": [encoded(1)]}
    pq.write_table(pa.table(both), tmp_path / "two.parquet")
    pq.write_table(pa.table({"url": ["https://example.org"]}), tmp_path / "none.parquet")
    pq.write_table(pa.table({"mask": [encoded(0)], "image": [encoded(1)]}), tmp_path / "usual.parquet")
    for name, column, why in (
        ("two", None, "one column of image bytes, got thumbnail, photo; say which with --column"),
        ("none", None, "got none; say which with --column"),
        ("two", "picture", "a column 'picture' of image bytes, got thumbnail, photo"),
    ):
        with pytest.raises(SourceError, match=why):
            embed(tmp_path / "out", tmp_path / f"{name}.parquet", column=column)
    for name, column in (("two", "photo"), ("usual", None)):
        embed(tmp_path / name, tmp_path / f"{name}.parquet", column=column)
        assert np.array_equal(rows(tmp_path / name)[f"{name}.parquet/0"], expected(tmp_path, 1)[0])


def test_a_metadata_table_is_kept_and_a_change_of_it_is_seen(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 6), tmp_path / "out"
    (folder / "metadata.csv").write_text("file_name,title,licence\ndeep/001.png,A boat,CC0-1.0\n")
    embed(out, folder)
    assert told(out)["deep/001.png"] == {"title": "A boat", "licence": "CC0-1.0"} and told(out)["000.png"] == {}
    (folder / "metadata.csv").write_text("file_name,title,licence\ndeep/001.png,A ship,CC0-1.0\n")
    assert embed(out, folder) == [3] and told(out)["deep/001.png"]["title"] == "A ship"


def test_sources_that_cannot_be_used_are_refused(tmp_path):
    folder = folder_of(tmp_path / "photos", 2)
    whole = tar_of(tmp_path / "a.tar", {"0.png": encoded(0), "1.png": encoded(1)})
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:600])
    data, headers = whole.read_bytes(), len(encoded(0)) // 512 + 2
    (tmp_path / "between.tar").write_bytes(data[: 512 * headers])
    (tmp_path / "joined.tar").write_bytes(data + data)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    tar_of(tmp_path / "empty.tar", {"readme.txt": b"nothing"})
    for sources, why in (
        ([folder, whole], r"must be one folder, or tar and Parquet files that are there, got .*photos"),
        ([tmp_path / "a.tar.gz"], r"got .*a\.tar\.gz; unpack a compressed tar"),
        ([tmp_path / "absent.tar"], r"that are there, got .*absent\.tar"),
        ([whole, whole], "given twice"),
        ([tmp_path / "cut.tar"], "must be a complete tar file"),
        ([tmp_path / "between.tar"], "must be a complete tar file, .* cut off between two files, or joined"),
        ([tmp_path / "joined.tar"], "must be a complete tar file, .* cut off between two files, or joined"),
        ([tmp_path / "empty.tar"], "holds no image"),
        ([tmp_path / "broken.parquet"], "must be a whole Parquet file"),
    ):
        with pytest.raises(SourceError, match=why):
            embed(tmp_path / "out", *sources)
    with pytest.raises(SystemExit):
        embed_shards.main(["--source", str(folder), "--out", str(tmp_path / "out"), "--size", "0"])
