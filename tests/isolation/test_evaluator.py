"""The evaluator process: it imports no method plugin, and runs nothing that an archive brings along."""

import io
import json
import pickle
import shutil
import zipfile

import pytest

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
