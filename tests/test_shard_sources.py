"""What is read of tar files, Parquet files and tables of metadata, and which sources are refused."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aad.images import load_image
from precompute import embed_shards
from precompute.common.members import SourceError
from tests.shard_runs import embed, encoded, rows, tar_of, told
from tests.shard_work import FakeEncoder, contents, folder_of, picture


def test_a_tar_file_is_read_in_pieces_with_what_lies_beside_each_image(tmp_path):
    told_json = json.dumps({"caption": "A  boat", "license": "CC0-1.0", "url": "https://example.org/1", "width": 40})
    files = {"000.json": told_json.encode(), "000.png": encoded(0)}
    files |= {
        "deep/001.jpg": encoded(1, "JPEG"),
        "deep/001.txt": b"A dog\nruns",
        "002.json": b"{broken",
        "002.png": encoded(2),
    }
    files |= {
        "003.left.webp": encoded(3, "WEBP"),
        "readme.md": b"no image",
        "other/003.txt": b"of another key",
        "004.png": b"no picture",
    }
    out, source = tmp_path / "out", tar_of(tmp_path / "a.tar", files)
    embed(out, source, size=2)
    names = ["a.tar/000.png", "a.tar/deep/001.jpg", "a.tar/002.png", "a.tar/003.left.webp"]
    assert list(rows(out)) == names
    said = told(out)
    assert said[names[0]] == {"title": "A boat", "licence": "CC0-1.0", "url": "https://example.org/1"}
    assert said[names[1]] == {"title": "A dog runs"} and said[names[2]] == said[names[3]] == {}
    table = json.loads((out / "00002.json").read_bytes())
    assert list(table["refused"]) == ["a.tar/004.png"] and "(004.png)" in table["refused"]["a.tar/004.png"]
    fake = FakeEncoder(tmp_path / "log")
    expected = fake.embed([load_image(files[name.removeprefix("a.tar/")]) for name in names])
    assert np.array_equal(np.stack(list(rows(out).values())), expected.astype(np.float16))


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
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("0.png")
        info.size = len(encoded(5))
        archive.addfile(info, io.BytesIO(encoded(5)))
    embed(tmp_path / "out", path)
    fake = FakeEncoder(tmp_path / "log")
    assert np.array_equal(rows(tmp_path / "out")["a.tar/0.png"], fake.embed([picture(5)])[0].astype(np.float16))


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_rows_are_read_across_row_groups(tmp_path, form):
    images = [encoded(i) for i in range(7)]
    images[4] = None
    column = (
        images
        if form == "bytes"
        else [image and {"bytes": image, "path": f"a/my_boat_{i}.png"} for i, image in enumerate(images)]
    )
    table = pa.table(
        {
            "image": column,
            "caption": [f"boat {i}" if i < 2 else None for i in range(7)],
            "license": ["CC0"] * 7,
            "n": range(7),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    out = tmp_path / "out"
    assert embed(out, tmp_path / "a.parquet") == [3, 2, 1]
    assert list(rows(out)) == [f"a.parquet/{i}" for i in (0, 1, 2, 3, 5, 6)]
    fake = FakeEncoder(tmp_path / "log")
    expected = fake.embed([picture(i) for i in (0, 1, 2, 3, 5, 6)])
    assert np.array_equal(np.stack(list(rows(out).values())), expected.astype(np.float16))
    said = told(out)
    assert said["a.parquet/1"] == {"title": "boat 1", "licence": "CC0"}
    assert said["a.parquet/6"] == {"licence": "CC0"} | ({"title": "my boat 6"} if form == "struct" else {})
    assert "row 4 has no image bytes" in (out / "00001.json").read_text()


def test_the_column_of_images_is_found_or_asked_for(tmp_path):
    both = {"thumbnail": [encoded(0)], "photo": [encoded(1)]}
    pq.write_table(pa.table(both), tmp_path / "two.parquet")
    pq.write_table(pa.table({"url": ["https://example.org"]}), tmp_path / "none.parquet")
    pq.write_table(pa.table({"mask": [encoded(0)], "image": [encoded(1)]}), tmp_path / "usual.parquet")
    with pytest.raises(SourceError, match=r"one column of image bytes, got thumbnail, photo; say which with --column"):
        embed(tmp_path / "out", tmp_path / "two.parquet")
    with pytest.raises(SourceError, match=r"got none; say which with --column"):
        embed(tmp_path / "out", tmp_path / "none.parquet")
    with pytest.raises(SourceError, match=r"a column 'picture' of image bytes, got thumbnail, photo"):
        embed(tmp_path / "out", tmp_path / "two.parquet", column="picture")
    fake = FakeEncoder(tmp_path / "log")
    embed(tmp_path / "photo", tmp_path / "two.parquet", column="photo")
    embed(tmp_path / "usual", tmp_path / "usual.parquet")
    expected = fake.embed([picture(1)])[0].astype(np.float16)
    assert np.array_equal(rows(tmp_path / "photo")["two.parquet/0"], expected)
    assert np.array_equal(rows(tmp_path / "usual")["usual.parquet/0"], expected)


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
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    tar_of(tmp_path / "empty.tar", {"readme.txt": b"nothing"})
    for sources, why in (
        ([folder, whole], "give one folder alone"),
        ([tmp_path / "a.tar.gz"], r"must be a folder, a \.tar or a \.parquet file, got .*unpack a compressed tar"),
        ([tmp_path / "absent.tar"], "does not exist"),
        ([whole, whole], "given twice"),
        ([tmp_path / "cut.tar"], "must be a complete tar file"),
        ([tmp_path / "empty.tar"], "holds no image"),
        ([tmp_path / "broken.parquet"], "must be a whole Parquet file"),
    ):
        with pytest.raises(SourceError, match=why):
            embed(tmp_path / "out", *sources)
    with pytest.raises(SystemExit):
        embed_shards.main(["--source", str(folder), "--out", str(tmp_path / "out"), "--size", "0"])
