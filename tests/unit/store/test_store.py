"""Finished stages are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import count, islice

import engine_lab as toys
import pytest
import torch
from safetensors.torch import load_file

from pmbench.errors import StoreError
from pmbench.files import file_digest
from pmbench.store.keys import digest
from pmbench.store.store import Store

FIRST, SECOND = islice(({"n": n} for n in count() if digest({"n": n}).startswith("ab")), 2)
KEY, OTHER = digest(FIRST), digest(SECOND)
THIRD = "cd" + "0" * 62
FORK = multiprocessing.get_context("fork")  # saves importing torch again
WEIGHTS = {
    "a": torch.arange(12.0).reshape(3, 4),
    "b": torch.tensor(3),
    "c": torch.ones(2, dtype=torch.bfloat16),
}
EPOCH_WEIGHTS = {f"{epoch}/{name}": tensor * epoch for epoch in (1, 2) for name, tensor in WEIGHTS.items()}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def flip(path, position):
    """Changes one bit and keeps size and time."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_round_trip(store):
    assert not store.has(KEY)
    assert not store.whole(KEY)
    assert store.entries() == []
    store.put(KEY, WEIGHTS, {"inputs": FIRST, "stage": "S", "finished": 1.0}, "epoch,ce\n1,0.5\n")
    assert store.whole(KEY)
    assert toys.same(store.weights(KEY), WEIGHTS)
    assert store.stage(KEY)["key"] == KEY
    assert {p.name for p in store.folder(KEY).iterdir()} == {"stage.json", "weights.safetensors", "curve.csv"}
    (entry,) = store.entries()
    assert (entry.key, entry.stage) == (KEY, "S")
    assert entry.size == sum(p.stat().st_size for p in store.folder(KEY).iterdir())
    assert store.find("ab") == store.find(KEY) == store.find("a") == [KEY]
    assert store.find("ac") == []


def test_weights_that_share_memory_and_have_other_layouts(store):
    base = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    weights = {"whole": base, "part": base[1:2], "again": base}
    store.put(KEY, weights, {"inputs": FIRST}, "")
    assert toys.same(store.weights(KEY), weights)


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "json", "sum"])
def test_a_damaged_stage_is_not_whole(store, damage):
    for key, inputs in ((KEY, FIRST), (OTHER, SECOND)):
        store.put(key, WEIGHTS, {"inputs": inputs}, "")
    path = store.folder(KEY) / "weights.safetensors"
    if damage == "bit":
        flip(path, -1)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "gone":
        path.unlink()
    else:
        text = {"json": "{", "sum": "{}"}[damage]
        (store.folder(KEY) / "stage.json").write_text(text)
    assert not store.whole(KEY)
    assert store.folder(KEY).exists()  # a question removes nothing
    assert store.whole(OTHER)
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    assert store.whole(KEY)


