"""The demo's server, and its page in a browser."""

import http.client
import io
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from commands.demo import server as demo
from src.batches import make_subset
from src.checkpoints import Classifier
from src.errors import MnistryError
from src.familiarity import choose_references, fit_familiarity
from src.models import build_model
from src.normalization import fit_normalization
from src.sources import open_source
from src.training import fit
from tests.browser import open_browser
from tests.conftest import completed_params, dataset_info

DIGITS = tuple("0123456789")

# Strokes of each digit as people draw them: x and y of their corners, in hundredths of the canvas.
STROKES = {
    "0": "52,18 38,22 29,38 28,56 35,74 49,82 63,76 71,60 70,40 63,24 52,18",
    "1": "54,15 52,38 50,62 48,86",
    "2": "28,34 34,22 48,17 62,23 66,36 58,51 44,66 28,81 48,79 74,80",
    "3": "31,24 45,17 60,21 64,33 56,44 44,48 58,51 67,62 62,76 46,83 29,77",
    "4": "34,18 31,36 28,53 46,54 70,52 / 65,18 62,45 60,66 58,87",
    "5": "68,18 38,19 35,44 50,41 64,48 68,62 60,77 44,83 28,76",
    "6": "60,16 45,28 35,45 31,63 37,78 51,83 63,75 64,62 54,54 42,58 33,68",
    "7": "26,21 48,20 71,21 62,40 52,61 45,86",
    "8": "65,25 51,17 37,24 38,37 51,47 65,60 66,74 52,84 37,77 35,63 48,49 61,38 65,25",
    "9": "66,32 57,20 43,20 33,33 38,46 53,47 65,36 66,32 65,55 62,72 58,87",
}


def untrained(class_names: tuple[str, ...] = DIGITS, shape: tuple[int, int, int] = (1, 8, 8)) -> Classifier:
    """A classifier with random weights."""
    torch.manual_seed(0)
    recipe = completed_params().models.linear
    info = dataset_info(class_names, shape, std=0.3)
    return Classifier(build_model("linear", recipe, info).eval(), "linear", recipe, info)


