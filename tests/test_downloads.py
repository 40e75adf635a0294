import gc
import gzip
import hashlib
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests

from src import downloads
from src.downloads import Downloads, NotFetchedError

CONTENT = b"an archive" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


LOCATIONS = {
    "bytes": "/\xff\xfe",
    "bracket": "http://[::1",
    "dots": "http://a..b/",
    "long": f"http://{'a' * 300}.com/",
    "port": "http://127.0.0.1:99999/",
}
"""Addresses that make no sense, for redirects."""


class Server(ThreadingHTTPServer):
    """Counts the requests for each way of answering."""

    daemon_threads = True
    tries: dict[str, int]
    stopped: threading.Event
    retry_after: object = None


class Handler(BaseHTTPRequestHandler):
    """Answers /<how>/archive as `how` says."""

    server: Server

    def do_GET(self):
        how = self.path.split("/")[1]
        tries = self.server.tries[how] = self.server.tries.get(how, 0) + 1
        if how.isdecimal() or (how == "moody" and tries < 3):
            self.send_response(int(how) if how.isdecimal() else (429, 500)[tries - 1])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "circle" or how in LOCATIONS:
            self.send_response(302)
            self.send_header("Location", LOCATIONS.get(how, self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "busy":
            self.send_response(503)
            self.send_header("Retry-After", str(self.server.retry_after))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "digits":
            self.send_response(200)
            self.send_header("Content-Length", "9" * 5000)
            self.end_headers()
        elif how == "gzip" and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(CONTENT)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif how == "longer":
            # In chunks: then it isn't the announced length that ends it.
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) - 1))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))
        elif how == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nName: ")
            while not self.server.stopped.wait(0.01):
                self.wfile.write(b"x")
        elif how == "hangs":
            self.server.stopped.wait(10)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            body = {"half": CONTENT[: len(CONTENT) // 2], "wrong": CONTENT[::-1]}.get(how, CONTENT)
            if how == "drips":
                with suppress(OSError):
                    for byte in CONTENT:
                        time.sleep(0.01)
                        self.wfile.write(bytes([byte]))
            elif how == "stalls":
                self.wfile.write(CONTENT[:10])
                self.server.stopped.wait(10)
            else:
                self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on the loopback address; waits are short."""
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.3)
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(("127.0.0.1", 0), Handler)
    server.tries, server.stopped = {}, threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def url(server, how):
    """The server's address of an archive that it sends in this way."""
    return f"http://127.0.0.1:{server.server_port}/{how}/archive"


def fetch(server, how, tmp_path, mirrors=()):
    """Fetch that archive, from the mirrors first."""
    Downloads("mine", list(mirrors)).fetch(url(server, how), tmp_path / "archive", MD5)


@pytest.mark.parametrize(("how", "tries"), [("fine", 1), ("moody", 3)])
def test_temporary_faults_are_tried_again(server, tmp_path, how, tries):
    """429 and 500, then the file."""
    fetch(server, how, tmp_path)
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert server.tries[how] == tries


@pytest.mark.parametrize(
    ("how", "answer", "tries"),
    [
        ("403", "403 Forbidden", 1),
        ("404", "404 Not Found", 1),
        ("429", "429 Too Many Requests", 3),
        ("500", "500 Internal Server Error", 3),
        ("half", "broke off after 5000 of 10000 bytes", 3),
        ("longer", "sent 10000 bytes, but announced 9999", 3),
        ("stalls", "stopped for 0.3 s", 3),
        ("drips", "too slow: ", 1),
        ("hangs", "no answer within 0.3 s", 3),
        ("wrong", f"a damaged file (MD5 {hashlib.md5(CONTENT[::-1]).hexdigest()}, expected {MD5})", 1),
        ("circle", "redirects in a circle", 31),
        ("headers", "no whole answer within 1 s", 1),
        ("digits", "Exceeds the limit", 1),
    ],
)
def test_lasting_faults_end_with_what_was_answered(server, tmp_path, how, answer, tries):
    """They are tried again only where that may help; no file is left."""
    with pytest.raises(NotFetchedError) as error:
        fetch(server, how, tmp_path)
    assert f"{url(server, how)}: {answer}" in str(error.value)
    assert server.tries[how] == tries
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("how", LOCATIONS)
def test_redirect_to_what_is_not_an_address_is_one_place_that_failed(server, tmp_path, how):
    """The next one is asked. requests leaves the connection open until it is collected."""
    fetch(server, "fine", tmp_path, [url(server, how).removesuffix("/archive")])
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert server.tries[how] == 1
    gc.collect()


def test_refused_connection_is_named(server, tmp_path):
    """A port that nobody listens on."""
    with pytest.raises(NotFetchedError, match=r"http://127\.0\.0\.1:9/archive: no connection"):
        Downloads("mine", []).fetch("http://127.0.0.1:9/archive", tmp_path / "archive", MD5)


@pytest.mark.parametrize("place", [0, 8, 31])
def test_every_character_of_the_checksum_counts(server, tmp_path, place):
    """The first, one in the middle, the last."""
    other = "0" if MD5[place] != "0" else "1"
    md5 = MD5[:place] + other + MD5[place + 1 :]
    with pytest.raises(NotFetchedError, match=f"a damaged file \\(MD5 {MD5}, expected {md5}\\)"):
        Downloads("mine", []).fetch(url(server, "fine"), tmp_path / "archive", md5)


def test_unknown_host_is_named_at_once(tmp_path):
    """Trying again wouldn't help."""
    with pytest.raises(NotFetchedError, match=r"http://no-such-host\.invalid/archive: no such host"):
        Downloads("mine", []).fetch("http://no-such-host.invalid/archive", tmp_path / "archive", MD5)


def test_mirrors_come_first_each_in_turn(server, tmp_path):
    """A folder that lacks the file, a server that breaks off, one that has it; the source's own place isn't asked."""
    base = f"http://127.0.0.1:{server.server_port}"
    fetch(server, "404", tmp_path, [str(tmp_path / "nowhere"), f"{base}/half", f"{base}/fine/"])
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert "404" not in server.tries


def test_error_lists_every_place_and_what_to_do(server, tmp_path):
    """And a place that failed isn't asked again when the source names it anew."""
    base = f"http://127.0.0.1:{server.server_port}"
    tried = Downloads("mine", [str(tmp_path / "nowhere"), f"{base}/403"])
    for how in ("404", "wrong"):
        with pytest.raises(NotFetchedError) as error:
            tried.fetch(url(server, how), tmp_path / "archive", MD5)
    message = str(error.value)
    for part in ("nowhere/archive: no such file or directory", "403 Forbidden", "404 Not Found", "a damaged file"):
        assert part in message
    assert "Set MNISTRY_MIRROR to a folder or URL that holds mine/archive" in message
    assert server.tries["403"] == 1


def test_file_without_checksum_is_taken_as_it_is(server, tmp_path):
    """Some of torchvision's sources state none."""
    Downloads("mine", []).fetch(url(server, "wrong"), tmp_path / "archive", None)
    assert (tmp_path / "archive").read_bytes() == CONTENT[::-1]


def test_files_are_saved_as_they_are(server, tmp_path):
    """No server is asked to compress them on the way."""
    Downloads("mine", []).fetch(url(server, "gzip"), tmp_path / "archive", None)
    assert (tmp_path / "archive").read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["\0", "http://[::1", "http://a..b"])
def test_mirror_that_makes_no_sense_is_one_that_failed(server, tmp_path, mirror):
    """The next place is asked."""
    fetch(server, "fine", tmp_path, [mirror])
    assert (tmp_path / "archive").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "retry_after", "waits"),
    [("500", None, [0.01, 0.02]), ("busy", 3, [3, 3]), ("busy", 600, [10, 10]), ("busy", "soon", [0.01, 0.02])],
)
def test_waits_between_tries(server, tmp_path, monkeypatch, how, retry_after, waits):
    """Twice as long each time, or what the server asks for, up to 10 s."""
    server.retry_after = retry_after
    waited: list[float] = []
    monkeypatch.setattr(downloads, "time", SimpleNamespace(sleep=waited.append))
    with pytest.raises(NotFetchedError):
        fetch(server, how, tmp_path)
    assert waited == waits


def test_connection_and_answers_have_their_time_outs(server, tmp_path, monkeypatch):
    """Both are passed to requests."""
    asked, get = [], requests.get

    def recorded(url, **options):
        asked.append(options["timeout"])
        return get(url, **options)

    monkeypatch.setattr(requests, "get", recorded)
    fetch(server, "fine", tmp_path)
    assert asked == [(downloads.CONNECT_SECONDS, downloads.READ_SECONDS)]
    assert downloads.CONNECT_SECONDS == 5


def test_password_of_a_mirror_is_never_shown(tmp_path):
    """Neither where it was tried nor in what libraries say of its address."""
    for mirror in ("http://me:secret@127.0.0.1:99999/f", "http://me:secret@/f"):
        with pytest.raises(NotFetchedError) as caught:
            Downloads("mnist", []).fetch(f"{mirror}/file.gz", tmp_path / "file.gz", md5=None)
        assert "secret" not in str(caught.value)
        assert "file.gz" in str(caught.value)
