"""Locks between processes: leases that expire, and on which file systems they are needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmbench.store import locks
from pmbench.store.locks import Flock, Lease, flock_is_global, lock_of, needs_leases
from pmbench.store.store import Store

HOLD = """
import sys, time
from pathlib import Path
from pmbench.store.locks import Lease
print(Lease(Path(sys.argv[1]), 0.1, 1.0).acquire(), flush=True)
time.sleep(60)
"""
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /nfs rw,relatime shared:20 - nfs4 server:/x rw,vers=4.2,local_lock=none
41 22 0:36 / /nfs/alone rw - nfs server:/y rw,vers=3,nolock,local_lock=all
42 22 0:37 / /lustre rw,flock - lustre mgs:/fs rw,flock
43 22 0:38 / /lustre2 rw - lustre mgs:/fs rw,localflock
44 22 0:39 / /with\\040blank rw - fuse.sshfs host:/ rw
45 22 0:40 / /scratch rw - beegfs beegfs_nodev rw
46 22 0:41 / /tmp rw - tmpfs tmpfs rw
"""


def test_one_of_several_holds_a_lease(tmp_path: Path) -> None:
    first, second = Lease(tmp_path / "a.lease"), Lease(tmp_path / "a.lease")
    assert first.acquire()
    assert not second.acquire()
    assert Lease(tmp_path / "b.lease").acquire()
    second.release()  # not its own: nothing happens
    assert not Lease(tmp_path / "a.lease").acquire()
    first.release()
    assert second.acquire()


def test_a_lease_is_renewed_while_its_holder_lives(tmp_path: Path) -> None:
    held = Lease(tmp_path / "a.lease", heartbeat=0.05, expires=0.4)
    assert held.acquire()
    for _ in range(8):
        time.sleep(0.1)
        assert not Lease(held.path, 0.05, 0.4).acquire()
    held.release()
    assert [p.name for p in tmp_path.iterdir()] == []


@pytest.fixture
def two_mounts(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder, and a second mount of it; a symbolic link where this process may not mount."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "--bind", str(first), str(second)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        second.rmdir()
        second.symlink_to(first)
    yield first, second
    if mounted:
        subprocess.run(["umount", str(second)], check=True)


def test_the_lease_of_a_killed_holder_expires_for_all(two_mounts: tuple[Path, Path]) -> None:
    folder, other = two_mounts
    command = [sys.executable, "-c", HOLD, str(folder / "a.lease")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        mine = Lease(other / "a.lease", 0.1, 1.0)
        time.sleep(1.5)
        assert not mine.acquire(), "its holder lives"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert not mine.acquire(), "it has not expired"
        time.sleep(1.2)
        assert mine.acquire()
        assert not Lease(folder / "a.lease", 0.1, 1.0).acquire()
        mine.release()
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()
    assert list(folder.iterdir()) == []


def test_of_many_that_find_an_expired_lease_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    path.write_text("somebody who died")
    os.utime(path, (0, 0))
    code = HOLD.replace("time.sleep(60)", "time.sleep(3)")
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate()[0].strip() for process in started]
    assert said.count("True") == 1, said


def test_a_lease_taken_between_look_and_move_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lease"
    path.write_text("dead")
    os.utime(path, (0, 0))
    slow, rename = Lease(path), Path.rename

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        assert Lease(path).acquire()  # another one is faster
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert not slow.acquire()
    assert path.read_text() not in ("dead", slow.owner)
    assert [p.name for p in tmp_path.iterdir()] == ["a.lease"]


@pytest.mark.parametrize(
    ("folder", "agrees"),
    [
        ("/home/x", True),
        ("/nfs/x", True),
        ("/nfs/alone/x", False),
        ("/lustre/x", True),
        ("/lustre2/x", False),
        ("/with blank/x", False),
        ("/scratch/x", False),
        ("/tmp/x", True),
    ],
)
def test_where_flock_holds_on_all_machines(folder: str, agrees: bool) -> None:
    assert flock_is_global(MOUNTS, Path(folder)) is agrees


def test_a_store_takes_leases_where_flock_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(lock_of(tmp_path / "x.lock", tmp_path), Lease if needs_leases(tmp_path) else Flock)
    monkeypatch.setattr(locks, "needs_leases", lambda folder: True)
    key, store = "ab" * 32, Store(tmp_path)
    with store.lock(key) as mine:
        assert mine
        assert [p.suffix for p in (tmp_path / "ab").iterdir()] == [".lease"]
        with store.lock(key) as again:
            assert not again
    assert list((tmp_path / "ab").iterdir()) == []
