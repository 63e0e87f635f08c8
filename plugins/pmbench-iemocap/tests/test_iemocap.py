"""IEMOCAP: its protocol at full size, a miniature from files to prepared form, and wrong copies."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pmbench_iemocap import Iemocap, IemocapDemo
from pmbench_iemocap.dataset import ALL
from pmbench_iemocap.features import LEFT, STEPS, halves
from pmbench_iemocap.miniature import label_text, write_features, write_release
from pmbench_iemocap.reading import sequence
from pmbench_iemocap.release import CLASS_OF, FOLDER, Utterance, labelled, release, transcripts, utterances

import pmbench as pm
from pmbench.contracts.protocol import averages_of
from pmbench.data.checks import check_counts
from pmbench.data.prepare import prepare
from pmbench.testing.media import write_video
from pmbench.training.samples import training_view

OFFICIAL = {
    "neu": 1708, "ang": 1103, "sad": 1084, "hap": 595, "exc": 1041, "fru": 1849, "sur": 107, "fea": 40,
    "oth": 3, "dis": 2, "xxx": 2507,
}  # fmt: skip
"""Label -> utterances of the official release."""
SESSIONS = (1085, 1023, 1151, 1031, 1241)
"""Utterances of four classes of each session."""


class Small(IemocapDemo):
    name = "small-iemocap"
    demo_of = ""
    expected: ClassVar = {f"session-{k}": 20 for k in range(1, 6)}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = write_release(tmp_path_factory.mktemp("iemocap"))
    return write_features(root, {m.name: m.shape[0] for m in Small.modalities})


# --- full size -------------------------------------------------------------------------------------------


def official_labels() -> Iterator[tuple[int, str]]:
    """Session and label of 10,039 utterances, with the published counts of both."""
    used = iter([label for label, count in OFFICIAL.items() if label in CLASS_OF for _ in range(count)])
    for session, count in enumerate(SESSIONS, 1):
        yield from ((session, next(used)) for _ in range(count))
    others = [label for label, count in OFFICIAL.items() if label not in CLASS_OF for _ in range(count)]
    yield from ((1 + number % 5, label) for number, label in enumerate(others))


def test_published_counts_come_out(tmp_path):
    spoken: dict[str, list[Utterance]] = {}
    for number, (session, label) in enumerate(official_labels()):
        dialog = f"Ses0{session}{'FM'[number % 2]}_impro{1 + number % 7:02d}"
        turn = f"{'FM'[number % 3 % 2]}{len(spoken.setdefault(dialog, [])):03d}"
        spoken[dialog].append(Utterance(f"{dialog}_{turn}", dialog, turn[0], number, number + 2.5, label))
    for dialog, turns in spoken.items():
        folder = tmp_path / FOLDER / f"Session{dialog[4]}" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{dialog}.txt").write_text(label_text(turns))
    found = utterances(tmp_path)
    assert len(found) == sum(OFFICIAL.values()) == 10_039
    assert {*found} == {one for turns in spoken.values() for one in turns}
    visual = tmp_path / "features" / "visual"
    visual.mkdir(parents=True)
    for one in found:
        if one.label in CLASS_OF:
            (visual / f"{one.name}.npy").touch()
    for other in ("audio", "text"):
        (visual.parent / other).symlink_to(visual)
    parts = dict(Iemocap().read(tmp_path))
    assert check_counts(Iemocap(), parts) == []
    assert sum(len(part.ids) for part in parts.values()) == sum(Iemocap.expected[ALL]) == 5_531
    assert len({group for part in parts.values() for group in part.groups}) == 10
    (folder / f"{dialog}.txt").write_text(label_text(turns[:1]))
    with pytest.raises(pm.DataError, match=r"part 'session-5': found \d+ samples, expected 1241"):
        check_counts(Iemocap(), dict(Iemocap().read(tmp_path)))


def test_each_fold_tests_a_session_and_validates_one_actor():
    dataset = Iemocap()
    assert dataset.averages["5-fold"] == tuple(dataset.splits)
    for k, split in enumerate(dataset.splits.values(), 1):
        assert split.test == f"session-{k}"
        assert f"session-{k}" not in split.train.split("+")
        (actor,) = split.validation_groups
        assert f"session-{actor[4]}" in split.train.split("+")
    assert dataset.metrics == ("wa", "ua")


def test_each_setting_of_the_paper_has_a_protocol_and_its_numbers():
    """A-V and L-V have other privileged modalities than AL-V: their numbers stand under these protocols."""
    import pmbench_amid

    settings = {"A-V": "5-fold+with-audio", "L-V": "5-fold+with-text", "AL-V": "5-fold", "V": "5-fold"}
    numbers = [n for n in pmbench_amid.pmbench_published() if n.dataset == "iemocap"]
    assert {(n.variant, n.protocol) for n in numbers} == set(settings.items())
    assert {n.metric for n in numbers} == set(Iemocap.metrics)
    for fold in Iemocap.splits:
        for suffix in ("", "+with-audio", "+with-text"):
            mean = averages_of(Iemocap(), Iemocap().protocol(f"{fold}{suffix}"))
            assert list(mean) == [f"5-fold{suffix}"]
    seen = [Iemocap().protocol(f"fold-2+with-{m}").privileged for m in ("audio", "text")]
    assert [*seen, Iemocap().protocol("fold-2").privileged] == [("audio",), ("text",), ("audio", "text")]


# --- miniature -------------------------------------------------------------------------------------------


def test_files_become_a_prepared_form(source, tmp_path):
    found = prepare(Small(), source, tmp_path)
    names, groups = found.index("session-2")
    assert names[:2] == ["Ses02F_impro01_F000", "Ses02F_impro01_M000"]
    assert groups[:2] == ["Ses02F", "Ses02M"]
    assert found.labels("session-2")[:10:2].tolist() == [0, 1, 1, 2, 3]  # happy and excited are one class
    stored = np.load(source / "features" / "audio" / f"{names[0]}.npy")
    column = found.column("session-2", "audio").array[0]
    np.testing.assert_array_equal(column[:, : len(stored)], stored.T)
    assert not column[:, len(stored) :].any()
    assert found.notes == [
        f"{m}: 11 of 100 utterances have more than 16 steps and are cut, the longest has 70; shorter ones "
        "end in zeros"
        for m in ("visual", "audio", "text")
    ]
    view = training_view(found, Small().protocol("fold-5"), 0)
    held = found.index(view.validation.part)[1]
    assert {held[row] for row in view.validation.rows} == {"Ses01F"}
    for _, part in Small().read(source / FOLDER / ".."):
        pickle.dumps([files.load for files in part.arrays.values()])


def test_speaker_and_times_are_read_from_labels_and_words_from_transcripts(source):
    one = next(one for one in utterances(source) if one.name == "Ses03M_script01_1_F002")
    assert (one.dialog, one.speaker, one.actor, one.session) == ("Ses03M_script01_1", "F", "Ses03F", 3)
    assert (one.start, one.end, one.label) == (4.0, 4.8, "exc")
    words = transcripts(release(source), one.dialog)
    assert words[one.name] == "Great, great!"
    assert words["Ses03M_script01_1_M000"] == "No! Never."  # its line has no times
    assert len(words) == 14


def test_only_the_half_with_the_speaker_is_used(tmp_path):
    frames = np.full((20, 32, 48, 3), 60, np.uint8)
    frames[:, :, :24] = 200
    write_video(tmp_path / "Ses01F_impro01.avi", frames, fps=10)
    spoken = [
        Utterance(f"Ses01F_impro01_{turn}", "Ses01F_impro01", turn[0], start, end, "neu")
        for turn, start, end in (("F000", 0.2, 1.0), ("M000", 0.9, 1.41), ("F001", 1.65, 1.7))
    ]
    found = list(halves(tmp_path / "Ses01F_impro01.avi", spoken, LEFT["Ses01F"], 16))
    assert STEPS == 5
    assert [name[-4:] for name, _ in found] == ["F000"] * 4 + ["M000"] * 3 + ["F001"]  # one step at least
    for name, frame in found:
        assert frame.shape == (16, 16, 3)
        assert abs(frame[:, 4:12].mean() - (200 if name[-4] == "F" else 60)) < 6
    swapped = dict(halves(tmp_path / "Ses01F_impro01.avi", spoken, "M", 16))
    assert swapped["Ses01F_impro01_M000"][:, 4:12].mean() > 190


# --- wrong copies ----------------------------------------------------------------------------------------


def test_the_wrong_source_is_named(source, tmp_path):
    with pytest.raises(pm.DataError, match=r"has neither Session1 to Session5 nor IEMOCAP_full_release$"):
        release(tmp_path)
    (tmp_path / "IEMOCAP_features.pkl").touch()
    with pytest.raises(pm.DataError, match=r"it holds IEMOCAP_features\.pkl, as packs made from it do"):
        release(tmp_path)
    shutil.copytree(source / FOLDER, tmp_path / FOLDER)
    assert release(tmp_path) == tmp_path / FOLDER == release(tmp_path / FOLDER)
    shutil.rmtree(tmp_path / FOLDER / "Session4")
    with pytest.raises(pm.DataError, match="has no Session4; expected Session1 to Session5"):
        release(tmp_path)


def test_a_pack_of_six_classes_is_named(source, tmp_path):
    shutil.copytree(source / FOLDER, tmp_path / FOLDER)
    for path in tmp_path.rglob("EmoEvaluation/Ses*.txt"):
        path.write_text("\n".join(line for line in path.read_text().splitlines() if "xxx" not in line))
    with pytest.raises(pm.DataError, match="utterances of 6 labels only: ang 20, exc 20, fru 20") as raised:
        utterances(tmp_path)
    assert "a pack of 6 classes" in raised.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "[6.29 - 8.24]\tSes01F_impro01_F000\tfrustrated\t[2.5, 2.5, 2.5]",
        "[6.29]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]",
        "[6.29 - 8.24]\tSes01F_impro01_000\tneu\t[2.5, 2.5, 2.5]",
    ],
)
def test_a_strange_line_is_named(line):
    with pytest.raises(pm.DataError, match=r"Ses01F_impro01\.txt, line 2: .*; expected `\[start - end\]"):
        labelled(["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", line], Path("Ses01F_impro01.txt"))


def test_features_that_are_missing_or_of_another_model_are_named(source, tmp_path):
    (tmp_path / FOLDER).symlink_to(source / FOLDER)
    with pytest.raises(
        pm.DataError, match=r"visual lacks 100 of 100 utterances, for example Ses01F"
    ) as raised:
        Small().at(tmp_path)
    assert "python -m pmbench_iemocap.features" in raised.value.hint
    shutil.copytree(source / "features", tmp_path / "features")
    path = tmp_path / "features" / "text" / "Ses02F_impro01_F000.npy"
    path.rename(path.with_suffix(".bak"))
    with pytest.raises(
        pm.DataError, match=r"text lacks 1 of 100 utterances, for example Ses02F_impro01_F000"
    ):
        prepare(Small(), tmp_path, tmp_path / "data")
    np.save(path, np.zeros((5, 1024), np.float32))
    with pytest.raises(pm.DataError, match=r"has shape \(5, 1024\); expected \(T, 12\)") as raised:
        prepare(Small(), tmp_path, tmp_path / "data")
    assert "features of another model" in raised.value.hint
    np.save(path, np.zeros((12, 5), np.float32))
    with pytest.raises(pm.DataError) as raised:
        sequence(path, 12, 8)
    assert "transpose" in raised.value.hint
    np.save(path, np.full((5, 12), np.nan))
    with pytest.raises(pm.DataError, match="not finite"):
        sequence(path, 12, 8)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(pm.DataError, match=r"is not an \.npy file of numbers"):
        sequence(path, 12, 8)
    with pytest.raises(pm.DataError, match="1 file of 'small-iemocap' cannot be read"):
        prepare(Small(), tmp_path, tmp_path / "data")


def test_without_data_it_says_where_from_and_what_to_type(tmp_path):
    hint = Iemocap().not_prepared(tmp_path).hint
    for text in ("sail.usc.edu", "pmbench_iemocap.features", "pmbench data prepare iemocap --source"):
        assert text in hint