@contextmanager
def serving(classifier: Classifier, dataset: str = "") -> Iterator[demo.DemoServer]:
    """A server that answers until the block ends."""
    with demo.DemoServer(classifier, dataset, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[demo.DemoServer]:
    """A running server of an untrained classifier of digits."""
    with serving(untrained()) as running:
        yield running


def ask(
    server: demo.DemoServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """The status and the body of the server's answer."""
    connection = http.client.HTTPConnection(demo.LOOPBACK, server.server_port, timeout=10)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def png(pixels: np.ndarray) -> bytes:
    """The pixels as a PNG file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_picture_gets_each_classes_probability(server):
    """They add up to 1; the image comes back as the classifier sees it."""
    status, body = ask(server, "POST", "/predict", png(np.full((20, 20), 51, np.uint8)))
    answer = json.loads(body)
    assert status == 200
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert answer["pixels"] == [51] * 64
    assert answer["inverted"] is False


def test_a_light_picture_is_called_inverted_and_can_be_inverted(server):
    """Where training images are dark; inverted, it is dark as well, and nothing is said."""
    white = png(np.full((20, 20), 250, np.uint8))
    assert json.loads(ask(server, "POST", "/predict", white)[1])["inverted"] is True
    answer = json.loads(ask(server, "POST", "/predict?invert=1", white)[1])
    assert (answer["inverted"], answer["pixels"][0]) == (False, 5)


def test_a_light_page_is_called_inverted_in_spite_of_its_padding(server):
    """A high page gets black borders at its sides, where it is looked for what is light."""
    page = png(np.full((40, 16), 250, np.uint8))
    answer = json.loads(ask(server, "POST", "/predict", page)[1])
    assert (answer["inverted"], answer["pixels"][0]) == (True, 0)


def test_strokes_are_centred_for_characters_and_pictures_are_not():
    """A square in a corner comes to the middle when drawn, 20 pixels wide."""
    ink = np.zeros((280, 280), np.uint8)
    ink[:70, :70] = 255
    with serving(untrained(shape=(1, 28, 28))) as server:
        image, drawn = (
            np.array(json.loads(ask(server, "POST", path, png(ink))[1])["pixels"]).reshape(28, 28)
            for path in ("/predict", "/predict?drawn=1")
        )
    assert (image[:7, :7] == 255).all()
    assert not image[7:].any()
    assert (drawn[4:24, 4:24] == 255).all()
    assert drawn.sum() == 20 * 20 * 255


@pytest.mark.parametrize(
    ("classes", "shape", "expected"),
    [
        (DIGITS, (1, 28, 28), True),
        (("れ", "を"), (1, 28, 28), True),
        (("Bag", "Coat"), (1, 28, 28), False),
        (("a", "b"), (3, 32, 32), False),
    ],
)
def test_only_characters_in_grey_are_centred(classes, shape, expected):
    """Words, or colour, are images like any other."""
    assert demo.takes_strokes(untrained(classes, shape)) is expected


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "message"),
    [
        ("GET", "/nothing", None, {}, 404, "nothing at /nothing"),
        ("POST", "/", b"", {}, 404, "nothing at /"),
        ("GET", "/predict", None, {}, 404, "nothing at /predict"),
        ("POST", "/predict", b"no image", {}, 400, "the image: not an image that can be read"),
        ("POST", "/predict?drawn=1", b"", {}, 400, "the drawing: not an image that can be read"),
        ("POST", "/predict", None, {"Content-Length": "-1"}, 411, "no Content-Length"),
        ("POST", "/predict", None, {"Content-Length": "99999999999"}, 413, "more than 16 MB"),
        ("POST", "/predict", None, {"Content-Length": "9" * 5000}, 413, "more than 16 MB"),
        ("GET", "/", None, {"Host": "example.org"}, 403, "host 'example.org'; expected 127.0.0.1"),
        ("POST", "/predict", b"x", {"Host": "evil.example:80"}, 403, "host 'evil.example:80'; expected 127.0.0.1"),
        ("POST", "/predict", b"x", {"Origin": "http://evil.example"}, 403, "sent by http://evil.example; expected"),
        ("POST", "/predict", b"x", {"Origin": "http://127.0.0.1:1"}, 403, "sent by http://127.0.0.1:1; expected"),
        ("POST", "/predict", b"x", {"Origin": "null"}, 403, "sent by null; expected the demo's own page"),
        ("POST", "/predict", b"x", {"Sec-Fetch-Site": "cross-site"}, 403, "sent by a cross-site page; expected"),
        ("POST", "/predict", b"x", {"Sec-Fetch-Site": "same-site"}, 403, "sent by a same-site page; expected"),
        ("POST", "/predict", bytes(8 << 20), {"Origin": "null"}, 403, "sent by null; expected the demo's own page"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(server, method, path, body, headers, status, message):
    """By a status and a sentence, whatever is wrong with them."""
    answered, answer = ask(server, method, path, body, headers)
    assert answered == status
    assert message in json.loads(answer)["error"]
    assert ask(server, "GET", "/classifier")[0] == 200


def test_own_page_is_answered_by_either_name(server):
    """As browsers send it; in a foreign page's frame, it isn't shown."""
    for host in ("127.0.0.1", "localhost"):
        name = f"{host}:{server.server_port}"
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        assert ask(server, "POST", "/predict", png(np.zeros((8, 8), np.uint8)), headers)[0] == 200
    assert demo.HEADERS["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in demo.HEADERS["Content-Security-Policy"]


def test_large_images_are_refused_before_they_are_decoded(server):
    """A file of a few kilobytes may hold 88 million pixels, and 1.4 GB of memory to decode them."""
    status, body = ask(server, "POST", "/predict", png(np.zeros((5001, 5000), np.bool_)))
    assert (status, json.loads(body)["error"]) == (
        400, "the image: 5000 x 5001 pixels; expected at most 25,000,000: shrink it first",
    )  # fmt: skip


def test_images_are_decoded_one_at_a_time(server, monkeypatch):
    """However many are sent at once."""
    at_once: list[None] = []
    most = []
    prepare = demo.prepare

    def counted(*arguments):
        at_once.append(None)
        most.append(len(at_once))
        time.sleep(0.02)
        at_once.pop()
        return prepare(*arguments)

    monkeypatch.setattr(demo, "prepare", counted)
    image = png(np.zeros((8, 8), np.uint8))
    with ThreadPoolExecutor(6) as pool:
        assert {status for status, _ in pool.map(lambda _: ask(server, "POST", "/predict", image), range(6))} == {200}
    assert most == [1] * 6


def test_32_clients_at_once_are_all_answered(server):
    """20 requests each, half of them images: none is reset."""
    image = png(np.zeros((8, 8), np.uint8))

    def client(_: int) -> list[int]:
        return [
            status
            for _ in range(10)
            for status in (ask(server, "POST", "/predict", image)[0], ask(server, "GET", "/")[0])
        ]

    with ThreadPoolExecutor(32) as pool:
        assert [status for statuses in pool.map(client, range(32)) for status in statuses] == [200] * 640


def test_damaged_address_is_answered(server):
    """Which Python's own client doesn't send."""
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:
        connection.sendall(f"GET http://[ HTTP/1.0\r\nHost: {demo.LOOPBACK}:{server.server_port}\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"a damaged address" in answer


def test_only_the_loopback_address_listens(server):
    """Nobody else on the network can reach it."""
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_told():
    """With how to choose another."""
    with socket.socket() as taken:
        taken.bind((demo.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MnistryError, match=f"port {port} of 127.0.0.1: address already in use; choose another"):
            demo.DemoServer(untrained(), "", port)


def test_the_page_loads_nothing_from_elsewhere():
    """It works without a network, and says nothing to anybody."""
    page = demo.PAGE.read_text("utf-8")
    assert "http://" not in page
    assert "https://" not in page


def draw(browser: webdriver.Chrome, strokes: str, kind: str = "mouse") -> None:
    """Draw one of STROKES with the pointer, through the browser's own events, and wait for the prediction."""
    pad = browser.find_element(By.ID, "pad")
    box = browser.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width]", pad)
    for stroke in strokes.split(" / "):
        actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=5)
        for i, (x, y) in enumerate(point.split(",") for point in stroke.split()):
            actions.pointer_action.move_to_location(box[0] + int(x) * box[2] / 100, box[1] + int(y) * box[2] / 100)
            if i == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
        actions.perform()
    WebDriverWait(browser, 10).until(lambda b: b.execute_script("return !empty && !running && !again"))


