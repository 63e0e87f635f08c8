"""A tampered program in the store is sealed anew, and runs nothing that it brings along."""

import io
import pickle
import shutil
import zipfile

import pytest

from pmbench.files import file_digest


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


@pytest.mark.slow
def test_a_tampered_program_is_sealed_anew(new_site, tmp_path, trained):
    site, mark = new_site(tmp_path), tmp_path / "mark"
    shutil.copytree(trained.root / "store", tmp_path / "store")
    shutil.copytree(trained.root / "data", tmp_path / "data")
    key = trained.records()["target_only"]["stages"][-1]["key"]
    program = next((tmp_path / "store").rglob(f"{key}/*.pt2"))
    payload = pickle.dumps(Payload(mark))
    program.write_bytes(tampered(program, lambda name, content: samples(name, content, payload)))
    result = site.run("target_only")
    records = site.records()
    assert result.code == 0, result.text
    assert records["target_only"]["digests"] == trained.records()["target_only"]["digests"]
    assert file_digest(program) == records["target_only"]["digests"]["program"]
    assert not mark.exists()
