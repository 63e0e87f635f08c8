"""Archives: unpacked once, never outside of their folder; damage is named."""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile

import pytest
import stored_rar
from pmbench_hmdb.dataset import LISTS
from pmbench_hmdb.demo import Hmdb51Demo
from pmbench_hmdb.miniature import write_hmdb

from pmbench.data.unpack import unpacked
from pmbench.errors import DataError, UsageError

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
        if p.is_file() and not p.name.startswith(".")
    }


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "rar"])
def test_an_archive_is_unpacked_once(tmp_path, ending):
    archive = write(tmp_path / f"x.{ending}", FILES)
    reports = []
    tree = unpacked(archive, tmp_path / "out", lambda *report: reports.append(report))
    assert content(tree) == FILES
    assert reports[0] == (f"unpacking x.{ending}", 0, 3)
    stamps = {p: p.stat().st_mtime_ns for p in tree.rglob("*.avi")}
    unpacked(archive, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*.avi")} == stamps


def test_unpacking_is_resumed(tmp_path):
    archive = write(tmp_path / "x.zip", FILES)
    existing = tmp_path / "out" / "UCF-101" / "Run"
    existing.mkdir(parents=True)
    (existing / "v_1.avi").write_bytes(b"one")
    assert content(unpacked(archive, tmp_path / "out")) == FILES


def test_a_folder_without_archives_is_used_directly(tmp_path):
    assert unpacked(tmp_path, tmp_path / "out") == tmp_path
    assert not (tmp_path / "out").exists()


def test_archives_and_folders_are_merged(tmp_path):
    source = tmp_path / "source"
    (source / "lists").mkdir(parents=True)
    (source / "lists" / "a.txt").write_text("a")
    write(source / "one.zip", {"videos/1.avi": b"1"})
    write(source / "two.tar", {"videos/2.avi": b"2"})
    tree = unpacked(source, tmp_path / "out")
    assert (tree / "lists" / "a.txt").read_text() == "a"
    assert {p.name for p in (tree / "videos").iterdir()} == {"1.avi", "2.avi"}


def test_a_changed_archive_replaces_its_files(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    archive = write(source / "x.zip", {"labels.csv": b"a,1", "gone.csv": b""})
    unpacked(source, tmp_path / "out")
    write(source / "y.zip", {"more.csv": b"1"})  # files of the first archive are kept
    stamp = (tmp_path / "out" / "labels.csv").stat().st_mtime_ns
    assert content(unpacked(source, tmp_path / "out")).keys() == {"labels.csv", "gone.csv", "more.csv"}
    assert (tmp_path / "out" / "labels.csv").stat().st_mtime_ns == stamp
    write(archive, {"labels.csv": b"a,2"})  # same size
    os.utime(archive, ns=(0, 0))
    assert content(unpacked(source, tmp_path / "out")) == {"labels.csv": b"a,2", "more.csv": b"1"}


def test_files_beside_an_archive_are_those_of_the_current_source(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "labels.csv").write_text(name)
        write(tmp_path / name / "x.zip", {"v": b""})
        os.utime(tmp_path / name / "x.zip", ns=(0, 0))
    for name in "ab":
        assert (unpacked(tmp_path / name, tmp_path / "out") / "labels.csv").read_text() == name


def test_nothing_is_written_into_the_source(tmp_path):
    source = tmp_path / "source"
    (source / "UCF-101").mkdir(parents=True)
    (source / "UCF-101" / "1.avi").write_bytes(b"mine")
    archive = write(source / "x.zip", {"UCF-101/1.avi": b"4 by", "UCF-101/2.avi": b"2"})
    with pytest.raises(
        DataError, match=r"holds UCF-101/2\.avi, which is missing or incomplete in the folder"
    ):
        unpacked(source, tmp_path / "out")
    assert content(source / "UCF-101") == {"1.avi": b"mine"}
    write(archive, {"UCF-101/1.avi": b"4 by"})  # unpacked already, judging by its size
    assert (unpacked(source, tmp_path / "out") / "UCF-101" / "1.avi").read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_damage_that_only_a_checksum_shows_is_found(tmp_path, kind):
    rng = random.Random(0)
    archive = tmp_path / f"x.tar.{kind}"
    with tarfile.open(archive, f"w:{kind}") as t:
        for name in "abc":
            entry = tarfile.TarInfo(name)
            entry.size = 300_000
            t.addfile(entry, io.BytesIO(rng.randbytes(entry.size)))
    whole = archive.read_bytes()
    for position in (len(whole) // 2, len(whole) - 6):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged or incomplete"):
            unpacked(archive, tmp_path / "out")
    archive.write_bytes(whole)
    assert content(unpacked(archive, tmp_path / "out")).keys() == {"a", "b", "c"}


def test_an_unknown_compression_is_refused(tmp_path):
    archive = write(tmp_path / "x.zip", FILES)
    archive.write_bytes(archive.read_bytes().replace(b"\x08\x00", b"\x09\x00"))  # Deflate64
    with pytest.raises(UsageError, match="cannot be unpacked") as caught:
        unpacked(archive, tmp_path / "out")
    assert "unpack it yourself" in caught.value.hint


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "c:\\evil", "..\\evil"])
def test_a_member_outside_of_the_folder_is_refused(tmp_path, ending, name):
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
def test_a_truncated_archive_is_named(tmp_path, ending):
    archive = write(tmp_path / f"x.{ending}", FILES | {"noise": bytes(range(256)) * 50})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="is damaged or incomplete") as caught:
        unpacked(archive, tmp_path / "out")
    assert "again" in caught.value.hint