def answer(browser: webdriver.Chrome) -> str:
    """The class that the page shows."""
    return str(browser.execute_script("return document.getElementById('answer').firstChild.textContent"))


def message(browser: webdriver.Chrome) -> str:
    """What the page says about the image."""
    return browser.find_element(By.ID, "message").text


def check_console(browser: webdriver.Chrome) -> None:
    """The page has complained about nothing."""
    assert browser.get_log("browser") == []


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser, where one is installed."""
    with open_browser(tmp_path / "profile") as opened:
        yield opened


def open_page(browser: webdriver.Chrome, server: demo.DemoServer) -> None:
    """Open the server's page and wait for its classes."""
    browser.get(server.url)
    WebDriverWait(browser, 10).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#classes li")) > 0)


def test_a_stroke_gives_a_prediction_and_the_keyboard_clears_it(server, browser):
    """By mouse and by touch, with no error on the console."""
    open_page(browser, server)
    assert browser.find_element(By.ID, "about").text == "linear: 10 classes, 8 x 8 pixels in grey"
    for kind in ("mouse", "touch"):
        draw(browser, STROKES["3"], kind)
        assert answer(browser) in DIGITS
        percents = [item.text for item in browser.find_elements(By.CLASS_NAME, "percent")]
        assert sum(float(text.removesuffix(" %")) for text in percents) == pytest.approx(100, abs=0.6)
        browser.execute_script("document.getElementById('clear').focus()")
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        assert answer(browser) == "-"
    check_console(browser)