def test_damaged_weights_are_not_loaded(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    flip(store.folder(KEY) / "weights.safetensors", -1)  # still a valid file
    with pytest.raises(StoreError, match="damaged") as caught:
        store.weights(KEY)
    assert "again" in caught.value.hint


def test_a_stage_is_stored_under_the_digest_of_its_inputs_alone(store):
    with pytest.raises(StoreError, match=f"as {OTHER[:12]}.* its inputs is {KEY[:12]}"):
        store.put(OTHER, WEIGHTS, {"inputs": FIRST}, "")
    with pytest.raises(StoreError, match="cannot be stored as"):
        store.put(KEY, WEIGHTS, {}, "")
    assert store.entries() == store.leftovers(-60) == []


def test_a_damaged_stage_is_trained_again(lab):
    stage = toys.Plain()
    before = {name: t.clone() for name, t in lab.train(stage).items()}  # they are mapped from the file
    flip(lab.store.folder(lab.context.key(stage)) / "weights.safetensors", -1)
    assert toys.same(lab.train(stage), before)
    assert lab.store.whole(lab.context.key(stage))


def test_putting_again_replaces(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    store.put(KEY, {"a": torch.zeros(1)}, {"inputs": FIRST}, "")
    assert set(store.weights(KEY)) == {"a"}
    assert store.leftovers() == []


@pytest.mark.parametrize("damage", ["nothing", "bit in data", "bit in head", "cut", "empty", "no metadata"])
def test_checkpoints(store, damage):
    assert store.load_checkpoint(KEY) is None
    store.save_checkpoint(KEY, WEIGHTS, {"epoch": 1, "best": 0.1 + 0.2})
    path = store.checkpoint_path(KEY)
    if damage == "nothing":
        tensors, state = store.load_checkpoint(KEY)
        assert toys.same(tensors, WEIGHTS)
        assert state == {"epoch": 1, "best": 0.1 + 0.2}
        store.save_checkpoint(KEY, {"a": torch.zeros(1)}, {"epoch": 2})
        assert store.load_checkpoint(KEY)[1]["epoch"] == 2
        store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
        assert store.load_checkpoint(KEY) is None
        return
    if damage == "no metadata":
        from safetensors.torch import save_file

        save_file(WEIGHTS, path)
    elif damage.startswith("bit"):
        flip(path, -1 if damage == "bit in data" else 10)
    else:
        path.write_bytes(path.read_bytes()[:-5] if damage == "cut" else b"")
    assert store.load_checkpoint(KEY) is None


def test_a_damaged_checkpoint_starts_over(lab):
    stage = toys.Plain(dropout=0.3)
    before = lab.train(stage)
    key = lab.context.key(stage)
    lab.store.remove(key)
    lab.store.work(key).mkdir()
    lab.store.checkpoint_path(key).write_bytes(b"not a checkpoint")
    assert toys.same(lab.train(stage), before)
    assert not lab.store.checkpoint_path(key).exists()


def test_housekeeping(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST, "finished": 2.0}, "")
    store.put(OTHER, WEIGHTS, {"inputs": SECOND, "finished": 1.0}, "")
    assert [e.key for e in store.entries()] == [OTHER, KEY]
    store.save_checkpoint(THIRD, WEIGHTS, {})
    rest = store.root / "ab" / ".half.tmp"
    rest.mkdir()
    found = store.leftovers()
    assert found == sorted([rest, store.work(THIRD)])
    assert store.leftovers(3600) == []
    (store.folder(OTHER) / "stage.json").write_text("{")
    assert [e.key for e in store.entries()] == [KEY]
    with pytest.raises(StoreError, match="cannot be read") as caught:
        store.stage(OTHER)
    assert "prune" in caught.value.hint
    store.remove(KEY)
    store.remove(KEY)
    assert not store.has(KEY)


def test_what_a_killed_process_left_is_no_stage_and_goes_when_it_is_stored(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST, "stage": "S"}, "")
    left = store.folder(KEY).with_name(f".{KEY}.abc.tmp")
    shutil.copytree(store.folder(KEY), left)
    other = left.with_name(f".{OTHER}.abc.tmp")
    shutil.copytree(store.folder(KEY), other)
    assert [e.key for e in store.entries()] == [KEY]
    assert store.find(KEY[:2]) == [KEY]
    store.put(KEY, WEIGHTS, {"inputs": FIRST, "stage": "S"}, "")
    assert not left.exists()
    assert other.exists(), "another process may be storing this stage"


