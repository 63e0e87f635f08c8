"""Downloads from a server on this machine: resuming, digests, error messages."""

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
    """Serves `content`, with ranges if `resumes`, and drops the first `drops` connections midway."""

    content, tag = CONTENT, None
    resumes, drops, requests = True, 0, None

    def do_GET(self):
        kind = type(self)
        kind.requests.append((self.path, self.headers.get("Range")))
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
    kind = type("One", (Server,), {"requests": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    kind.url = f"http://127.0.0.1:{http.server_port}/file"
    yield kind
    http.shutdown()


def silent(what, done, total):
    pass


def test_a_file_is_fetched_once(server, tmp_path):
    reports = []
    downloads = [Download(server.url, "x.rar", len(CONTENT), DIGEST)]
    assert fetch_all(downloads, tmp_path / "d", lambda *report: reports.append(report)) == tmp_path / "d"
    assert (tmp_path / "d" / "x.rar").read_bytes() == CONTENT
    assert reports[-1] == ("fetching x.rar (kB)", len(CONTENT) // 1000, len(CONTENT) // 1000)
    fetch_all(downloads, tmp_path / "d", silent)
    assert len(server.requests) == 1


@pytest.mark.parametrize("resumes", [True, False])
def test_a_lost_connection_is_resumed(server, tmp_path, resumes):
    server.drops, server.resumes = 1, resumes
    downloads = [Download(server.url, "x.rar", len(CONTENT), DIGEST)]
    with pytest.raises(DataError, match="could not be fetched") as caught:
        fetch_all(downloads, tmp_path, silent)
    assert "resumes the download" in caught.value.hint
    assert (tmp_path / "x.rar.part").stat().st_size == 400_000
    assert not (tmp_path / "x.rar").exists()
    fetch_all(downloads, tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT
    assert server.requests[1] == ("/file", "bytes=400000-")


@pytest.mark.parametrize("tag", ['"1"', None])
def test_two_versions_of_a_file_are_not_mixed(server, tmp_path, tag):
    """Without a digest the server's version decides; without a version the whole file is fetched again."""
    server.drops, server.tag = 1, tag
    with pytest.raises(DataError, match="could not be fetched"):
        fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    server.content, server.tag = bytes(reversed(CONTENT)), tag and '"2"'
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == server.content
    assert [p.name for p in tmp_path.iterdir()] == ["x.rar"]


def test_without_a_digest_a_download_resumes_if_the_version_is_the_same(server, tmp_path):
    server.drops, server.tag = 1, '"1"'
    with pytest.raises(DataError):
        fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT
    assert [downloads for _, downloads in server.requests] == [None, "bytes=400000-"]


@pytest.mark.parametrize("more", [b"", b"not of it"])
def test_a_complete_part_is_not_fetched(server, tmp_path, more):
    (tmp_path / "x.rar.part").write_bytes(CONTENT + more)
    if more:
        with pytest.raises(DataError, match="could not be fetched"):
            fetch_all([Download(server.url, "x.rar", 0, DIGEST)], tmp_path, silent)
    fetch_all([Download(server.url, "x.rar", 0, DIGEST)], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT


def test_concurrent_downloads_fetch_once(server, tmp_path):
    downloads = [Download(server.url, "x.rar")]
    calls = [threading.Thread(target=fetch_all, args=(downloads, tmp_path / "d", silent)) for _ in range(3)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert (tmp_path / "d" / "x.rar").read_bytes() == CONTENT
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"sha256": "0" * 8}, {"size": 7}])
def test_a_file_of_another_size_or_digest_is_refused(server, tmp_path, wrong):
    expected = {"size": len(CONTENT), "sha256": DIGEST} | wrong
    with pytest.raises(DataError, match="expected"):
        fetch_all([Download(server.url, "x.rar", **expected)], tmp_path, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_download_without_size_and_digest(server, tmp_path):
    fetch_all([Download(server.url, "x.rar")], tmp_path, silent)
    assert (tmp_path / "x.rar").read_bytes() == CONTENT


def test_unreachable_servers_are_named(server, tmp_path):
    for url in (server.url.replace("file", "missing"), "http://127.0.0.1:9/file", "http://nowhere.invalid/x"):
        with pytest.raises(DataError, match="could not be fetched") as caught:
            fetch_all([Download(url, "x.rar")], tmp_path, silent)
        assert "--source" in caught.value.hint
