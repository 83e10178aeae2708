import errno
import hashlib
import http.client
import http.server
import os
import threading
from types import SimpleNamespace

import pytest

from mmvae_bench.datasets import download as module
from mmvae_bench.datasets.download import Pinned, download, sha256
from mmvae_bench.errors import DataError

CONTENT = os.urandom(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the state's ``files`` by path; remembers what was asked for."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        state, asked = self.server.state, self.headers.get("Range")
        state.asked.append((self.path, asked))
        if self.path in state.redirects:
            self.send_response(302)
            self.send_header("Location", state.redirects[self.path])
            self.end_headers()
        elif self.path not in state.files:
            self.send_error(404)
        else:
            self.answer(state, state.files[self.path], int(asked.split("=")[1].rstrip("-")) if asked else None)

    def answer(self, state, content, start):
        if start is not None and state.ranges:
            if start >= len(content):
                self.send_error(416)
                return
            start += state.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            self.send_response(200)
        if state.length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: state.breaks_after])


@pytest.fixture
def web(monkeypatch):
    """A server on loopback that one can break: ``files``, ``redirects``, ``ranges``, ``length``, ``breaks_after``."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = SimpleNamespace(
        files={"/good": CONTENT}, redirects={}, ranges=True, length=True, breaks_after=None, shift=0, asked=[]
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.state = state
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def bring(web, path, *places, sha=SHA):
    """Download from places of the server; its requests since."""
    web.asked.clear()
    urls = [place if "://" in place else web.url + place for place in places]
    download(Pinned(urls, len(CONTENT), sha), path)
    return web.asked


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(web, tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    assert bring(web, path, "/good") == [("/good", None)]
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_broken_download_goes_on_where_it_stopped(web, tmp_path):
    path = tmp_path / "file"
    web.breaks_after = 100_000
    with pytest.raises(DataError, match=r"broke after 100,000 of 300,000 bytes"):
        bring(web, path, "/good")
    assert not path.exists()
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:100_000]
    web.breaks_after = None
    assert bring(web, path, "/good") == [("/good", "bytes=100000-")]
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_a_server_that_ignores_ranges_sends_all_again(web, tmp_path):
    (tmp_path / "file.part").write_bytes(b"wrong" * 1000)
    web.ranges = False
    web.breaks_after = 2000
    with pytest.raises(DataError, match="broke after 2,000"):
        bring(web, tmp_path / "file", "/good")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:2000]  # nothing of what was there before
    web.breaks_after = None
    assert bring(web, tmp_path / "file", "/good") == [("/good", "bytes=2000-")]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_rest_of_another_file_is_read_again_from_its_start(web, tmp_path):
    for part in (b"wrong" * 1000, bytes(len(CONTENT)), bytes(len(CONTENT) + 1)):
        (tmp_path / "file.part").write_bytes(part)
        assert bring(web, tmp_path / "file", "/good")[-1] == ("/good", None)
        assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_complete_part_is_only_verified(web, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert bring(web, tmp_path / "file", "/good") == []
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_place_of_the_rest_than_asked_for_is_no_rest(web, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    web.shift = 10
    with pytest.raises(DataError, match="not requested"):
        bring(web, tmp_path / "file", "/good")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:1000]
    web.shift = -10
    bring(web, tmp_path / "file", "/good")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_checksum_is_one_sentence_and_leaves_nothing(web, tmp_path):
    with pytest.raises(DataError, match=r"its SHA-256 is not 0000") as error:
        bring(web, tmp_path / "file", "/good", sha="0" * 64)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_sources_are_tried_in_order_and_each_says_why_it_failed(web, tmp_path):
    web.files["/page"] = b"<html>we moved</html>".ljust(2000)
    web.redirects = {"/gone": "/absent", "/moved": "/good", "/away": "ftp://127.0.0.1/file", "/round": "/round"}
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    dead = ("/absent", "/gone", "/page", "/away", "/round", "http://127.0.0.1:9/closed")
    with pytest.raises(DataError) as error:
        bring(web, tmp_path / "file", *dead)
    text = str(error.value)
    assert all(place in text for place in dead) and "\n" not in text
    assert "404" in text and "a different file, of 2,000 bytes" in text and text.count("not an https address") == 1
    assert f"300,000 bytes, SHA-256 {SHA}) and put it at {tmp_path / 'file'}" in text
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:1000]  # no dead link destroys what is there
    asked = bring(web, tmp_path / "file", *dead, "/moved", "/never")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert ("/good", "bytes=1000-") in asked and ("/never", None) not in asked


def test_the_second_source_goes_on_from_the_first(web, tmp_path):
    web.files["/short"] = CONTENT[:120_000]
    web.length = False  # it cannot be told beforehand
    assert bring(web, tmp_path / "file", "/short", "/good")[-1] == ("/good", "bytes=120000-")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_more_than_the_pinned_size_is_never_written(web, tmp_path):
    web.files["/endless"], web.length = CONTENT * 3, False
    bring(web, tmp_path / "file", "/endless")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_silent_server_does_not_hold_us_for_ever(web, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    web.breaks_after = 100_000
    over = threading.Event()
    monkeypatch.setattr(Handler, "finish", lambda self: over.wait(10.0))  # keeps the connection open
    try:
        with pytest.raises(DataError, match="timed out"):
            bring(web, tmp_path / "file", "/good")
    finally:
        over.set()


def test_a_network_that_fails_is_that_sources_failure(web, tmp_path, monkeypatch):
    web.files["/copy"] = CONTENT
    read, failed = http.client.HTTPResponse.read, []

    def unreachable(self, *args):
        if not failed:
            failed.append(True)
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return read(self, *args)

    monkeypatch.setattr(http.client.HTTPResponse, "read", unreachable)
    bring(web, tmp_path / "file", "/good", "/copy")
    assert failed and (tmp_path / "file").read_bytes() == CONTENT and ("/copy", None) in web.asked
    failed.clear()
    with pytest.raises(DataError, match=r"/good: \[Errno \d+\] No route to host"):
        bring(web, tmp_path / "other", "/good")


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path, read = tmp_path / "file", []
    hashed = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: read.append(path) or hashed(*args))
    path.write_bytes(CONTENT)
    assert sha256(path) == sha256(path) == SHA and len(read) == 1
    path.write_bytes(CONTENT[1:])
    assert sha256(path) == hashlib.sha256(CONTENT[1:]).hexdigest() and len(read) == 2
    with pytest.raises(DataError, match="cannot be read"):
        sha256(tmp_path / "absent")


def test_a_place_that_cannot_be_written_is_one_sentence(web, tmp_path):
    (tmp_path / "folder").write_bytes(b"a file")
    with pytest.raises(DataError, match="cannot be read or written"):
        bring(web, tmp_path / "folder" / "file", "/good")
