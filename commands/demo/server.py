"""The demo's server: the page, what it has to know of the classifier, and predictions."""

import io
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import torch

from commands.demo.strokes import centre_strokes
from src.checkpoints import Classifier
from src.classification import looks_inverted, looks_unfamiliar
from src.decoding import decode_image, decode_padded, image_size
from src.errors import MnistryError
from src.inference import class_probabilities

LOOPBACK = "127.0.0.1"
LARGEST_UPLOAD = 16 << 20
"""Bytes of an image file."""
LARGEST_IMAGE = 25_000_000
"""Pixels; decoding takes up to 16 bytes of memory for each."""
SECONDS = 20
"""That a client may be silent."""
CANVAS = 280
"""Side of the page's drawing, in pixels."""
PAGE = Path(__file__).with_name("page.html")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestError(Exception):
    """What a request has wrong, with the status to answer."""

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Listens on the loopback address alone; raises MnistryError where the port can't be had."""

    daemon_threads = True
    # Connections that wait to be accepted. With Python's 5, one of 14 was reset when 32 clients asked at once.
    request_queue_size = 128
    # On Windows it would let two servers share a port; elsewhere it only spares a wait after the last one.
    allow_reuse_address = os.name != "nt"
    allow_reuse_port = False

    def __init__(self, classifier: Classifier, dataset: str, port: int):
        self.classifier, self.dataset = classifier, dataset
        # Large images would otherwise take their memory all at once.
        self.one_image = threading.Lock()
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MnistryError(f"port {port} of {LOOPBACK}: {reason}; choose another with --port") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: DemoServer
    timeout = SECONDS
    body_read = False

    def do_GET(self) -> None:
        """The page, or the classifier's description."""
        self._answer({"/": self._page, "/classifier": self._classifier})

    def do_POST(self) -> None:
        """The probabilities of the image in the request's body.

        Of the query, `drawn=1` says that it comes from the page's canvas and `invert=1` that it is dark on light.
        """
        self._answer({"/predict": self._predict}, self._check_origin)

    def _answer(self, routes: dict[str, Any], check: Callable[[], None] = lambda: None) -> None:
        try:
            self._check_host()
            check()
            try:
                path = urlsplit(self.path).path
            except ValueError:
                raise RequestError(HTTPStatus.BAD_REQUEST, "a damaged address; expected /") from None
            route = routes.get(path)
            if route is None:
                raise RequestError(HTTPStatus.NOT_FOUND, f"nothing at {self.path}")
            kind, body = route()
            self._send(HTTPStatus.OK, kind, body)
        except RequestError as error:
            self._discard_body()
            self._send(error.status, *_json({"error": str(error)}))
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _check_host(self) -> None:
        """Refuse other names for this address: a foreign page could give itself one and read the answers."""
        host = self.headers.get("Host", "")
        if host not in self._hosts():
            raise RequestError(HTTPStatus.FORBIDDEN, f"host {host!r}; expected {self._hosts()[0]}")

    def _check_origin(self) -> None:
        """Refuse what a foreign page sends: it can't read the answer, but it could keep this computer at work.

        Programs that aren't browsers send neither of these headers.
        """
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
        if origin not in (None, *(f"http://{host}" for host in self._hosts())) or site not in ("same-origin", "none"):
            sender = origin or f"a {site} page"
            raise RequestError(HTTPStatus.FORBIDDEN, f"sent by {sender}; expected the demo's own page")

    def _hosts(self) -> tuple[str, str]:
        port = self.server.server_port
        return f"{LOOPBACK}:{port}", f"localhost:{port}"

    def _discard_body(self) -> None:
        """Read what the client still sends: a connection that is closed before that is reset, its answer unread."""
        if self.headers.get("Content-Length", "") == "" or self.body_read:
            return
        with suppress(RequestError, OSError):
            self._body()

    def _page(self) -> tuple[str, bytes]:
        return "text/html; charset=utf-8", PAGE.read_bytes()

    def _classifier(self) -> tuple[str, bytes]:
        classifier = self.server.classifier
        return _json(
            {
                "model": classifier.name,
                "dataset": self.server.dataset,
                "classes": classifier.dataset.class_names,
                "shape": classifier.dataset.shape,
                "strokes": takes_strokes(classifier),
            }
        )

    def _predict(self) -> tuple[str, bytes]:
        query = parse_qs(urlsplit(self.path).query)
        drawn, invert = (query.get(name) == ["1"] for name in ("drawn", "invert"))
        file = io.BytesIO(self._body())
        try:
            with self.server.one_image:
                check_size(file, "the drawing" if drawn else "the image")
                pixels, unpadded = prepare(self.server.classifier, file, drawn, invert)
        except MnistryError as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None
        probabilities = class_probabilities(self.server.classifier.model, [torch.tensor(pixels[None])], 1)[0]
        return _json(
            {
                "probabilities": probabilities.tolist(),
                "pixels": pixels.transpose(1, 2, 0).ravel().tolist(),
                "inverted": not drawn and looks_inverted(self.server.classifier.dataset, unpadded),
                "unfamiliar": looks_unfamiliar(self.server.classifier, pixels[None])[0],
            }
        )

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "no Content-Length; send the image's bytes as the body")
        # Python reads no number of thousands of digits.
        if len(length) > len(str(LARGEST_UPLOAD)) or int(length) > LARGEST_UPLOAD:
            limit = LARGEST_UPLOAD >> 20
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {limit} MB; choose a smaller image")
        self.body_read = True
        return self.rfile.read(int(length))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet: a line for each stroke would help nobody."""


def takes_strokes(classifier: Classifier) -> bool:
    """Whether drawings are centred as characters: in grey, with classes that are named by one character each."""
    return classifier.dataset.shape[0] == 1 and all(len(name) == 1 for name in classifier.dataset.class_names)


def check_size(file: io.BytesIO, name: str) -> None:
    """Raises MnistryError where the image can't be read or has more than LARGEST_IMAGE pixels."""
    width, height = image_size(file, name)
    if width * height > LARGEST_IMAGE:
        raise MnistryError(f"{name}: {width} x {height} pixels; expected at most {LARGEST_IMAGE:,}: shrink it first")
    file.seek(0)


def prepare(classifier: Classifier, file: io.BytesIO, drawn: bool, invert: bool) -> tuple[np.ndarray, np.ndarray]:
    """The image as the classifier takes it, uint8 of shape (C, H, W), and the part of it that isn't padding."""
    shape = classifier.dataset.shape
    if drawn and takes_strokes(classifier):
        ink = decode_image(file, (1, CANVAS, CANVAS), "the drawing")[0]
        strokes = centre_strokes(ink, *shape[1:])[None]
        return strokes, strokes
    return decode_padded(file, shape, "the image", classifier.dataset.decoding, invert)


def _json(content: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(content, ensure_ascii=False).encode()
