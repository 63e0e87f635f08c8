"""Manifests as people and spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmbench.builtin.local.description import read_description
from pmbench.builtin.local.table import read_table
from pmbench.errors import DataError

ROWS = [("a", "x", "train", "p1"), ("b", "y", "train", "p2"), ("c", "x", "test", "p3")]


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").touch()
        (folder / f"{name}.npy").touch()
    (folder / "manifest.csv").write_bytes(text.encode(encoding))
    return folder


def table(header: str, separator: str = ",", splits: tuple[str, ...] = ("train", "train", "test")) -> str:
    lines = [header.replace(",", separator)]
    for (i, label, _, group), split in zip(ROWS, splits, strict=True):
        lines.append(separator.join((i, label, split, group, f"{i}.png", f"{i}.npy")))
    return "\n".join(lines) + "\n"


USUAL = "id,label,split,group,rgb,imu"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    text = table(USUAL, separator)
    if encoding == "utf-16-le-bom":
        text, encoding = "\ufeff" + text, "utf-16-le"
    found = read_table(write(tmp_path, text, encoding))
    assert [(r["id"], r["label"], r["split"], r["group"]) for r in found.rows] == ROWS
    assert found.files == ("rgb", "imu")
    assert [r["imu"] for r in found.rows] == ["a.npy", "b.npy", "c.npy"]


def test_names_in_windows_1252(tmp_path):
    text = table(USUAL).replace(",x,", ",Tür,")
    found = read_table(write(tmp_path, text, "cp1252"))
    assert [r["label"] for r in found.rows] == ["Tür", "y", "Tür"]
    assert found.notes == ("manifest.csv is read as cp1252",)


def test_other_words_for_columns_and_splits(tmp_path):
    text = table("Sample ID,Class,Subset,Subject,rgb,imu", splits=("Training", "VAL", "Test"))
    found = read_table(write(tmp_path, text))
    assert [r["split"] for r in found.rows] == ["train", "validation", "test"]
    assert [r["group"] for r in found.rows] == ["p1", "p2", "p3"]
    assert found.notes == (
        "column 'Sample ID' is read as id",
        "column 'Class' is read as label",
        "column 'Subset' is read as split",
        "column 'Subject' is read as group",
    )


def test_columns_named_by_the_user(tmp_path):
    write(tmp_path, table("id,label,split,household,rgb,imu"))
    (tmp_path / "dataset.toml").write_text('[columns]\ngroup = "household"\n')
    found = read_table(tmp_path, named=read_description(tmp_path).columns)
    assert [r["group"] for r in found.rows] == ["p1", "p2", "p3"]
    assert found.files == ("rgb", "imu")
    with pytest.raises(DataError, match="no column 'home' for group"):
        read_table(tmp_path, named={"group": "home"})


def test_columns_without_paths_are_not_modalities(tmp_path):
    lines = table(USUAL).splitlines()
    text = "\n".join([lines[0] + ",age,remark", *(f"{line},4.5,tired" for line in lines[1:])])
    found = read_table(write(tmp_path, text))
    assert found.files == ("rgb", "imu")
    assert found.notes == (
        "column 'age' holds no paths and is not used",
        "column 'remark' holds no paths and is not used",
    )


def test_all_missing_files_are_counted(tmp_path):
    write(tmp_path, table(USUAL))
    (tmp_path / "a.png").unlink()
    (tmp_path / "c.npy").unlink()
    with pytest.raises(
        DataError, match=r"2 files do not exist .*line 2: rgb 'a\.png'; line 4: imu 'c\.npy'$"
    ):
        read_table(tmp_path)


def test_a_column_of_files_that_are_all_missing_is_no_column_of_text(tmp_path):
    write(tmp_path, table(USUAL).replace(".npy", ".wav"))
    with pytest.raises(DataError, match="3 files do not exist"):
        read_table(tmp_path)


WRONG = {
    "an id twice": (lambda t: t.replace("b,y", "a,y"), "lines 2 and 3: id 'a' occurs twice"),
    "a cell too many": (
        lambda t: t.replace("b,y,train,p2", "b,y,train,p2,p3"),
        "line 3: 7 cells; the header",
    ),
    "an open quote": (lambda t: t + '"d,x', "cannot be read: unexpected end of data"),
    "no line": (lambda t: t.splitlines()[0], "has no samples"),
    "no label in the test": (lambda t: t.replace("c,x", "c,"), "line 4: a sample needs an id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables(tmp_path, case):
    change, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, change(table(USUAL))))


TOML = {
    "tabel = 'x'": "unknown key tabel; known: columns, modalities, table, target",
    "[modalities.rgb]\ncolour = 3": "unknown key modalities.rgb.colour",
    "[modalities.rgb]\nkind = 'picture'": "modalities.rgb.kind is 'picture'; expected one of",
    "[modalities.rgb]\nsize = 112": "modalities.rgb.size is 112; expected two numbers",
    "[modalities.rgb]\nsize = [0, 112]": r"size is \[0, 112\]; expected \[height, width\]",
    "[modalities.rgb]\nseconds = -1": "seconds is -1; expected a positive number",
    "[modalities.rgb]\nlength = 2.5": "length is 2.5; expected a positive number",
    "[modalities.rgb]\nrange = [5, 1]": r"range is \[5, 1\]; expected \[lowest, highest\]",
    "[modalities.rgb]\nunit = 3": "unit is 3; expected text",
    "[modalities]\nrgb = 3": r"modalities.rgb is 3; expected \[modalities.rgb\]",
    "target = ": "dataset.toml cannot be read: Invalid value",
}


@pytest.mark.parametrize("text", TOML)
def test_wrong_descriptions_name_the_key(tmp_path, text):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(DataError, match=TOML[text]):
        read_description(tmp_path)
