"""Files from mirrors and servers, under their checksums."""

import hashlib
import http.client
import re
import shutil
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tqdm import tqdm

from src.errors import MnistryError
from src.outputs import is_unwritable

if TYPE_CHECKING:
    # At run time it is imported where it is used: it takes a while.
    import requests

CONNECT_SECONDS = 5
READ_SECONDS = 20
ANSWER_SECONDS = 60
"""For all headers together, those of redirects included."""
TRIES = 3
BACKOFF_SECONDS = 0.5
"""Before the second try; twice that before the third."""
LONGEST_WAIT_SECONDS = 10
SLOWEST = 1000
"""Bytes per second on average; a slower server isn't waited for."""
CHUNK = 1 << 20


class AttemptFailedError(Exception):
    """What one place answered; `again` says whether another try may help."""

    def __init__(self, answer: str, again: bool = False):
        super().__init__(answer)
        self.again = again
        self.wait = 0.0


class NotFetchedError(MnistryError, RuntimeError):
    """No place had the file. Also a RuntimeError, on which torchvision's classes turn to their next mirror."""


@dataclass
class Downloads:
    """Fetches one dataset's files: from mirrors first, then from where the source says.

    mirrors: folders or URLs that hold the files under their names.
    """

    dataset: str
    mirrors: list[str]
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """For each file: the places that failed and what they answered."""
    unavailable: str | None = None
    """The file that no place had, if any."""

    def fetch(self, url: str, path: Path, md5: str | None) -> None:
        """Put the file into `path`, from a mirror or else from `url`.

        md5: the checksum that it must have, or None where the source states none.
        Raises NotFetchedError, with each place tried and its answer.
        """
        failures = self.failures.setdefault(path.name, {})
        for place in [*(f"{mirror.rstrip('/')}/{path.name}" for mirror in self.mirrors), url]:
            if place in failures:
                continue
            try:
                _fetch_from(place, path, md5)
                self.unavailable = None
                return
            except AttemptFailedError as failure:
                failures[place] = str(failure)
        self.unavailable = path.name
        raise NotFetchedError(*self.report())

    def report(self) -> tuple[str, str]:
        """What was tried for the unavailable file and what each place answered; what the user can do."""
        name = self.unavailable or ""
        failures = self.failures.get(name, {})
        answers = "; ".join(f"{without_user(place)}: {answer}" for place, answer in failures.items())
        return (
            f"{self.dataset}: could not get {name}. Tried {answers}",
            f"Set MNISTRY_MIRROR to a folder or URL that holds {self.dataset}/{name}, "
            "or use dataset=digits, which needs no network",
        )


def without_user(place: str) -> str:
    """The folder or URL, without the name and the password that a URL may have before its host."""
    return re.sub(r"^(https?://)[^/]*@", r"\1", place)


def _fetch_from(place: str, path: Path, md5: str | None) -> None:
    """Put the file into `path`, whole and verified; raises AttemptFailedError."""
    partial = path.with_name(path.name + ".partial")
    for attempt in range(TRIES):
        try:
            if place.startswith(("http://", "https://")):
                _get(place, partial)
            else:
                _copy(Path(place.removeprefix("file://")), partial)
            _verify(partial, md5)
            partial.replace(path)
            return
        except AttemptFailedError as failure:
            if not failure.again or attempt == TRIES - 1:
                raise
            time.sleep(max(failure.wait, BACKOFF_SECONDS * 2**attempt))
        finally:
            partial.unlink(missing_ok=True)


def _copy(source: Path, path: Path) -> None:
    try:
        shutil.copyfile(source, path)
    except OSError as error:
        if is_unwritable(error):
            raise
        raise AttemptFailedError((error.strerror or str(error)).lower()) from None
    except ValueError as error:
        # A null byte.
        raise AttemptFailedError(str(error)) from None


def _get(url: str, path: Path) -> None:
    import requests
    import urllib3

    try:
        with _answer(url) as response:
            _check_status(response.status_code, response.headers.get("Retry-After", ""))
            length = response.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() else 0
            server = urlsplit(without_user(url)).netloc
            _save(response.raw, path, size, f"{path.name.removesuffix('.partial')} from {server}")
    except requests.TooManyRedirects:
        raise AttemptFailedError("redirects in a circle") from None
    except requests.Timeout:
        raise AttemptFailedError(f"no answer within {READ_SECONDS} s", again=True) from None
    except TimeoutError:
        raise AttemptFailedError(f"no whole answer within {ANSWER_SECONDS} s") from None
    except requests.ConnectionError as error:
        unknown_host = "NameResolution" in str(error)
        raise AttemptFailedError("no such host" if unknown_host else "no connection", again=not unknown_host) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # requests lets through what other libraries raise for addresses and headers that make no sense.
        raise AttemptFailedError(str(error).replace(url, without_user(url))) from None


def _answer(url: str) -> "requests.Response":
    """The server's answer, its body still to be read; raises TimeoutError where its headers keep dripping in."""
    import requests

    answer: Future[requests.Response] = Future()

    def get() -> None:
        try:
            # A file that is compressed on the way wouldn't have its checksum.
            headers = {"Accept-Encoding": "identity"}
            answer.set_result(requests.get(url, stream=True, headers=headers, timeout=(CONNECT_SECONDS, READ_SECONDS)))
        except BaseException as error:
            answer.set_exception(error)

    # The time-out of requests starts again with each byte: whoever waits here has to be able to give up.
    threading.Thread(target=get, daemon=True).start()
    try:
        return answer.result(ANSWER_SECONDS)
    except TimeoutError:
        answer.add_done_callback(_drop)
        raise


def _drop(late: "Future[requests.Response]") -> None:
    if late.exception() is None:
        late.result().close()


def _check_status(status: int, retry_after: str) -> None:
    if status == 200:
        return
    failure = AttemptFailedError(f"{status} {http.client.responses.get(status, '')}".strip())
    failure.again = status == 429 or status >= 500
    failure.wait = min(float(retry_after), LONGEST_WAIT_SECONDS) if retry_after.isdecimal() else 0.0
    raise failure


def _save(body: object, path: Path, size: int, description: str) -> None:
    import urllib3

    assert isinstance(body, urllib3.HTTPResponse)
    received, start = 0, time.monotonic()
    with (
        path.open("wb") as file,
        tqdm(total=size or None, desc=description, unit="B", unit_scale=True, disable=None) as bar,
    ):
        try:
            # What has arrived so far: `read` would wait until a chunk is complete, however long that takes.
            while chunk := body.read1(CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
                seconds = time.monotonic() - start
                if seconds > READ_SECONDS and received < SLOWEST * seconds:
                    raise AttemptFailedError(f"too slow: {received} bytes in {seconds:.0f} s")
        except urllib3.exceptions.TimeoutError:
            raise AttemptFailedError(f"stopped for {READ_SECONDS} s after {received} bytes", again=True) from None
        except urllib3.exceptions.HTTPError:
            raise AttemptFailedError(f"broke off after {received} of {size or 'more'} bytes", again=True) from None
    if size and received < size:
        raise AttemptFailedError(f"broke off after {received} of {size} bytes", again=True)
    if size and received > size:
        # Possible where a server sends chunks and announces a length as well.
        raise AttemptFailedError(f"sent {received} bytes, but announced {size}", again=True)


def _verify(path: Path, md5: str | None) -> None:
    found = file_md5(path)
    if md5 is not None and found != md5:
        raise AttemptFailedError(f"a damaged file (MD5 {found}, expected {md5})")


def file_md5(path: Path) -> str:
    """The file's MD5 sum in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
