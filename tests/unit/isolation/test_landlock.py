"""What a process may open under Landlock; each attempt runs in a process of its own."""

from __future__ import annotations

import json
import socket

import pytest

from pmbench.isolation.landlock import Rights, version

pytestmark = pytest.mark.skipif(not version(), reason="this kernel has no Landlock")

CODE = """
import ctypes, json, os, socket, subprocess, sys
import torch, pyarrow
from pmbench.isolation.landlock import Rights
folder, port = sys.argv[1:]
secret = os.path.join(folder, "secret", "labels")
libc = ctypes.CDLL(None)
pyarrow.memory_map, pyarrow.OSFile, subprocess.run, socket.create_connection  # imported before
attempts = {
    "open": lambda: open(secret).read(),
    "torch.from_file": lambda: torch.from_file(secret, size=1, dtype=torch.uint8),
    "memory map of pyarrow": lambda: pyarrow.memory_map(secret).read(),
    "file of pyarrow": lambda: pyarrow.OSFile(secret).read(),
    "subprocess": lambda: subprocess.run(["/bin/cat", secret], check=True, capture_output=True),
    "os.system": lambda: 1 / (os.system(f"cat {secret} 2> /dev/null") == 0),
    "libc": lambda: 1 / (1 + libc.open(secret.encode(), 0)),
    "hard link": lambda: os.link(secret, os.path.join(folder, "mine", "link")),
    "list": lambda: os.listdir(os.path.join(folder, "secret")),
    "write": lambda: open(os.path.join(folder, "given", "x"), "w"),
    "remove": lambda: os.remove(os.path.join(folder, "given", "data")),
    "signal": lambda: os.kill(os.getppid(), 0),
    "connection": lambda: socket.create_connection(("127.0.0.1", int(port))),
}
allowed = {
    "read": lambda: open(os.path.join(folder, "given", "data")).read(),
    "write": lambda: open(os.path.join(folder, "mine", "x"), "w").write("x"),
    "list": lambda: os.listdir(os.path.join(folder, "names")),
    "compute": lambda: float((torch.ones(64, 64) @ torch.ones(64, 64)).sum()),
}
given, mine, names = (os.path.join(folder, name) for name in ("given", "mine", "names"))
Rights((given,), (mine,), (names,)).apply()
found = {}
for kind, group in (("refused", attempts), ("allowed", allowed)):
    for name, attempt in group.items():
        try:
            attempt()
            found[f"{kind}: {name}"] = "done"
        except Exception as error:
            found[f"{kind}: {name}"] = type(error).__name__
try:
    open(os.path.join(folder, "names", "file")).read()
    found["refused: read what is listed"] = "done"
except PermissionError:
    found["refused: read what is listed"] = "PermissionError"
print(json.dumps(found))
"""


def test_nothing_but_what_is_given_can_be_opened(tmp_path, afresh):
    for name in ("secret", "given", "mine", "names"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret" / "labels").write_bytes(b"labels")
    (tmp_path / "given" / "data").write_bytes(b"data")
    (tmp_path / "names" / "file").write_bytes(b"file")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import sys; sys.argv = ['', {str(tmp_path)!r}, '{server.getsockname()[1]}']\n{CODE}"
        found = json.loads(afresh(code).splitlines()[-1])
    refused = {name: outcome for name, outcome in found.items() if name.startswith("refused")}
    assert len(refused) == 14
    known = version()
    if known < 6:
        refused.pop("refused: signal")
    if known < 4:
        refused.pop("refused: connection")
    assert "done" not in refused.values(), refused
    assert {o for name, o in found.items() if name.startswith("allowed")} == {"done"}, found
    assert (tmp_path / "given" / "data").read_bytes() == b"data"


def test_a_child_process_has_the_same_rights(tmp_path, afresh):
    (tmp_path / "labels").write_text("labels")
    code = f"""
import os, sys
from pmbench.isolation.landlock import Rights
Rights(read=("/bin", "/usr", "/lib", "/lib64"), execute=True).apply()
print(os.waitstatus_to_exitcode(os.system("/bin/echo allowed")), os.system("/bin/cat {tmp_path}/labels") != 0)
"""
    assert afresh(code).split() == ["allowed", "0", "True"]


def test_absent_paths_give_no_rights(tmp_path, afresh):
    code = f"""
from pmbench.isolation.landlock import Rights
Rights(read=({str(tmp_path / "absent")!r},), write=({str(tmp_path / "a" / "b")!r},)).apply()
try:
    open({str(tmp_path / "absent")!r}, "w")
except PermissionError:
    print("refused")
"""
    assert afresh(code) == "refused"


def test_rights_are_values():
    assert Rights(read=("a",)) == Rights(("a",))