def test_removing_after_an_interrupted_removal(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    removed = store.folder(KEY).with_name(f".{KEY}.removed.tmp")
    removed.mkdir()
    (removed / "weights.safetensors").write_bytes(b"old")
    store.remove(KEY)
    assert not store.folder(KEY).exists()
    assert not removed.exists()


# --- stages of other processes ------------------------------------------------------------------------------


@pytest.fixture
def staged(store):
    """The folder in which another process has left stage KEY."""
    Store(store.root, staged=True).put(KEY, WEIGHTS, {"inputs": FIRST}, "epoch\n")
    return store.work(KEY) / "finished"


def test_a_staged_stage_is_stored_when_it_is_adopted(store, staged):
    assert not store.has(KEY)
    store.adopt(KEY, lambda stage: stage.update(measured=7))
    assert store.whole(KEY)
    assert store.stage(KEY)["measured"] == 7
    assert (store.folder(KEY) / "curve.csv").read_text() == "epoch\n"
    assert not store.work(KEY).exists()


def test_weights_of_epochs_are_stored_with_their_digest(store):
    Store(store.root, staged=True).put(KEY, WEIGHTS, {"inputs": FIRST}, "", EPOCH_WEIGHTS)
    assert store.epochs(KEY) is None, "not before it is adopted"
    store.adopt(KEY)
    path = store.epochs(KEY)
    assert load_file(path).keys() == EPOCH_WEIGHTS.keys()
    flip(path, -1)
    assert store.epochs(KEY) is None
    assert store.whole(KEY), "the stage itself is intact"
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    assert store.epochs(KEY) is None


@pytest.mark.parametrize("change", [lambda path: flip(path, -1), lambda path: path.unlink()])
def test_weights_of_epochs_with_another_digest_are_not_adopted(store, change):
    Store(store.root, staged=True).put(KEY, WEIGHTS, {"inputs": FIRST}, "", EPOCH_WEIGHTS)
    change(store.work(KEY) / "finished" / "epochs.safetensors")
    with pytest.raises(StoreError, match=r"another digest|no regular file"):
        store.adopt(KEY)
    assert not store.has(KEY)


def edit(name):
    def change(folder):
        stage = json.loads((folder / "stage.json").read_text())
        stage[name] = {"other": 1} if name == "inputs" else "0" * 64
        (folder / "stage.json").write_text(json.dumps(stage))

    return change


def linked(name):
    def change(folder):
        (folder / name).rename(folder / "real")
        (folder / name).symlink_to(folder / "real")

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("inputs"), "its inputs have another key"),
        (edit("key"), "its inputs have another key"),
        (edit("weights_sha256"), "its weights have another digest"),
        (lambda folder: (folder / "stage.json").write_text("[]"), "its inputs have another key"),
        (lambda folder: (folder / "stage.json").write_text("{"), "was not left complete"),
        (lambda folder: (folder / "stage.json").write_text("[" * 100_000), "was not left complete"),
        (lambda folder: (folder / "curve.csv").unlink(), "is no regular file"),
        (linked("weights.safetensors"), "is no regular file"),
        (linked("stage.json"), "is no regular file"),
    ],
)
def test_what_is_no_whole_stage_is_not_adopted(store, staged, change, words):
    change(staged)
    with pytest.raises(StoreError, match=words):
        store.adopt(KEY)
    assert not store.has(KEY)


def test_a_staged_program_is_stored_with_its_digest(store):
    store.put(KEY, WEIGHTS, {"inputs": FIRST}, "")
    inputs = ("depth", "rgb")
    Store(store.root, staged=True).put_program(KEY, inputs, lambda path: path.write_bytes(b"program"))
    assert store.program_digest(KEY, inputs) is None
    path = store.adopt_program(KEY, inputs)
    assert store.program_digest(KEY, inputs) == file_digest(path)
    path.write_bytes(b"Program")
    assert store.program_digest(KEY, inputs) is None
    with pytest.raises(StoreError, match="no regular file"):
        store.adopt_program(KEY, inputs)


# --- several processes --------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from pmbench.store.keys import digest
from pmbench.store.store import Store
with Store(Path(sys.argv[1])).lock(sys.argv[2]) as mine:
    print("mine" if mine else "busy", flush=True)
    time.sleep(60 if mine else 0)