def test_archives_in_an_archive_are_unpacked_beside_it(tmp_path):
    """As HMDB51 is distributed: a rar of one rar for each class."""
    inner = {name: stored_rar.archive({f"{name}/a[1];b&c.avi": name.encode()}) for name in ("run", "wave")}
    archive = write(tmp_path / "x.rar", {f"{name}.rar": content for name, content in inner.items()})
    for _ in range(2):
        tree = unpacked(archive, tmp_path / "out")
        found = {name: data for name, data in content(tree).items() if not name.endswith(".rar")}
        assert found == {"run/a[1];b&c.avi": b"run", "wave/a[1];b&c.avi": b"wave"}
    damaged = stored_rar.archive({"run/a.avi": bytes(1000)})[:-500]
    broken = write(tmp_path / "y.rar", {"run.rar": damaged})
    with pytest.raises(DataError, match=r"run\.rar is damaged or incomplete"):
        unpacked(broken, tmp_path / "other")


def test_hmdb51_is_read_from_its_archives(tmp_path):
    """hmdb51_org.rar, which holds a rar for each class, and test_train_splits.rar, in one folder."""
    tree = write_hmdb(tmp_path / "tree", clips=1, frames=(4, 5), size=(24, 32))
    files = content(tree)
    classes = {
        f"{name}.rar": stored_rar.archive({f: c for f, c in files.items() if f.startswith(f"{name}/")})
        for name in Hmdb51Demo.classes
    }
    (tmp_path / "downloads").mkdir()
    write(tmp_path / "downloads" / "hmdb51_org.rar", classes)
    lists = {f: c for f, c in files.items() if f.startswith(LISTS)}
    write(tmp_path / "downloads" / "test_train_splits.rar", lists)
    parts = dict(Hmdb51Demo().read(unpacked(tmp_path / "downloads", tmp_path / "out")))
    assert sum(len(part.ids) for part in parts.values()) == 4 * 5
    assert sorted(name for name in parts if parts[name].ids) == [
        f"flags-{flags}-short" for flags in ("001", "111", "112", "121", "211")
    ]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.iso").write_bytes(b"")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        unpacked(tmp_path / "x.iso", tmp_path / "out")
