"""Preparing a data set of files: resuming, problems, cleaning up."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import videos
from filelock import FileLock

import pmbench as pm
from pmbench import files
from pmbench.data import prepare as preparing
from pmbench.data import shards
from pmbench.data.prepare import prepare
from pmbench.data.prepared import open_prepared, verify
from pmbench.errors import DataError, DataNotPrepared, PluginError, StoreError
from pmbench.files import publish
from pmbench.plugins import load_plugins
from pmbench.testing import dataset_checks
from pmbench.testing.outcome import Failed


@pytest.fixture
def raw(source, tmp_path):
    return prepare(videos.Videos(), source, tmp_path / "data", codec="raw")


def protocol(name="one"):
    return videos.Videos().protocol(name)


def test_preparation_in_processes_writes_the_same_bytes(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SAMPLES", 2)
    single = prepare(videos.Videos(), source, tmp_path / "single")
    reports, root = [], tmp_path / "parallel"
    parallel = prepare(videos.Videos(), source, root, lambda *report: reports.append(report), workers=2)
    assert parallel.fingerprint == single.fingerprint
    counted = [(done, total) for text, done, total in reports if text == "reading files"]
    assert counted[0] == (0, 36)
    assert counted[-1] == (36, 36)
    assert [p.name for p in root.iterdir() if not p.name.endswith(".lock")] == ["videos-v1"]


def test_an_interrupted_preparation_is_resumed(source, tmp_path, monkeypatch):
    root, read = tmp_path / "data", []
    original = shards.read

    def stops(shard):
        if len(read) == 4:
            raise KeyboardInterrupt
        read.append(shard.path.name)
        original(shard)

    monkeypatch.setattr(shards, "read", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(videos.Videos(), source, root)
    with pytest.raises(DataNotPrepared):
        open_prepared(videos.Videos(), root)
    monkeypatch.setattr(shards, "read", lambda shard: (read.append(shard.path.name), original(shard)))
    prepare(videos.Videos(), source, root)
    assert len(read) == len(set(read)) == 12


@dataclasses.dataclass(frozen=True)
class Recording:
    folder: Path
    offsets: np.ndarray


def test_the_name_of_a_shard_depends_on_items_arrays_and_readers(tmp_path, monkeypatch):
    rgb, folder = videos.Videos().modality("rgb"), tmp_path / "frames"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"1")
    zeros, ones = np.zeros(2000), np.zeros(2000)
    ones[1000] = 1

    def name_of(item, load=videos.load_frames):
        return shards.cut(tmp_path, "a", rgb, pm.Files([item], load), "raw")[0].path.name

    before = name_of(folder)
    assert name_of(folder) == before
    stat = folder.stat()
    (folder / "1.png").write_bytes(b"two")  # the time of the folder does not change
    assert folder.stat().st_mtime_ns == stat.st_mtime_ns
    assert name_of(folder) != before
    assert name_of(Recording(folder, zeros)) == name_of(Recording(folder, zeros.copy()))
    assert name_of(Recording(folder, zeros)) != name_of(Recording(folder, ones))
    before = name_of(Recording(folder, zeros))
    (folder / "1.png").write_bytes(b"three")
    assert name_of(Recording(folder, zeros)) != before

    def changed(module):
        return "other" if module == "pmbench.media.video" else original(module)

    before, original = name_of(folder), shards.module_digest
    shards._own_code.cache_clear()
    monkeypatch.setattr(shards, "module_digest", changed)  # the reader that `load` calls has changed
    assert name_of(folder) != before
    shards._own_code.cache_clear()


def test_rows_of_shards_are_stored_like_one_numpy_array(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SAMPLES", 2)
    prepared = prepare(videos.Videos(), source, tmp_path / "data")
    rows = np.array([np.full(5, np.nan), np.arange(5) + 21, np.arange(5) + 22], np.float32)
    np.save(tmp_path / "whole.npy", rows)
    assert prepared.path("c", "sound").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("frames", [np.zeros((2, 12, 16, 2)), np.zeros((2, 8, 9, 3)), np.zeros((2, 12, 16))])
def test_frames_of_invalid_shapes_are_named(source, tmp_path, frames):
    class Invalid(videos.Videos):
        def read(self, source):
            for name, part in super().read(source):
                files = part.arrays["rgb"].items
                load = partial(load_with, path_of_frames=files[1], frames=frames.astype(np.uint8))
                yield name, dataclasses.replace(part, arrays={**part.arrays, "rgb": pm.Files(files, load)})

    with pytest.raises(PluginError, match=r"load_with gave frames that cannot be stored at 'rgb' of .*g0-1"):
        prepare(Invalid(), source, tmp_path / "data")


def load_with(path, path_of_frames, frames):
    return frames if path == path_of_frames else list(np.load(path)["frames"])


def test_frames_of_two_sizes_are_a_plugin_error(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SAMPLES", 1)

    class Invalid(videos.Videos):
        def read(self, source):
            for name, part in super().read(source):
                files = part.arrays["rgb"].items
                load = partial(load_with, path_of_frames=files[1], frames=np.zeros((2, 20, 20, 3), np.uint8))
                yield name, dataclasses.replace(part, arrays={**part.arrays, "rgb": pm.Files(files, load)})

    with pytest.raises(PluginError, match=r"'rgb' of part 'a', from sample 1 on: .*\(20, 20, 3\)"):
        prepare(Invalid(), source, tmp_path / "data")


def killed(shard):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_reported(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "read", killed)
    with pytest.raises(StoreError, match="one of the 2 processes that read files was killed"):
        prepare(videos.Videos(), source, tmp_path / "data", workers=2)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_processes_exit_if_their_parent_is_killed(source, tmp_path):
    """Otherwise they would wait forever, and write into the files of the next preparation."""
    context = multiprocessing.get_context("spawn")
    args = (videos.Slow(), source, tmp_path / "data")
    parent = context.Process(target=prepare, args=args, kwargs={"workers": 2})
    parent.start()
    until = time.monotonic() + 60
    while len(pids := [int(path.name) for path in source.iterdir() if path.name.isdecimal()]) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    parent.kill()
    while any(map(alive, pids)):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_files_left_by_a_preparation_killed_at_its_end_are_removed(source, tmp_path, monkeypatch):
    root = tmp_path / "data"

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(preparing, "publish", lambda ready, folder: (publish(ready, folder), killed()))
        with pytest.raises(KeyboardInterrupt):
            prepare(videos.Videos(), source, root)
    left = root / ".videos-v1.partial"
    assert any((left / "shards").iterdir())
    assert prepare(videos.Videos(), source, root).count("a") == 3
    assert not left.exists()
    left.mkdir()
    preparing.tidy(videos.Videos(), root)
    assert not left.exists()


def test_files_that_cannot_be_read_are_listed(source, tmp_path):
    root = tmp_path / "data"
    (source / "c" / "g0-1.npz").write_bytes(b"")
    (source / "b" / "g0-0.npz").write_bytes(b"no video")
    with pytest.raises(DataError) as caught:
        prepare(videos.Videos(), source, root)
    assert "8 files of 'videos' cannot be read" in caught.value.message
    assert "--skip-damaged" in caught.value.hint
    listed = (root / ".videos-v1.partial" / "problems.csv").read_text().splitlines()
    assert listed[0] == "part,modality,id,reason"
    assert len(listed) == 9
    assert any(line.startswith("c,rgb,c/g0-1,") and "g0-1.npz" in line for line in listed)
    with pytest.raises(DataError, match=r"1 test sample of .* target modality: .*g0-0\.npz"):
        prepare(videos.Videos(), source, root, allow=("damaged",))
    shutil.copy(source / "b" / "g0-1.npz", source / "b" / "g0-0.npz")
    prepared = prepare(videos.Videos(), source, root, allow=("damaged",))
    assert prepared.column("b+c", "rgb").present.tolist() == [True] * 4 + [False, True]
    assert prepared.lacks == ["4 files that cannot be read"]
    assert not (root / ".videos-v1.partial").exists()


def test_a_test_sample_without_its_target_modality_is_refused(source, tmp_path):
    class Blind(videos.Videos):
        def read(self, source):
            for name, part in super().read(source):
                rgb = part.arrays["rgb"]
                items = [None, *rgb.items[1:]] if name == "a" else rgb.items
                arrays = {**part.arrays, "rgb": dataclasses.replace(rgb, items=items)}
                yield name, dataclasses.replace(part, arrays=arrays)

    with pytest.raises(
        DataError, match=r"1 test sample lacks 'rgb' in part 'a' of 'videos', such as 'a/g0-0'"
    ):
        prepare(Blind(), source, tmp_path / "data")


def test_a_defect_of_the_plugin_is_not_reported_as_a_damaged_file(source, tmp_path):
    (source / "a" / "g0-0.npz").rename(source / "a" / "bug.npz")
    words = (
        r"videos\.load_frames raised ZeroDivisionError \(videos\.py, line \d+, in load_frames\):.*bug\.npz"
    )
    with pytest.raises(PluginError, match=words):
        prepare(videos.Videos(), source, tmp_path / "data")


def test_files_must_be_as_many_as_samples(source, tmp_path):
    class Short(videos.Videos):
        def read(self, source):
            for name, part in super().read(source):
                files = dataclasses.replace(part.arrays["flow"], items=part.arrays["flow"].items[1:])
                yield name, dataclasses.replace(part, arrays={**part.arrays, "flow": files})

    with pytest.raises(DataError, match="modality 'flow': 2 files for 3 samples"):
        prepare(Short(), source, tmp_path / "data")


def test_an_incomplete_source_needs_permission(source, tmp_path):
    class Counted(videos.Videos):
        expected: ClassVar = {"a": 3, "b+c": 8}

    with pytest.raises(DataError, match=r"part 'b\+c': found 6 samples, expected 8") as caught:
        prepare(Counted(), source, tmp_path / "data")
    assert "--incomplete" in caught.value.hint
    prepared = prepare(Counted(), source, tmp_path / "data", allow=("incomplete",))
    assert prepared.lacks == ["part b+c: 6 samples of 8"]
    wrong = [row for row in verify(Counted(), tmp_path / "data") if not row["ok"]]
    assert [(row["part"], row["expected"], row["found"]) for row in wrong] == [("b+c", 8, 6)]

    class Few(videos.Videos):
        expected: ClassVar = {"a": 2}

    with pytest.raises(DataError, match="found 3 samples, expected 2"):
        prepare(Few(), source, tmp_path / "more", allow=("incomplete",))


@pytest.mark.parametrize("number", [6, 7])
def test_contract_checks_handle_joined_parts_and_missing_modalities(source, tmp_path, number):
    class Checked(videos.Videos):
        expected: ClassVar = {"a": (2, 1), "b+c": number}

    prepare(videos.Videos(), source, tmp_path / "data")
    sample = dataset_checks.Sample(Checked(), load_plugins(), tmp_path, tmp_path / "data")
    names = ("ids_are_unique_and_disjoint", "arrays_are_as_declared", "validation_data_is_apart")
    for name in names:
        getattr(dataset_checks, f"check_{name}")(sample)
    if number == 6:
        dataset_checks.check_expected_counts_are_declared(sample)
    else:
        with pytest.raises(Failed, match=r"'b\+c': 6 samples, expected 7"):
            dataset_checks.check_expected_counts_are_declared(sample)


def test_contract_checks_find_modalities_of_one_grid_with_other_crops(source, tmp_path):
    prepare(videos.Videos(), source, tmp_path / "data")
    rgb, flow, *others = videos.Videos.modalities
    check = dataset_checks.check_aligned_modalities_stay_aligned
    wrong = (dataclasses.replace(flow, flip=""), dataclasses.replace(flow, shape=(2, 4, 12, 16)))
    for declared, aligned in ((flow, True), *((modality, False) for modality in wrong)):

        class Declared(videos.Videos):
            modalities = (rgb, declared, *others)

        sample = dataset_checks.Sample(Declared(), load_plugins(), tmp_path, tmp_path / "data")
        if aligned:
            check(sample)
        else:
            with pytest.raises(Failed, match="'rgb' and 'flow' are on one grid"):
                check(sample)


def test_who_waits_for_another_process_says_so(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    held = threading.Event()

    def other() -> None:
        with FileLock(tmp_path / ".videos-v1.lock"):
            held.set()
            time.sleep(0.5)

    threading.Thread(target=other).start()
    held.wait()
    prepare(videos.Videos(), source, tmp_path)
    assert "Waiting for another process, which prepares 'videos'" in capsys.readouterr().err
