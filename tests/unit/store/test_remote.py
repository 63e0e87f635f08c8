"""Stages are copied whole, to folders and buckets and back; what is damaged is refused by name."""

from __future__ import annotations

import many_stages
import pytest

from pmbench.errors import StoreError, UsageError
from pmbench.store.integrity import damages
from pmbench.store.remote import Remote
from pmbench.store.store import Store
from pmbench.store.uses import in_use, using


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request, tmp_path, monkeypatch):
    if request.param != "s3":
        yield str(tmp_path / "there [1]") if request.param == "folder" else f"memory://{tmp_path.name}"
        return
    how = "uv run --with s3fs --with 'moto[s3,server]' pytest tests/unit/store/test_remote.py runs it"
    s3fs = pytest.importorskip("s3fs", reason=how)
    server = pytest.importorskip("moto.server", reason=how)
    for name, value in (("ACCESS_KEY_ID", "me"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    running = server.ThreadedMotoServer("127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = "".join(filter(str.isalnum, tmp_path.name)).lower()[-40:]  # servers of a process share buckets
    s3fs.S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}/group"
    running.stop()


@pytest.fixture
def store(tmp_path):
    """A store of two stages, the first with a program."""
    root = tmp_path / "store"
    first, _ = many_stages.write(root, 2)
    Store(root).put_program(first, ("fou",), lambda path: path.write_bytes(b"program"))
    return Store(root)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_there_and_back(store, url, tmp_path):
    there, other = Remote.open(url), Store(tmp_path / "other")
    keys = store.find("")
    assert [there.push(store, key) for key in keys] == [True, True]
    assert there.keys() == keys
    assert there.keys(keys[0][:5]) == [keys[0]]
    assert there.keys(keys[0][:1]) == [key for key in keys if key[0] == keys[0][0]]
    assert [there.push(store, key) for key in keys] == [False, False]
    assert [there.pull(other, key) for key in keys] == [True, True]
    for key in keys:
        assert files(other.own(key)) == files(store.own(key))
        assert damages(other.own(key), key) == []
    assert [there.pull(other, key) for key in keys] == [False, False]
    assert other.leftovers() == []


def test_what_was_copied_in_part_is_no_stage_and_is_copied_again(store, url, monkeypatch):
    there, key = Remote.open(url), store.find("")[0]
    put = there.files.put_file

    def broken(source, target, **options):
        if "stage.json" in target:
            raise ConnectionError("the line is cut")
        return put(source, target, **options)

    with monkeypatch.context() as cut:
        cut.setattr(there.files, "put_file", broken)
        with pytest.raises(StoreError, match="the line is cut"):
            there.push(store, key)
    assert there.keys() == []
    assert there.push(store, key)
    assert there.keys() == [key]


@pytest.mark.parametrize("name", ["weights.safetensors", "curve.csv", "stage.json", "sealed-*.pt2"])
@pytest.mark.parametrize("url", ["folder"], indirect=True)
def test_a_damaged_stage_is_refused_by_name_on_both_sides(store, url, tmp_path, name):
    there, other = Remote.open(url), Store(tmp_path / "other")
    key = many_stages.digest(many_stages.inputs(0))
    there.push(store, key)
    for path in (*(tmp_path / "there [1]").rglob(name), *store.own(key).glob(name)):
        if path.parent.name == key:
            path.write_bytes(path.read_bytes().replace(b"0", b"1") + b" \n")
    with pytest.raises(StoreError, match=rf"stage {key[:12]} in .*there.* is damaged: \S+ ") as caught:
        there.pull(other, key)
    assert "push it again" in caught.value.hint
    assert other.find("") == []
    assert other.leftovers() == []
    with pytest.raises(StoreError, match=f"stage {key[:12]} in .* is damaged"):
        Remote.open(str(tmp_path / "elsewhere")).push(store, key)
    assert Remote.open(str(tmp_path / "elsewhere")).keys() == []


def test_a_stage_in_use_is_not_overwritten(store, tmp_path):
    there, key, other = Remote.open(str(tmp_path / "there")), store.find("")[0], Store(tmp_path / "other")
    there.push(store, key)
    with other.lock(key), pytest.raises(StoreError, match="in use"):
        there.pull(Store(other.root), key)


def test_an_address_without_a_library_is_a_usage_error():
    with pytest.raises(UsageError, match="nothing://here cannot be opened"):
        Remote.open("nothing://here")


# --- damage, and stages that a run works with ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("weights.safetensors", b"other", "has another digest"),
        ("weights.safetensors", None, "is missing"),
        ("curve.csv", b"", "has another digest"),
        ("curve.csv", None, "is missing"),
        ("stage.json", b"{", "cannot be read"),
        ("stage.json", None, "cannot be read"),
        ("stage.json", b"[]", "describes no stage"),
        ("stage.json", b'{"inputs": {}}', "describes stage"),
    ],
)
def test_every_file_of_a_stage_is_hashed(store, name, content, reason):
    key = store.find("")[0]
    assert damages(store.own(key), key) == []
    path = store.own(key) / name
    path.unlink() if content is None else path.write_bytes(content)
    assert (name, True) in [(d.file, reason in d.reason) for d in damages(store.own(key), key)]


def test_a_changed_value_of_a_stage_is_damage(store):
    key = store.find("")[0]
    path = store.own(key) / "stage.json"
    path.write_text(path.read_text().replace('"seconds": 1.5', '"seconds": 1.4'))
    (found,) = damages(store.own(key), key)
    assert (found.file, found.reason) == ("stage.json", "has another digest than was stored")


def test_stages_that_a_run_works_with_are_known_until_it_ends(store, afresh):
    keys = store.find("")
    assert in_use(store.root) == set()
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pmbench.store.uses import using\n"
        "with using(Path(sys.argv[1]), sys.argv[2:]): os._exit(0)"
    )
    afresh(code.replace("sys.argv[1]", repr(str(store.root))).replace("sys.argv[2:]", repr(keys)))
    assert list((store.root / "uses").glob("*.json")), "left by the process that ended"
    assert in_use(store.root) == set()
    with using(store.root, keys[:1]):
        assert in_use(store.root) == {keys[0]}
    assert in_use(store.root) == set()
    assert list((store.root / "uses").iterdir()) == []
