"""The index of a store says what its folders hold, whatever happened to either."""

from __future__ import annotations

import os
import shutil
import time

import many_stages
import pytest

from pmbench.store import listing
from pmbench.store.listing import INDEX, read_listing
from pmbench.store.store import Store


def settle(root, seconds=60):
    """Makes all folders look as if they had changed some time ago, so that the index is believed."""
    then = time.time() - seconds
    for path in [*root.glob("??/*"), *root.glob("??")]:
        os.utime(path, (then, then))


@pytest.fixture
def root(tmp_path):
    """A store of 300 stages whose index is up to date."""
    many_stages.write(tmp_path, 300)
    settle(tmp_path)
    read_listing(tmp_path)
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Keys of stages whose files are read."""
    found = []
    read = listing._entry

    def noting(key, *rest):
        found.append(key)
        return read(key, *rest)

    monkeypatch.setattr(listing, "_entry", noting)
    return found


def test_the_index_has_the_values_of_all_stages(root, opened):
    entries = read_listing(root).entries
    assert opened == []
    assert len({e.key for e in entries}) == 300
    assert [e.finished for e in entries] == sorted(e.finished for e in entries)
    (root / INDEX).unlink()
    assert read_listing(root).entries == entries
    assert len(opened) == 300
    one = entries[7]
    assert (one.stage, one.name, one.dataset, one.seed) == ("Stream", "pmbench:Stream", "mfeat", 7)
    assert (one.reads, one.backbones, one.trained_on) == (("fou",), ("mlp-64",), "train, 10 labels a class")
    files = [path for path in (root / one.key[:2] / one.key).iterdir() if path.is_file()]
    assert one.size == sum(path.stat().st_size for path in files)


def test_changes_by_pmbench_are_seen_and_nothing_else_is_read(root, opened):
    first, second, third, *_ = (e.key for e in read_listing(root).entries)
    store = Store(root)
    store.remove(first)
    store.note_method([second], "hoffman")
    store.put_program(third, ("fou",), lambda path: path.write_bytes(b"x" * 1000))
    found = {e.key: e for e in read_listing(root).entries}
    assert len(found) == 299
    assert first not in found
    assert found[second].methods == ("hoffman", "kd")
    assert found[third].size > 1000
    assert sorted(opened) == sorted([second, third])


def test_a_change_in_the_tick_of_the_last_reading_is_seen(root, opened):
    key = read_listing(root).entries[0].key
    os.utime(root / key[:2])  # changed now: the index that is written now does not settle it
    read_listing(root)
    before = (root / key[:2]).stat()
    shutil.rmtree(root / key[:2] / key)
    os.utime(root / key[:2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert key not in [e.key for e in read_listing(root).entries]


@pytest.mark.parametrize(
    "content", [b"", b"\x92\x01", b"no index", None], ids=["empty", "cut", "text", "old"]
)
def test_an_index_that_cannot_be_read_is_made_anew(root, content, monkeypatch):
    entries = read_listing(root).entries
    if content is None:
        monkeypatch.setattr(listing, "_FORMAT", 99)
    else:
        (root / INDEX).write_bytes(content)
    assert read_listing(root).entries == entries
    settle(root, 120)
    read_listing(root)
    assert len(listing._load(root / INDEX)[0]) == len(listing._shards(root))


def test_odd_folders_are_damaged_or_unfinished(root):
    keys = [e.key for e in read_listing(root).entries]
    for key, text in zip(keys, ("{", "[]", '{"inputs": 3}', '{"finished": "x"}'), strict=False):
        path = root / key[:2] / key / "stage.json"
        path.unlink()
        path.write_text(text)
    gone = root / keys[4][:2] / keys[4]
    (gone / "stage.json").unlink()
    work = root / keys[5][:2] / f"{keys[5]}.work"
    work.mkdir()
    for key in keys[:5]:
        os.utime(root / key[:2])
    found = read_listing(root)
    assert found.damaged == sorted(keys[:4])
    assert sorted(found.rest) == sorted([gone, work])
    assert len(found.entries) == 295


def test_a_store_that_is_only_read_gets_no_index(tmp_path):
    many_stages.write(tmp_path, 3)
    assert len(Store(tmp_path / "own", shared=tmp_path).entries()) == 3
    assert not (tmp_path / INDEX).exists()


def test_keys_by_their_first_digits(root):
    keys = sorted(e.key for e in read_listing(root).entries)
    store = Store(root)
    assert store.find("") == keys
    assert store.find(keys[0][:9]) == [keys[0]]
    assert store.find(keys[0][0]) == [key for key in keys if key[0] == keys[0][0]]