"""


def test_the_lock_of_a_killed_process_is_released(store):
    command = [sys.executable, "-c", HOLD, str(store.root), KEY]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "mine\n"
        with store.lock(KEY) as mine:
            assert not mine
        with store.lock(OTHER) as mine:
            assert mine
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock(KEY) as mine:
            assert mine
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "busy\n"
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def _train_for_long(root, pipe):
    lab = toys.Lab(root)
    lab = lab.but(recipe=lab.recipe.but(epochs=2000))
    training = lab.training(toys.Plain("wave", dropout=0.5))
    training.run(lambda done, total, values: pipe.send((training.key, done)))


def test_killed_while_training_a_checkpoint_is_whole(tmp_path):
    """Killed at arbitrary instants, what lies there is a whole checkpoint of an epoch that was done."""
    toys.Lab(tmp_path)  # prepares the data
    store = Store(tmp_path / "store")
    reached = 0
    for wait in (0.003, 0.011, 0.037):
        ours, theirs = FORK.Pipe()
        worker = FORK.Process(target=_train_for_long, args=(tmp_path, theirs))
        worker.start()
        try:
            key, start = ours.recv()
            assert start == reached
            for _ in range(5):
                key, done = ours.recv()
            time.sleep(wait)
        finally:
            worker.kill()
            worker.join()
        tensors, state = store.load_checkpoint(key)
        assert state["epoch"] >= done - 1
        assert len(state["curve"]) == state["epoch"]
        assert all(t.isfinite().all() for t in tensors.values())
        assert not store.has(key)
        reached = state["epoch"]
        with store.lock(key) as mine:
            assert mine


# --- no space left ------------------------------------------------------------------------------------------


def _fill(root, limit=0):
    """Writes into a store that has no room for big files, and looks at what is there afterwards."""
    store = Store(root)
    small, big = {"w": torch.zeros(10)}, {"w": torch.zeros(600_000)}
    store.put(KEY, small, {"inputs": FIRST}, "")
    store.save_checkpoint(THIRD, small, {"epoch": 1})
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    messages = []
    for act in (
        lambda: store.put(OTHER, big, {"inputs": SECOND}, ""),
        lambda: store.put(KEY, big, {"inputs": FIRST}, ""),
        lambda: store.put(OTHER, small, {"inputs": SECOND, "long": "x" * 2_400_000}, ""),
        lambda: store.put(OTHER, small, {"inputs": SECOND}, "x" * 2_400_000),
        lambda: store.save_checkpoint(THIRD, big, {"epoch": 2}),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.hint
        messages.append(caught.value.message)
    assert store.whole(KEY)
    assert len(store.weights(KEY)["w"]) == 10
    assert store.load_checkpoint(THIRD)[1] == {"epoch": 1}
    assert not store.has(OTHER)
    assert store.leftovers(-60) == [store.work(THIRD)]
    return messages


def _fill_limited(root, pipe):
    pipe.send(_fill(root, 1_000_000))


def test_files_that_may_not_grow_leave_nothing_half_written(tmp_path):
    ours, theirs = FORK.Pipe()
    worker = FORK.Process(target=_fill_limited, args=(tmp_path / "store", theirs))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert all("cannot write" in line for line in ours.recv())


@pytest.fixture
def tiny(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "tiny"
    place.mkdir()
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs, which needs Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(os.fsencode(place), 2)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tiny):
    assert all("no space left" in line for line in _fill(tiny / "store"))


def test_a_full_disk_while_training(tiny, tmp_path):
    """The stage fails with a StoreError; with space again it goes on to the bits of an undisturbed run."""
    roomy = toys.Lab(tmp_path / "roomy")
    lab = toys.Lab(tmp_path / "roomy")
    lab.store = Store(tiny / "store")
    stage = toys.Plain("wave", dropout=0.3)
    key = lab.context.key(stage)
    ballast = tiny / "ballast"

    def fill(done, total, values):
        if done == 1 and not ballast.exists():
            with ballast.open("wb") as file:
                free = shutil.disk_usage(tiny).free
                file.write(b"x" * (free // 4096 * 4096))

    with pytest.raises(StoreError, match="no space left") as caught:
        lab.training(stage).run(fill)
    assert "free some space" in caught.value.hint
    assert lab.store.load_checkpoint(key)[1]["epoch"] == 1
    ballast.unlink()
    assert toys.same(lab.training(stage).run().state_dict(), roomy.train(stage))


def test_a_store_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "store")
    for act in (
        lambda: store.put(KEY, WEIGHTS, {"inputs": FIRST}, ""),
        lambda: store.save_checkpoint(KEY, WEIGHTS, {}),
        lambda: store.lock(KEY).__enter__(),
    ):
        with pytest.raises(StoreError, match="cannot write") as caught:
            act()
        assert "writable" in caught.value.hint
    assert json.dumps(store.find("ab")) == "[]"
