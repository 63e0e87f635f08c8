"""Archives that are refused: by their names, their kinds of members, their sizes."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import stored_rar
import videos

from pmbench.data import archives
from pmbench.data.prepare import prepare
from pmbench.data.unpack import unpacked
from pmbench.errors import DataError

MEGA = 1 << 20


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    return info, content


def write(path: Path, files: list[tuple[str, bytes]]) -> Path:
    """An archive of (name, content), whose names may be any and occur twice."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            for name, content in files:
                info = zipfile.ZipInfo("x")
                info.filename, info.compress_type = (
                    name,
                    zipfile.ZIP_DEFLATED,
                )  # the constructor ends it at NUL
                z.writestr(info, content)
    elif path.suffix == ".rar":
        path.write_bytes(b"".join(stored_rar.blocks(files)))
    else:
        with tarfile.open(path, "w:" + path.suffix.removeprefix(".").replace("tar", "")) as t:
            for name, content in files:
                info, content = entry(name, content)
                t.addfile(info, io.BytesIO(content))
    return path


def refused(archive: Path, match: str, **options) -> DataError:
    """The DataError of an archive that leaves no file behind, and no mark that it is unpacked."""
    out = archive.parent / "out"
    with pytest.raises(DataError, match=match) as caught:
        unpacked(archive, out, **options)
    assert [path.name for path in out.rglob("*") if path.is_file()] == [".archives.json"]
    assert list(json.loads((out / ".archives.json").read_text())) == [archive.name]
    assert str(archive) in caught.value.message
    assert caught.value.hint
    return caught.value


NAMES = {
    "a" * 256: "a name that is too long for the file system",
    "a/" + "ä" * 128: "a name that is too long for the file system",
    "/".join(["abcdefg"] * 600): "a path that is too long for the file system",
    "a\nb": "a control character",
    "a\x1b[2Jb": "a control character",
    "a\x7f": "a control character",
    ".archives.json": "would overwrite the state",
    ".Archives.json/x": "would overwrite the state",
    ".x.zip.unpacked": "would overwrite the state",
    "./.unpacking.tmp": "would overwrite the state",
    "./././.": "names no file",
    "../evil": "would leave the folder",
    "/evil": "would leave the folder",
    "c:\\evil": "would leave the folder",
}


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_cannot_be_written_is_refused(tmp_path, ending, name):
    archive = write(tmp_path / f"x.{ending}", [("good", b"1"), (name, b"2")])
    error = refused(archive, NAMES[name])
    assert len(error.message) < 300 + len(str(archive))


@pytest.mark.parametrize("name", ["a\nb", "./././.", "../evil", ".archives.json", "a" * 256])
def test_a_name_in_a_rar_is_checked_too(tmp_path, name):
    refused(write(tmp_path / "x.rar", [("good", b"1"), (name, b"2")]), NAMES[name])


def test_a_zip_with_nul_in_a_name(tmp_path):
    archive = write(tmp_path / "x.zip", [("good.avi\0.txt", b"1")])
    refused(archive, r"'good\.avi\\x00\.txt' has a control character")


@pytest.mark.parametrize(
    "name", ["a" * 255, "ä" * 127, "a b/(1) ü 漢.avi", "./a//b", ".hidden", "a.unpacked"]
)
@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_other_names_are_written(tmp_path, ending, name):
    out = unpacked(write(tmp_path / f"x.{ending}", [(name, b"1")]), tmp_path / "out")
    assert (out / name).read_bytes() == b"1"


