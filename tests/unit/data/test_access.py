"""Which files a process may open while the guard is up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pmbench.data.access import only
from pmbench.errors import ContractError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared data set with one file that may be read and one that may not."""
    root = tmp_path / "data"
    (root / "test").mkdir(parents=True)
    for name in ("x.npy", "labels.npy"):
        np.save(root / "test" / name, np.arange(3))
    return root


@pytest.fixture
def guard(folder: Path):
    return only("stage 'peek'", [folder], [folder / "test" / "x.npy"])


def test_an_allowed_file_is_read(folder, guard) -> None:
    with guard:
        assert np.load(folder / "test" / "x.npy").tolist() == [0, 1, 2]
        assert (folder / "test" / "x.npy").read_bytes()


OPENINGS = {
    "open": lambda path, _: path.read_bytes(),
    "os.open": lambda path, _: os.open(path, os.O_RDONLY),
    "a descriptor of its folder": lambda path, _: os.open(path.parent, os.O_RDONLY),
    "a descriptor of a folder above": lambda path, _: os.open(path.parents[2], os.O_RDONLY),
    "numpy": lambda path, _: np.load(path),
    "a memory map": lambda path, _: np.load(path, mmap_mode="r"),
    "a detour": lambda path, _: (path.parent / ".." / "test" / path.name).read_bytes(),
    "a name in bytes": lambda path, _: np.fromfile(os.fsencode(path)),
    "a new hard link": lambda path, elsewhere: os.link(path, elsewhere / "link"),
    "a new symbolic link": lambda path, elsewhere: os.symlink(path, elsewhere / "link"),
    "a rename": lambda path, elsewhere: os.rename(path, elsewhere / "moved"),
    "writing": lambda path, _: path.write_bytes(b""),
    "a new file": lambda path, _: path.with_name("new").touch(),
}


@pytest.mark.parametrize("way", OPENINGS)
def test_no_way_of_opening_leads_to_another_file(folder, guard, tmp_path, way) -> None:
    path = folder / "test" / "labels.npy"
    with guard, pytest.raises(ContractError, match=r"stage 'peek' opened .*may not read"):
        OPENINGS[way](path, tmp_path)
    assert np.load(path).tolist() == [0, 1, 2]


def test_an_existing_link_leads_to_no_other_file(folder, guard, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder / "test" / "labels.npy")
    with guard, pytest.raises(ContractError):
        link.read_bytes()


def test_files_outside_are_open_as_ever(guard, tmp_path) -> None:
    (tmp_path / "database.txt").write_text("free")
    with guard:
        assert (tmp_path / "database.txt").read_text() == "free"


def test_the_inner_guard_counts_and_the_outer_returns(folder, guard) -> None:
    x, labels = (folder / "test" / name for name in ("x.npy", "labels.npy"))
    with guard:
        with only("stage 'inner'", [folder], [labels]):
            assert labels.read_bytes()
            with pytest.raises(ContractError, match="'inner'"):
                x.read_bytes()
        assert x.read_bytes()
        with pytest.raises(ContractError, match="'peek'"):
            labels.read_bytes()


def test_an_error_takes_the_guard_down(folder, guard) -> None:
    with pytest.raises(ZeroDivisionError), guard:
        raise ZeroDivisionError
    assert (folder / "test" / "labels.npy").read_bytes()
