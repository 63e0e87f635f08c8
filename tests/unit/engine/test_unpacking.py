"""Archives: unpacked once, never outside, damage named."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
import stored_rar

from pmbench.engine.unpacking import unpacked
from pmbench.errors import DataError

FILES = {"UCF-101/Run/v_1.avi": b"one" * 1000, "UCF-101/Jump/v_2.avi": b"two", "empty.txt": b""}


def write(path, files):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            for name, content in files.items():
                z.writestr(name, content)
    elif path.suffix == ".rar":
        path.write_bytes(stored_rar.archive(files))
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as t:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                t.addfile(entry, io.BytesIO(content))
    return path


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith(".unpacked")
    }


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "rar"])
def test_what_is_in_comes_out(tmp_path, ending):
    archive = write(tmp_path / f"x.{ending}", FILES)
    told = []
    tree = unpacked(archive, tmp_path / "out", lambda *news: told.append(news))
    assert content(tree) == FILES
    assert told[0] == (f"unpacking x.{ending}", 0, 3)
    stamps = {p: p.stat().st_mtime_ns for p in tree.rglob("*.avi")}
    unpacked(archive, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*.avi")} == stamps


def test_what_was_begun_goes_on(tmp_path):
    archive = write(tmp_path / "x.zip", FILES)
    there = tmp_path / "out" / "UCF-101" / "Run"
    there.mkdir(parents=True)
    (there / "v_1.avi").write_bytes(b"one")
    assert content(unpacked(archive, tmp_path / "out")) == FILES


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert unpacked(tmp_path, tmp_path / "out") == tmp_path
    assert not (tmp_path / "out").exists()


def test_archives_and_folders_side_by_side_become_one_tree(tmp_path):
    source = tmp_path / "source"
    (source / "lists").mkdir(parents=True)
    (source / "lists" / "a.txt").write_text("a")
    write(source / "one.zip", {"videos/1.avi": b"1"})
    write(source / "two.tar", {"videos/2.avi": b"2"})
    tree = unpacked(source, tmp_path / "out")
    assert (tree / "lists" / "a.txt").read_text() == "a"
    assert {p.name for p in (tree / "videos").iterdir()} == {"1.avi", "2.avi"}


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "c:\\evil", "..\\evil"])
def test_a_member_that_would_leave(tmp_path, ending, name):
    archive = write(tmp_path / f"x.{ending}", {"good": b"", name: b"bad"})
    with pytest.raises(DataError, match=r"would leave the folder"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "good").exists()
    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as t:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        t.addfile(entry)
    with pytest.raises(DataError, match="'link' is a link"):
        unpacked(tmp_path / "x.tar", tmp_path / "out")


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "rar"])
def test_half_an_archive(tmp_path, ending):
    archive = write(tmp_path / f"x.{ending}", FILES | {"noise": bytes(range(256)) * 50})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="is not a whole archive") as caught:
        unpacked(archive, tmp_path / "out")
    assert "again" in caught.value.hint


def test_neither_folder_nor_archive(tmp_path):
    (tmp_path / "x.iso").write_bytes(b"")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        unpacked(tmp_path / "x.iso", tmp_path / "out")