@pytest.mark.parametrize("ending", ["zip", "tar", "rar"])
@pytest.mark.parametrize("second", ["a/b", "./a//b", "a\\b"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path, ending, second):
    refused(write(tmp_path / f"x.{ending}", [("a/b", b"1"), (second, b"22")]), "is there more than once")


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_file_with_the_name_of_a_folder(tmp_path, ending, order):
    files = [("a", b"1"), ("a/b/c", b"2")][::order]
    refused(write(tmp_path / f"x.{ending}", files), "'a/b/c' lies in 'a', which is a file")


KINDS = {
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "device",
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_links_and_devices_in_a_tar(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as t:
        t.addfile(*[entry("good")[0]])
        info, _ = entry("odd", kind=kind)
        info.linkname = "good"
        t.addfile(info)
    refused(tmp_path / "x.tar", f"'odd' is a {KINDS[kind]}")


@pytest.mark.parametrize(
    ("mode", "kind"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device")]
)
def test_no_links_and_devices_in_a_zip(tmp_path, mode, kind):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        info = zipfile.ZipInfo("odd")
        info.external_attr, info.create_system = (mode | 0o644) << 16, 3
        z.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.zip", f"'odd' is a {kind}")


# --- bombs -----------------------------------------------------------------------------------------------


def zeros(path: Path, megabytes: int) -> Path:
    """An archive of one file of zeros."""
    if path.suffix == ".zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z,
            z.open("zeros", "w") as file,
        ):
            for _ in range(megabytes):
                file.write(bytes(MEGA))
    else:
        info, _ = entry("zeros")
        info.size = megabytes * MEGA
        path.write_bytes(
            gzip.compress(info.tobuf()) + gzip.compress(bytes(MEGA)) * megabytes + gzip.compress(bytes(1024))
        )
    return path


@pytest.mark.parametrize(("ending", "megabytes"), [("zip", 1024), ("tar.gz", 2048)])
def test_gigabytes_of_zeros_are_stopped(tmp_path, ending, megabytes):
    archive = zeros(tmp_path / f"x.{ending}", megabytes)
    assert archive.stat().st_size < 6 * MEGA
    start = time.process_time()
    refused(archive, "unpacks to .*more than the allowed [234]")
    assert time.process_time() - start < 3  # without unpacking them


def test_the_limit_is_the_sum_over_all_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", MEGA)
    files = [(f"{n}", bytes(MEGA // 2)) for n in range(3)]
    for ending in ("zip", "tar.gz"):
        refused(write(tmp_path / f"x.{ending}", files), "more than the allowed")
        out = unpacked(write(tmp_path / f"y.{ending}", files[:2]), tmp_path / f"out-{ending}")
        assert (out / "1").stat().st_size == MEGA // 2


def test_what_compresses_little_may_be_of_any_size(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 1000)
    noise = os.urandom(1000) * 90
    for ending in ("zip", "tar.gz"):
        out = unpacked(write(tmp_path / f"x.{ending}", [("a", noise)]), tmp_path / f"out-{ending}")
        assert (out / "a").read_bytes() == noise


def test_a_data_set_declares_its_size(tmp_path):
    for ending in ("zip", "tar", "tar.gz", "rar"):
        archive = write(tmp_path / f"x.{ending}", [("a", bytes(600)), ("b", bytes(600))])
        refused(archive, "more than the allowed 1,199 bytes", largest=1199)
        unpacked(archive, tmp_path / f"out-{ending}", largest=1200)


def test_preparation_asks_the_data_set_for_the_limit(tmp_path, source):
    class Small(videos.Videos):
        unpacked_bytes = 2000

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        for path in sorted(source.rglob("*.npz")):
            z.write(path, path.relative_to(source))
    with pytest.raises(DataError, match="more than the allowed 2,000 bytes"):
        prepare(Small(), tmp_path / "x.zip", tmp_path / "data")
    assert prepare(videos.Videos(), tmp_path / "x.zip", tmp_path / "data").folder.exists()


def test_a_declared_size_may_be_more_than_the_general_one(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", MEGA)
    archive = write(tmp_path / "x.tar.gz", [("a", bytes(3 * MEGA))])
    refused(archive, "more than the allowed 1,048,576 bytes")
    assert (unpacked(archive, tmp_path / "out", largest=3 * MEGA) / "a").stat().st_size == 3 * MEGA


def test_zeros_behind_the_end_of_a_tar_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 2 * MEGA)
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(entry("empty")[0].tobuf() + bytes(8 * MEGA))
    refused(tmp_path / "x.tar.gz", "unpacks to more than")


def test_a_header_of_many_bytes_is_not_read(tmp_path):
    info, _ = entry("long", kind=tarfile.XHDTYPE)
    info.size = 200 * MEGA
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(200):
            file.write(bytes(MEGA))
    refused(tmp_path / "x.tar.gz", "a header of 209,715,200 bytes")


@pytest.mark.parametrize("declared", [100, 5000])
def test_the_declared_size_of_a_member_in_a_zip_is_compared(tmp_path, declared):
    archive = write(tmp_path / "x.zip", [("good", b"1"), ("a", b"abc" * 1000)])
    content = archive.read_bytes()
    assert content.count((3000).to_bytes(4, "little")) == 2  # beside the file and in the directory
    archive.write_bytes(content.replace((3000).to_bytes(4, "little"), declared.to_bytes(4, "little")))
    refused(archive, "is damaged|has 3,000 bytes instead of 5,000")


# --- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "rar"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, ending):
    noise = os.urandom(3000)
    whole = write(tmp_path / f"x.{ending}", [("a", noise), ("b/c", noise), ("d", b"")]).read_bytes()
    for share in (0.0, 0.1, 0.4, 0.6, 0.75):
        (tmp_path / f"x.{ending}").write_bytes(whole[: int(share * len(whole))])
        refused(tmp_path / f"x.{ending}", "is damaged or incomplete")


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    archive = write(tmp_path / "x.tar", [("a", bytes(512)), ("b", bytes(512))])
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, "neither a member nor the end of the archive at byte 1,024")


def test_a_damaged_header_does_not_end_a_tar(tmp_path):
    archive = write(tmp_path / "x.tar", [("a", b"1"), ("b", b"2")])
    content = bytearray(archive.read_bytes())
    content[1024] ^= 1  # the name of the second member, which no longer fits its checksum
    archive.write_bytes(content)
    refused(archive, "neither a member nor the end of the archive")


def test_the_state_of_an_earlier_call_is_damaged(tmp_path):
    archive = write(tmp_path / "x.zip", [("a", b"1")])
    for text in ("{", "[]", "7"):
        (unpacked(archive, tmp_path / "out") / ".archives.json").write_text(text)
        assert (unpacked(archive, tmp_path / "out") / "a").read_bytes() == b"1"
