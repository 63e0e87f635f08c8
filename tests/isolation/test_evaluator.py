"""The evaluator process: it imports no method plugin, and runs nothing that an archive brings along."""

import io
import json
import pickle
import shutil
import zipfile

import pytest

from pmbench.errors import SealError
from pmbench.evaluation.program import check_archive

METHOD = '''
import pmbench as pm

@pm.method("plain", paper="none")
def plain(setting):
    """Stream"""
    return pm.Stream(*setting.target)

@pm.hookimpl
def pmbench_methods():
    return (plain,)
'''
ASK = """
import json
from pathlib import Path
from pmbench.evaluation.evaluator import Evaluator, EvaluationRequest
evaluator = Evaluator()
inputs = ("target_view",)
part = "shared-10-test"
answer = evaluator(
    EvaluationRequest({program!r}, "pmbench", "planted", "shared-10", {data!r}, part, inputs, {out!r})
)
evaluator.close()
print(json.dumps(answer))
"""


@pytest.fixture
def program(trained):
    """The sealed program of the floor."""
    record = trained.records()["target_only"]
    return next((trained.root / "store").rglob(f"{record['stages'][-1]['key']}/*.pt2"))


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def tampered(program, change):
    """Rewrites the archive: `change(name, content)` gives new content, or None to keep it."""
    found = io.BytesIO()
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(found, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            changed = change(entry.filename, content)
            new.writestr(entry.filename, content if changed is None else changed)
    return found.getvalue()


def samples(name, content, payload):
    return payload if "sample_inputs" in name else None


def weights(name, content, payload):
    if name.endswith("weight_0"):
        return payload
    if not name.endswith("weights_config.json"):
        return None
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config)


def constants(name, content, payload):
    if not name.endswith("constants_config.json"):
        return None
    item = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
    return json.dumps({"config": {"x": item}})


def operation(name, content, payload):
    return (
        content.replace(b"torch.ops.aten.relu.default", b"torch.os.system")
        if name.endswith("model.json")
        else None
    )


def expression(name, content, payload):
    if not name.endswith("model.json"):
        return None
    text = json.dumps(json.loads(content))
    start = text.index('"expr_str": "') + len('"expr_str": "')
    return text[:start] + f"open('{payload.decode('latin-1')}', 'w')" + text[text.index('"', start) :]


@pytest.mark.parametrize(
    ("change", "word"),
    [(samples, "sample_inputs"), (weights, "pickle"), (constants, "pickle"), (operation, "torch.os.system"),
     (expression, "evaluates")],
)  # fmt: skip
def test_a_tampered_archive_is_refused_before_it_is_read(program, tmp_path, change, word):
    mark, copy = tmp_path / "mark", tmp_path / "program.pt2"
    payload = str(mark).encode() if change is expression else pickle.dumps(Payload(mark))
    copy.write_bytes(tampered(program, lambda name, content: change(name, content, payload)))
    with pytest.raises(SealError, match=word):
        check_archive(copy)
    assert not mark.exists()


@pytest.mark.parametrize(
    "entry", ["archive/extra/note", "other/version", "archive/DATA/weights/weight_0", "archive/byteorder"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_anything_besides_is_refused(program, tmp_path, entry):
    copy = tmp_path / "program.pt2"
    shutil.copy(program, copy)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(entry, b"x")
    with pytest.raises(SealError):
        check_archive(copy)


def test_a_whole_archive_passes(program):
    check_archive(program)


def test_run_refuses_a_tampered_program_and_goes_on(new_site, tmp_path, trained):
    site, mark = new_site(tmp_path), tmp_path / "mark"
    shutil.copytree(trained.root / "store", tmp_path / "store")
    shutil.copytree(trained.root / "data", tmp_path / "data")
    key = trained.records()["target_only"]["stages"][-1]["key"]
    program = next((tmp_path / "store").rglob(f"{key}/*.pt2"))
    payload = pickle.dumps(Payload(mark))
    program.write_bytes(tampered(program, lambda name, content: samples(name, content, payload)))
    result = site.run("target_only")
    records = site.records()
    assert result.code == 1, result.text
    assert "sample_inputs" in records["target_only"]["reason"]
    assert records["early_fusion"]["status"] == "done"
    assert not mark.exists()


def test_it_imports_no_method_plugin(site, trained, program):
    site.install("pmbench-plain", "pmbench_plain", METHOD)
    out = site.root / "predictions.parquet"
    result = site.python(ASK.format(program=str(program), data=str(site.root / "data"), out=str(out)))
    assert result.code == 0, result.text
    assert json.loads(result.out)["modules"] == []
    assert out.exists()
