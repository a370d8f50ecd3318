"""The page of `export --format=web` in Debian's Chromium: a chosen and a dropped picture, and a camera that is fake.

Chromium is driven by its chromedriver over HTTP. Skipped where it, the extra `export` or onnxruntime-web is missing.
FER_TF_SCREENSHOT=page.png keeps what it looks like.
"""

import contextlib
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import export as command
from experiments.parts.export import shown
from fer_tf import conversion, recognise

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--window-size=760,1750",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""What the WebDriver protocol calls the identifier of an element."""
ANSWER = "document.getElementById('answer')"
DROP = """
const done = arguments[1];
fetch(arguments[0]).then((answer) => answer.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "face.png", {type: "image/png"}));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
  done(true);
});
"""


@contextlib.contextmanager
def serving(folder: Path):
    """The address at which a folder is served while the block runs, and the paths that were asked for."""
    asked: list[str] = []

    class Counted(http.server.SimpleHTTPRequestHandler):
        def send_head(self):
            asked.append(self.path)
            return super().send_head()

        def log_message(self, *words):
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counted, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


class Chromium:
    """A browser with a profile of its own, which ends with the block."""

    def __init__(self, profile: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.profile, self.session = f"http://127.0.0.1:{port}", profile, ""
        words = ["chromedriver", f"--port={port}"]
        self.driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        for _ in range(300):
            with contextlib.suppress(OSError):
                self.ask("GET", "/status")
                break
            time.sleep(0.1)
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={self.profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self.driver.terminate()
            raise
        self.session = f"/session/{made['sessionId']}"
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError, AssertionError):
            self.ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait(20)

    def ask(self, method: str, path: str, body=None):
        """The value that chromedriver answers."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, address: str) -> None:
        """Goes to a page."""
        self.ask("POST", f"{self.session}/url", {"url": address})

    def run(self, script: str, *values, kind: str = "sync"):
        """What a script, the body of a function, returns."""
        return self.ask("POST", f"{self.session}/execute/{kind}", {"script": script, "args": list(values)})

    def until(self, expression: str, seconds: float = 90.0):
        """What an expression is as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {expression}")):
            assert time.monotonic() < end, (expression, self.run("return document.body.innerText"), self.said())
            time.sleep(0.1)
        return value

    def element(self, selector: str) -> str:
        """The path of an element."""
        found = self.ask("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        return f"{self.session}/element/{found[ELEMENT]}"

    def click(self, selector: str) -> None:
        """As a user does."""
        self.ask("POST", f"{self.element(selector)}/click")

    def draw(self, *moves: tuple[float, float]) -> None:
        """Drags the mouse over the canvas: from the first place to the last, each a share of its width and height."""
        left, top, width, height = self.run(
            "const r = arguments[0].getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
            {ELEMENT: self.element("#view").rpartition("/")[2]},
        )
        places = [{"x": round(left + x * width), "y": round(top + y * height)} for x, y in moves]
        steps = [{"type": "pointerMove", **places[0]}, {"type": "pointerDown", "button": 0}]
        steps += [{"type": "pointerMove", "duration": 50, **place} for place in places[1:]]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        steps.append({"type": "pointerUp", "button": 0})
        self.ask("POST", f"{self.session}/actions", {"actions": [{**mouse, "actions": steps}]})

    def said(self) -> list[str]:
        """Errors and warnings of the console since the last time."""
        return [line["message"] for line in self.ask("POST", f"{self.session}/se/log", {"type": "browser"})]


def forget(browser) -> None:
    """Takes the answer away, so that the next one is a new one."""
    browser.run(f"delete {ANSWER}.dataset.probabilities")


def told(browser) -> np.ndarray:
    """The probabilities of the next answer."""
    return np.array(json.loads(browser.until(f"{ANSWER}.dataset.probabilities")))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder of the page with the default network, and an address at which it and two pictures are served."""
    for name in conversion.PACKAGES["onnx"]:
        pytest.importorskip(name, reason=f"the extra `export` ({name}) is not installed")
    if lacking := [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]:
        pytest.skip(f"without {' and '.join(lacking)}")
    out = tmp_path_factory.mktemp("page") / "web"
    try:
        command.run(command.Settings(format="web", out=str(out), faces=8, runtime=os.environ.get("FER_TF_ORT_WEB")))
    except ValueError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(str(error))
    faces = shown.rendered_faces(recognise.predictor().template, 2)
    for name, face in zip(("a.png", "b.png"), faces, strict=True):
        Image.fromarray(face).save(out / name)
    with serving(out) as (address, asked):
        yield out, faces, address, asked


@pytest.mark.slow
def test_a_browser_says_what_python_says(page, tmp_path):
    out, faces, address, asked = page
    model = recognise.predictor()
    expected = model(faces)
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    with Chromium(tmp_path / "profile") as browser:
        browser.open(f"{address}/index.html")
        browser.until("document.body.dataset.ready")
        browser.ask("POST", f"{browser.element('#file')}/value", {"text": str(out / "a.png")})
        told(browser)
        forget(browser)
        browser.click("#whole")
        np.testing.assert_allclose(told(browser), expected[0], atol=1e-4)
        assert browser.run(f"return {ANSWER}.dataset.label") == model.classes[expected[0].argmax()]
        assert browser.run("return document.querySelectorAll('#table tr').length") == 8
        forget(browser)
        browser.run(DROP, f"{address}/b.png", kind="async")  # the square in the middle first
        told(browser)
        forget(browser)
        browser.draw((0.02, 0.02), (0.5, 0.5), (0.999, 0.999))  # from outside the square: a new one
        found = told(browser)
        forget(browser)
        browser.click("#whole")
        np.testing.assert_allclose(told(browser), expected[1], atol=1e-4)
        assert np.abs(found - expected[1]).max() > 1e-3  # a little less than the whole picture
        forget(browser)
        browser.click("#camera")
        first = told(browser)
        assert first.shape == (8,) and abs(first.sum() - 1) < 1e-5
        forget(browser)
        told(browser)  # it goes on by itself
        browser.click("#camera")
        assert browser.run("return document.getElementById('camera').textContent") == "Start the camera"
        assert browser.said() == []
    assert all(path.startswith("/") for path in asked) and "/ort/ort-wasm-simd-threaded.wasm" in asked


@pytest.mark.slow
def test_a_photograph_with_the_square_on_the_face(page, tmp_path):
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    _, _, address, _ = page
    with Chromium(tmp_path / "profile") as browser:
        browser.open(f"{address}/index.html")
        browser.until("document.body.dataset.ready")
        browser.ask("POST", f"{browser.element('#file')}/value", {"text": str(tmp_path / "astronaut.png")})
        told(browser)
        for moves in (
            ((0.02, 0.02), (0.15, 0.15)),
            ((0.345, 0.123), (0.535, 0.313)),
        ):  # the first takes the square away
            forget(browser)
            browser.draw(*moves)
            told(browser)
        assert browser.run(f"return {ANSWER}.dataset.label") == "happiness"
        if keep := os.environ.get("FER_TF_SCREENSHOT"):
            Path(keep).write_bytes(b64decode(browser.ask("GET", f"{browser.session}/screenshot")))