def test_a_chosen_picture_is_classified(browser, tmp_path):
    """Of a colour classifier, whose page says so; a file that is none is reported there."""
    (tmp_path / "red.png").write_bytes(png(np.full((40, 30, 3), (255, 0, 0), np.uint8)))
    (tmp_path / "text.png").write_text("no image")
    with serving(untrained(("cat", "<b>dog</b>"), (3, 16, 16)), "pets") as server:
        open_page(browser, server)
        assert browser.find_element(By.ID, "about").text == (
            "linear, trained on pets: 2 classes, 16 x 16 pixels in colour"
        )
        browser.find_element(By.ID, "file").send_keys(str(tmp_path / "red.png"))
        WebDriverWait(browser, 10).until(lambda b: answer(b) in ("cat", "<b>dog</b>"))
        seen = "return [...document.getElementById('seen').getContext('2d').getImageData(3, 3, 1, 1).data]"
        assert browser.execute_script(seen) == [255, 0, 0, 255]
        check_console(browser)
        browser.find_element(By.ID, "file").send_keys(str(tmp_path / "text.png"))
        WebDriverWait(browser, 10).until(lambda b: "not an image" in b.find_element(By.ID, "message").text)


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_all_without_scrolling(browser, width):
    """The classes, what the classifier sees and the buttons, under a message of two lines; nothing is cut sideways."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    names = tuple(f"{name} of long sleeves" for name in "abcdefghij")
    with serving(untrained(names), "fashion") as server:
        open_page(browser, server)
        draw(browser, STROKES["3"])
        browser.execute_script("document.getElementById('message').textContent = arguments[0]", "An error. " * 7)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        shown = browser.find_elements(By.CSS_SELECTOR, "#pad, #answer, #seen, #clear, .file, #invert")
        assert len(shown) == 6
        assert max(each.rect["y"] + each.rect["height"] for each in shown) <= 844
    with serving(untrained()) as server:
        open_page(browser, server)
        draw(browser, STROKES["3"])
        rows = browser.find_elements(By.CSS_SELECTOR, "#classes li")
        assert len(rows) == 10
        assert max(row.rect["y"] + row.rect["height"] for row in rows) <= 844


HALF = 30_000


@pytest.fixture(scope="module")
def mnist_classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The CNN after an epoch of half of MNIST."""
    if not os.environ.get("MNISTRY_MIRROR"):
        pytest.skip("needs MNIST: set MNISTRY_MIRROR to a folder that holds mnist/")
    recipe = completed_params().models.cnn.model_copy(update={"epochs": 1})
    raw = tmp_path_factory.mktemp("raw") / "mnist"
    raw.mkdir()
    open_source(Path("data/sources/mnist")).download(raw)
    with open_source(raw).read(tmp_path_factory.mktemp("scratch")) as dataset:
        train = dataset.splits["train"]
        images, labels = np.concatenate(list(train.chunks))[:HALF], train.labels[:HALF]
    normalization = fit_normalization("standard", [images], 1)
    info = replace(dataset_info(shape=(1, 28, 28)), normalization=normalization)
    torch.manual_seed(0)
    model = build_model("cnn", recipe, info).to(memory_format=torch.channels_last)
    subset = make_subset(images, labels, torch.device("cpu"))
    nothing = make_subset(images, labels, torch.device("cpu"), np.arange(0))
    threads = torch.get_num_threads()
    # Threads that wait for each other on a busy machine took twelve times as long as one alone.
    torch.set_num_threads(1)
    deque(fit(model, subset, nothing, recipe, generator=torch.Generator().manual_seed(0)), maxlen=0)
    torch.set_num_threads(threads)
    familiarity = fit_familiarity([images[choose_references(len(images))]])
    return Classifier(model.eval(), "cnn", recipe, info, familiarity)


def test_nine_of_ten_drawn_digits_are_read_right(mnist_classifier, browser, tmp_path):
    """Drawn with the mouse, stroke by stroke, and read by the CNN after an epoch; a box is no digit."""
    box = tmp_path / "box.png"
    box.write_bytes(png(np.pad(np.full((14, 14), 255, np.uint8), 7)))
    with serving(mnist_classifier, "mnist") as server:
        open_page(browser, server)
        read, said = {}, {}
        for digit, strokes in STROKES.items():
            browser.find_element(By.ID, "clear").click()
            draw(browser, strokes)
            read[digit] = answer(browser)
            said[digit] = message(browser)
        browser.find_element(By.ID, "file").send_keys(str(box))
        WebDriverWait(browser, 10).until(lambda b: "none of the training images" in message(b))
        check_console(browser)
    assert sum(digit == answer for digit, answer in read.items()) >= 9, read
    assert sum(map(bool, said.values())) <= 1, said
