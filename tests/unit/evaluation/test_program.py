"""What the archive of a sealed program may hold: each kind of tampering is refused before torch reads it."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import engine_lab as toys
import pytest

from pmbench.errors import SealError
from pmbench.evaluation.program import _is_size, check_archive
from pmbench.evaluation.seal import seal


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The sealed program of a trained stage."""
    lab, stage = toys.Lab(tmp_path_factory.mktemp("lab")), toys.Plain()
    lab.train(stage)
    return seal(stage, lab.context, lab.store, ("near",))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def rewrite(program, tmp_path):
    """A copy of the program; `change(name, content)` returns the new content of an entry, or None."""

    def make(change):
        copy = tmp_path / "program.pt2"
        changed = 0
        with zipfile.ZipFile(program) as old, zipfile.ZipFile(copy, "w") as new:
            for entry in old.infolist():
                content = change(entry.filename, old.read(entry))
                changed += content is not None
                new.writestr(entry.filename, old.read(entry) if content is None else content)
        assert changed, "no entry was changed"
        return copy

    return make


def in_config(kind, **fields):
    """Sets fields of the first tensor in the configuration of `kind`, weights or constants."""

    def change(name, content):
        if not name.endswith(f"{kind}_config.json"):
            return None
        config = json.loads(content)
        item = {"path_name": "tensor_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
        items = config["config"] or {"x": item}
        next(iter(items.values())).update(fields)
        return json.dumps({**config, "config": items})

    return change


def in_model(old, new):
    """Replaces the first occurrence of a text in the graph."""

    def change(name, content):
        if not name.endswith("models/model.json"):
            return None
        text = json.dumps(json.loads(content))
        assert old in text
        return text.replace(old, new, 1)

    return change


def with_expression(expression):
    def change(name, content):
        if not name.endswith("models/model.json"):
            return None
        text = json.dumps(json.loads(content))
        start = text.index('"expr_str": "') + len('"expr_str": "')
        return text[:start] + expression + text[text.index('"', start) :]

    return change


def samples(content):
    return lambda name, _: content if "sample_inputs" in name else None


TAMPERED = {
    "pickled samples": (samples(pickle.dumps(Payload("mark"))), "holds .*sample_inputs/model.pt, which is"),
    "pickled weights": (in_config("weights", use_pickle=True), "stores '.*' as a pickle"),
    "pickled constants": (in_config("constants", use_pickle=True), "stores '.*' as a pickle"),
    "an opaque object": (in_config("constants", path_name="opaque_obj_0"), "stores 'x' as a pickle"),
    "a function": (in_model("torch.ops.aten.relu.default", "torch.os.system"), "calls 'torch.os.system'"),
    "a longer name": (in_model("torch.ops.aten.relu.default", "torch.ops.aten.relu.default.x"), "calls 'to"),
    "a call": (with_expression("open('mark', 'w')"), "evaluates .*not the size"),
    "an attribute": (with_expression("s77.__class__"), "evaluates 's77.__class__'"),
    "no JSON": (
        lambda name, _: b"{" if name.endswith("model.json") else None,
        "is not a sealed program: J",
    ),
    "no syntax": (with_expression("1 +"), "is not a sealed program: SyntaxError"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_program_is_refused(rewrite, tmp_path, monkeypatch, name):
    change, words = TAMPERED[name]
    monkeypatch.chdir(tmp_path)
    copy = rewrite(change)
    with pytest.raises(SealError, match=words) as caught:
        check_archive(copy)
    assert caught.value.message.startswith(str(copy))
    assert not Path("mark").exists()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{top}/extra/note", "holds .*/extra/note, which is not part"),
        ("{top}/data/weights/weight_0.py", "weight_0.py, which is not part"),
        ("other/version", "or several archives"),
        ("{top}/DATA/weights/weight_0", "holds an entry twice"),
        ("{top}/models/model.json", "holds an entry twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_too_many_is_refused(program, tmp_path, entry, words):
    copy = tmp_path / "program.pt2"
    shutil.copy(program, copy)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(entry.format(top=archive.namelist()[0].partition("/")[0]), b"x")
    with pytest.raises(SealError, match=words):
        check_archive(copy)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "program.pt2").write_bytes(content)
    with pytest.raises(SealError, match="is not a sealed program: BadZipFile"):
        check_archive(tmp_path / "program.pt2")
    with pytest.raises(SealError, match="is not a sealed program: FileNotFoundError"):
        check_archive(tmp_path / "missing.pt2")


def test_a_sealed_program_passes_and_names_no_file_of_this_machine(program):
    check_archive(program)
    with zipfile.ZipFile(program) as archive:
        for name in archive.namelist():
            assert b".py" not in archive.read(name), name


SIZES = [
    ("s77", True),
    ("2*s0 + 1", True),
    ("Max(1, s77//2)", True),
    ("Symbol('s77', integer=True)", True),
    ("Integer('12')", True),
    ("Float('-1.5e3')", True),
    ("-s1 < 3", True),
    ("open('x')", False),
    ("s77.is_integer", False),
    ("Symbol('os.system')", False),
    ("Symbol('__import__')", False),
    ("(lambda: 1)()", False),
    ("Max.__call__(1, 2)", False),
    ("[1, 2]", False),
    ("x77", False),
    ("s", False),
    ("b'12'", False),
    ("None", False),
]


@pytest.mark.parametrize(("expression", "known"), SIZES)
def test_a_size_is_arithmetic_on_symbols(expression, known):
    assert _is_size(expression) is known
