"""Downloads from a real server on this machine: resumed, checked, errors that say what to do."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pmbench import Download
from pmbench.data.download import fetch_all
from pmbench.errors import DataError

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves `content`, with ranges where `resumes`, and drops the first `drops` connections half way."""

    content, tag = CONTENT, None
    resumes, drops, asked = True, 0, None

    def do_GET(self):
        kind = type(self)
        kind.asked.append((self.path, self.headers.get("Range")))
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(self.headers["Range"][6:-1]) if "Range" in self.headers and kind.resumes else 0
        if self.headers.get("If-Range", kind.tag) != kind.tag:
            start = 0
        if start >= len(kind.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(kind.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(kind.content) - start))
        if kind.tag:
            self.send_header("ETag", kind.tag)
        self.end_headers()
        if kind.drops:
            kind.drops -= 1
            self.wfile.write(kind.content[start : start + 400_000])
            return
        self.wfile.write(kind.content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    kind = type("One", (Server,), {"asked": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    kind.url = f"http://127.0.0.1:{http.server_port}/file"
    yield kind
    http.shutdown()


def silent(what, done, total):
    pass


def test_a_file_is_fetched_once(server, tmp_path):
    told = []
    wanted = [Download(server.url, "x.rar", len(CONTENT), DIGEST)]
    assert fetch_all(wanted, tmp_path / "d", lambda *news: told.append(news)) == tmp_path / "d"
    assert (tmp_path / "d" / "x.rar").read_bytes() == CONTENT
    assert told[-1] == ("fetching x.rar (kB)", len(CONTENT) // 1000, len(CONTENT) // 1000)
    fetch_all(wanted, tmp_path / "d", silent)
    assert len(server.asked) == 1


@pytest.mark.parametrize("resumes", [True, False])
def test_a_lost_connection_is_resumed(server, tmp_path, resumes):
    server.drops, server.resumes = 1, resumes
    wanted = [Download(server.url, "x.rar", len(CONTENT), DIGEST)]
    with pytest.raises(DataError, match="could not be fetched") as caught:
        fetch_all(wanted, tmp_path, silent)
    assert "resumes the download" in caught.value.hint
    assert (tmp_path / "x.rar.part").stat().st_size == 400_000
    assert not (tmp_path / "x.rar").exists()
    fetch_all(wanted, tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT
    assert server.asked[1] == ("/file", "bytes=400000-")


@pytest.mark.parametrize("tag", ['"1"', None])
def test_a_file_that_changed_between_is_not_mixed(server, tmp_path, tag):
    """Without a digest its version tells, and where the server has none, all of it is fetched again."""
    server.drops, server.tag = 1, tag
    with pytest.raises(DataError, match="could not be fetched"):
        fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    server.content, server.tag = bytes(reversed(CONTENT)), tag and '"2"'
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == server.content
    assert [p.name for p in tmp_path.iterdir()] == ["x.rar"]


def test_without_a_digest_it_is_resumed_where_the_server_tells_versions(server, tmp_path):
    server.drops, server.tag = 1, '"1"'
    with pytest.raises(DataError):
        fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=400000-"]


@pytest.mark.parametrize("more", [b"", b"not of it"])
def test_a_part_that_was_whole_already(server, tmp_path, more):
    (tmp_path / "x.rar.part").write_bytes(CONTENT + more)
    if more:
        with pytest.raises(DataError, match="could not be fetched"):
            fetch_all([Download(server.url, "x.rar", 0, DIGEST)], tmp_path, silent)
    fetch_all([Download(server.url, "x.rar", 0, DIGEST)], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT


def test_two_at_once(server, tmp_path):
    wanted = [Download(server.url, "x.rar")]
    calls = [threading.Thread(target=fetch_all, args=(wanted, tmp_path / "d", silent)) for _ in range(3)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert (tmp_path / "d" / "x.rar").read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"sha256": "0" * 8}, {"size": 7}])
def test_a_file_that_is_not_what_it_should_be(server, tmp_path, wrong):
    expected = {"size": len(CONTENT), "sha256": DIGEST} | wrong
    with pytest.raises(DataError, match="expected"):
        fetch_all([Download(server.url, "x.rar", **expected)], tmp_path, silent)
    assert list(tmp_path.iterdir()) == []


def test_without_a_stated_digest(server, tmp_path):
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT


def test_servers_that_cannot_help(server, tmp_path):
    for url in (server.url.replace("file", "missing"), "http://127.0.0.1:9/file", "http://nowhere.invalid/x"):
        with pytest.raises(DataError, match="could not be fetched") as caught:
            fetch_all([Download(url, "x.rar")], tmp_path, silent)
        assert "--source" in caught.value.hint
